/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hw/page.h"
#include "vfio/bus_error.h"

#define MAX_RANGES 256

/* A signal handler can only find its data in static storage. A range is live while `address` is set;
 * it is set last and cleared first, so the handler never sees half of one. */
static struct {
    char *address;
    uint64_t size;
    uint32_t *lost;
} ranges[MAX_RANGES];
static struct sigaction previous;
static int installed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    char *fault = info->si_addr;

    for (int i = 0; i < MAX_RANGES; i++) {
        char *address = __atomic_load_n(&ranges[i].address, __ATOMIC_ACQUIRE);

        if (address && fault >= address && (uint64_t)(fault - address) < ranges[i].size) {
            char *start = (char *)((uintptr_t)fault & ~(uintptr_t)(PAGE_BYTES - 1));
            int error = errno;

            if (mmap(start, PAGE_BYTES, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == start) {
                memset(start, 0xff, PAGE_BYTES);
                __atomic_store_n(ranges[i].lost, BUS_ERROR_LOST, __ATOMIC_RELAXED);
                errno = error;
                return;
            }
            break;
        }
    }
    /* The fault is not ours: the handler before ours decides; the default is that the process dies. */
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        struct sigaction standard = {.sa_handler = SIG_DFL};

        sigaction(SIGBUS, &standard, NULL); /* the access repeats on return and kills */
    }
}

int bus_error_guard(void *address, uint64_t size, uint32_t *lost)
{
    int result = -ENOSPC;

    pthread_mutex_lock(&lock);
    if (!installed) {
        struct sigaction action = {.sa_sigaction = on_bus_error,
                                   .sa_flags = SA_SIGINFO | SA_NODEFER};

        if (sigaction(SIGBUS, &action, &previous)) {
            pthread_mutex_unlock(&lock);
            return -errno;
        }
        installed = 1;
    }
    for (int i = 0; i < MAX_RANGES; i++) {
        if (!ranges[i].address) {
            ranges[i].size = size;
            ranges[i].lost = lost;
            __atomic_store_n(&ranges[i].address, address, __ATOMIC_RELEASE);
            result = 0;
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return result;
}

void bus_error_unguard(void *address)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < MAX_RANGES; i++)
        if (ranges[i].address == address)
            __atomic_store_n(&ranges[i].address, NULL, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&lock);
}
