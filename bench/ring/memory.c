/* SPDX-License-Identifier: BSD-3-Clause */
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "harness.h"

#define HUGE_PAGE ((size_t)2 << 20)

void die(const char *format, ...)
{
    va_list arguments;

    fputs("ring: ", stderr);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(1);
}

static size_t whole(size_t bytes)
{
    return (bytes + HUGE_PAGE - 1) & ~(HUGE_PAGE - 1);
}

void *big_alloc(size_t bytes)
{
    size_t size = whole(bytes);
    char *memory =
        mmap(NULL, size + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t skip;

    if (memory == MAP_FAILED)
        die("out of memory (%zu bytes)", size);
    skip = -(uintptr_t)memory & (HUGE_PAGE - 1);
    if (skip)
        munmap(memory, skip);
    if (skip < HUGE_PAGE)
        munmap(memory + skip + size, HUGE_PAGE - skip);
    memory += skip;
    madvise(memory, size, MADV_HUGEPAGE);
    for (size_t at = 0; at < size; at += 4096)
        ((volatile char *)memory)[at] = 0;
    return memory;
}

void big_free(void *memory, size_t bytes)
{
    if (memory)
        munmap(memory, whole(bytes));
}

void *line_alloc(size_t bytes)
{
    size_t size = (bytes + 63) & ~(size_t)63;
    void *memory = aligned_alloc(64, size);

    if (!memory)
        die("out of memory");
    return memset(memory, 0, size);
}

/* ---- the helper ---- */

static struct {
    pthread_t thread;
    bool running;
    void (*task)(void *);
    void *argument;
    uint32_t asked __attribute__((aligned(64)));
    uint32_t done __attribute__((aligned(64)));
} helper;

static void wait_while(const uint32_t *word, uint32_t value)
{
    for (uint32_t spins = 1; __atomic_load_n(word, __ATOMIC_ACQUIRE) == value; spins++)
        if (spins % 4096 == 0)
            sched_yield();
        else
            __builtin_ia32_pause();
}

static void *helper_main(void *unused)
{
    uint32_t turn = 0;

    (void)unused;
    for (;;) {
        wait_while(&helper.asked, turn++);
        if (!helper.task)
            return NULL;
        helper.task(helper.argument);
        __atomic_store_n(&helper.done, turn, __ATOMIC_RELEASE);
    }
}

void helper_start(int cpu)
{
    pthread_attr_t attributes;
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((size_t)cpu, &set);
    pthread_attr_init(&attributes);
    pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
    helper.asked = helper.done = 0;
    if (pthread_create(&helper.thread, &attributes, helper_main, NULL))
        die("no thread on CPU %d", cpu);
    pthread_attr_destroy(&attributes);
    helper.running = true;
}

void helper_run(void (*task)(void *), void *argument)
{
    uint32_t turn = helper.asked;

    helper.task = task;
    helper.argument = argument;
    __atomic_store_n(&helper.asked, turn + 1, __ATOMIC_RELEASE);
    wait_while(&helper.done, turn);
}

void helper_stop(void)
{
    if (!helper.running)
        return;
    helper.task = NULL;
    __atomic_store_n(&helper.asked, helper.asked + 1, __ATOMIC_RELEASE);
    pthread_join(helper.thread, NULL);
    helper.running = false;
}
