/* SPDX-License-Identifier: BSD-3-Clause */
/* A client may truncate its file under us (docs/spec/reliability.md D2). The whole mapping of that file
 * becomes private zero pages at once, so no number of faults uses the process's mappings up, and the client
 * is condemned: its queues stop, and control hangs up on it. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "softvf/report.h"
#include "softvf/sigbus.h"

/* A signal handler finds its data in static storage only. Initial-exec: no allocation at first use. */
#define HANDLER_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))
HANDLER_LOCAL struct plane *volatile inside; /* whose clients' memory this thread may touch now */
HANDLER_LOCAL volatile uint64_t lost; /* bitmap of VFs whose client's memory went away */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static bool installed;

/* Nobody changes the tables of windows meanwhile: this thread holds the plane's lock. */
static const struct dma_file *find(const struct plane *plane, uintptr_t address, uint32_t *vf)
{
    for (*vf = 0; *vf < plane->vfs; (*vf)++) {
        const struct dma_table *table = &plane->vf[*vf].dma;

        for (uint32_t f = 0; f < table->files; f++) {
            const struct dma_file *file = &table->file[f];

            if (file->refs && address - (uintptr_t)file->base < file->mapped)
                return file;
        }
    }
    return NULL;
}

/* Whether the address lay in a client's file, which is replaced: nothing else ever is. */
static bool replace(const struct plane *plane, uintptr_t address)
{
    uint32_t vf;
    const struct dma_file *file = find(plane, address, &vf);

    if (!file || mmap(file->base, file->mapped, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) != file->base)
        return false;
    lost |= 1ull << vf;
    return true;
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    int error = errno;

    if (inside && replace(inside, (uintptr_t)info->si_addr)) {
        errno = error;
        return;
    }
    if (previous.sa_flags & SA_SIGINFO) {
        previous.sa_sigaction(signal, info, context);
    } else if (previous.sa_handler != SIG_DFL && previous.sa_handler != SIG_IGN) {
        previous.sa_handler(signal);
    } else {
        struct sigaction standard = {.sa_handler = SIG_DFL};

        sigaction(SIGBUS, &standard, NULL); /* the access repeats on return and kills */
    }
}

int sigbus_install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_NODEFER};
    int result = 0;

    pthread_mutex_lock(&lock);
    if (!installed)
        result = sigaction(SIGBUS, &action, &previous) ? -errno : 0;
    installed = result == 0;
    pthread_mutex_unlock(&lock);
    return result;
}

void sigbus_enter(struct plane *plane)
{
    inside = plane;
    __asm__ volatile("" ::: "memory");
}

static void condemn(struct plane *plane, struct vf *vf)
{
    vf->tx_enabled = vf->rx_enabled = 0;
    vf->dma_generation++;
    plane->condemned |= 1ull << vf->index;
    report(plane, vf, SOFTVF_VIOLATION, "docs/spec/reliability.md D2",
           "the client's memory is gone: its file was truncated while it was mapped");
    report_wake(plane);
}

void sigbus_leave(struct plane *plane)
{
    uint64_t vfs;

    __asm__ volatile("" ::: "memory");
    inside = NULL;
    vfs = lost;
    lost = 0;
    for (; vfs; vfs &= vfs - 1)
        condemn(plane, &plane->vf[__builtin_ctzll(vfs)]);
}

uint64_t plane_condemned(struct plane *plane)
{
    uint64_t condemned = plane->condemned;

    plane->condemned = 0;
    return condemned;
}
