/* SPDX-License-Identifier: BSD-3-Clause */
/* What the compiler is told about branches, inlining and cache lines. */
#ifndef IAVFIO_DRIVER_ATTRIBUTES_H
#define IAVFIO_DRIVER_ATTRIBUTES_H

#define likely(x) __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)
#define INLINE static inline __attribute__((always_inline))

#define LINE_BYTES 64 /* a cache line */
#define LINE __attribute__((aligned(LINE_BYTES)))

#endif
