/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/cdef.h"
#include "driver/clock.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#define MEASURE_NS (5 * NS_PER_MS)
#define INVARIANT_TSC 0x100 /* CPUID 80000007h EDX: same rate in every power state */

static uint64_t raw_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_RAW, &now);
    return (uint64_t)now.tv_sec * NS_PER_SECOND + (uint64_t)now.tv_nsec;
}

static int usable(void)
{
#if defined(__x86_64__)
    unsigned eax, ebx, ecx, edx;

    return __get_cpuid(0x80000007, &eax, &ebx, &ecx, &edx) && (edx & INVARIANT_TSC);
#elif defined(__aarch64__)
    return 1;
#else
    return 0;
#endif
}

static double measure(void)
{
    uint64_t start_ns, start, stop_ns, stop;
    struct timespec pause = {.tv_nsec = MEASURE_NS};

    if (!usable())
        return 0;
    start_ns = raw_ns();
    start = clock_ticks();
    nanosleep(&pause, NULL);
    stop_ns = raw_ns();
    stop = clock_ticks();
    return stop_ns > start_ns ? (double)(stop - start) * 1e9 / (double)(stop_ns - start_ns) : 0;
}

double tsc_hz(void)
{
    static double known = -1;
    double hz;

    /* Two first callers may both measure; either answer is good. */
    __atomic_load(&known, &hz, __ATOMIC_RELAXED);
    if (hz < 0) {
        hz = measure();
        __atomic_store(&known, &hz, __ATOMIC_RELAXED);
    }
    return hz;
}
