/* SPDX-License-Identifier: BSD-3-Clause */
/* A client may truncate its file under us (docs/spec/reliability.md D2). The page that is gone becomes a
 * private zero page: the client loses its own packets and nobody else's. */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "hw/page.h"
#include "softvf/report.h"
#include "softvf/sigbus.h"

/* A signal handler finds its data in static storage only. Initial-exec: no allocation at first use. */
#define HANDLER_LOCAL static _Thread_local __attribute__((tls_model("initial-exec")))
HANDLER_LOCAL volatile uint32_t inside;
HANDLER_LOCAL volatile uintptr_t faulted;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct sigaction previous;
static bool installed;

/* The mapping may be of huge pages, which can only be replaced whole. */
static bool replace_page(uintptr_t address)
{
    static const uintptr_t sizes[] = {PAGE_BYTES, 2ul << 20, 1ul << 30};

    for (uint32_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        void *page = (void *)(address & ~(sizes[i] - 1));

        if (mmap(page, sizes[i], PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == page)
            return true;
    }
    return false;
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    int error = errno;

    /* Inside, this thread touches no other memory that can raise a bus error than clients'. */
    if (inside && replace_page((uintptr_t)info->si_addr)) {
        faulted = (uintptr_t)info->si_addr;
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

void sigbus_enter(void)
{
    inside = 1;
    __asm__ volatile("" ::: "memory");
}

static void report_loss(struct plane *plane, uintptr_t address)
{
    for (uint32_t i = 0; i < plane->vfs; i++) {
        struct vf *vf = &plane->vf[i];

        for (uint32_t f = 0; f < vf->dma.files; f++) {
            const struct dma_file *file = &vf->dma.file[f];

            if (file->refs && address - (uintptr_t)file->base < file->length) {
                report(plane, vf, SOFTVF_VIOLATION, "docs/spec/reliability.md D2",
                       "the client's memory at file offset %#llx is gone: the file was truncated",
                       (unsigned long long)(file->offset + (address - (uintptr_t)file->base)));
                return;
            }
        }
    }
}

void sigbus_leave(struct plane *plane)
{
    __asm__ volatile("" ::: "memory");
    inside = 0;
    if (faulted) {
        uintptr_t address = faulted;

        faulted = 0;
        report_loss(plane, address);
    }
}
