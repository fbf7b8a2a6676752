/* SPDX-License-Identifier: BSD-3-Clause */
/* Access to memory that the client may change at any moment (docs/design.md 10,
 * docs/spec/reliability.md S1). Whatever is read from it is read exactly once: the barriers keep the
 * compiler from reading a second time. */
#ifndef IAVFIO_SOFTVF_CLIENT_H
#define IAVFIO_SOFTVF_CLIENT_H

#include <stdint.h>
#include <string.h>

/* memcpy, inline for what most small frames are. */
static inline void copy_frame(void *to, const void *from, uint64_t len)
{
    if (len >= 32 && len <= 64) {
        memcpy(to, from, 32);
        memcpy((uint8_t *)to + len - 32, (const uint8_t *)from + len - 32, 32);
    } else {
        memcpy(to, from, len);
    }
}

static inline void client_copy(void *to, const void *from, uint64_t len)
{
    copy_frame(to, from, len);
    __asm__ volatile("" ::: "memory");
}

static inline uint64_t client_load(const uint64_t *from)
{
    return __atomic_load_n(from, __ATOMIC_RELAXED);
}

static inline void client_store(uint64_t *to, uint64_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELAXED);
}

/* What was written or read before is done before whatever is written after. x86 keeps that order by
 * itself; only the compiler has to be told. */
static inline void client_release(void)
{
#if defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

/* The word that hands a descriptor back: everything written or read before it is done by then. */
static inline void client_publish(uint64_t *to, uint64_t value)
{
    __atomic_store_n(to, value, __ATOMIC_RELEASE);
}

/* A line that will be written: x86-64's baseline has no such instruction in the compiler's eyes, but
 * every 64-bit processor takes it, at worst as a no-op. */
static inline void prefetch_write(const void *line)
{
#if defined(__x86_64__)
    __asm__ volatile("prefetchw %0" ::"m"(*(const char *)line));
#else
    __builtin_prefetch(line, 1);
#endif
}

#endif
