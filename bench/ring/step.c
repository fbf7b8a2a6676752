/* SPDX-License-Identifier: BSD-3-Clause */
/* Counts instructions by the processor's trap flag: exact for every instruction set, where a simulator
 * stops at AVX-512 and a virtual machine has no performance counters. */
#include <signal.h>
#include <string.h>

#include "harness.h"

static volatile uint64_t steps;

static void on_step(int signal, siginfo_t *info, void *context)
{
    (void)signal;
    (void)info;
    (void)context;
    steps++;
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
