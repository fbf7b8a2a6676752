/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts instructions by the processor's trap flag: exact for every instruction set, where a simulator
 * stops at AVX-512 and a virtual machine has no performance counters. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include "harness.h"

#define TRACE_MAX (1 << 20)

static volatile uint64_t steps;
static uint64_t
    trace[TRACE_MAX]; /* addresses of the instructions, of all counts since step_forget */
static volatile size_t traced;

static void on_step(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    steps++;
    if (traced < TRACE_MAX)
        trace[traced++] = (uint64_t)((const ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
}

/* Both switches move the stack pointer past the red zone first. */
#define TRAP_ON                                                                                    \
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\torq $0x100, (%%rsp)\n\tpopfq\n\t"        \
                     "lea 128(%%rsp), %%rsp" ::                                                    \
                         : "memory", "cc")
#define TRAP_OFF                                                                                   \
    __asm__ volatile("lea -128(%%rsp), %%rsp\n\tpushfq\n\tandq $~0x100, (%%rsp)\n\tpopfq\n\t"      \
                     "lea 128(%%rsp), %%rsp" ::                                                    \
                         : "memory", "cc")

uint64_t step_count(act_fn act, struct instance *instance)
{
    struct sigaction action, before;

    memset(&action, 0, sizeof(action));
    action.sa_sigaction = on_step;
    action.sa_flags = SA_SIGINFO;
    if (sigaction(SIGTRAP, &action, &before))
        die("no SIGTRAP handler");
    steps = 0;
    TRAP_ON;
    act(instance);
    TRAP_OFF;
    sigaction(SIGTRAP, &before, NULL);
    return steps;
}

void step_forget(void)
{
    traced = 0;
}

static int ascending(const void *a, const void *b)
{
    const uint64_t *x = a, *y = b;

    return (*x > *y) - (*x < *y);
}

void step_print(FILE *out)
{
    size_t n = traced;

    qsort(trace, n, sizeof(trace[0]), ascending);
    for (size_t i = 0, next; i < n; i = next) {
        for (next = i + 1; next < n && trace[next] == trace[i]; next++)
            ;
        fprintf(out, "%s[%llu, %zu]", i ? ", " : "", (unsigned long long)trace[i], next - i);
    }
}
