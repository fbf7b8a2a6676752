/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
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
    const void *kept; /* NULL: pages of ones take the place of those that are gone */
    int pages; /* a pipe that refers to all pages as they are, or -1 */
    uint32_t replaced;
} ranges[MAX_RANGES];
static struct sigaction previous;
static int installed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static bool put_ones(char *fault)
{
    char *start = (char *)((uintptr_t)fault & ~(uintptr_t)(PAGE_BYTES - 1));

    if (mmap(start, PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1,
             0) != start)
        return false;
    memset(start, 0xff, PAGE_BYTES);
    return true;
}

/* What the pages held last, the lost ones too: the pipe has them. They stay in it, for a forked child. */
static bool read_pages(int pages, char *to, uint64_t size)
{
    uint64_t done = 0;
    ssize_t n = 1;
    int copy[2];

    if (pages < 0 || pipe2(copy, O_CLOEXEC | O_NONBLOCK))
        return false;
    fcntl(copy[1], F_SETPIPE_SZ, (int)size);
    if (tee(pages, copy[1], size, SPLICE_F_NONBLOCK) == (ssize_t)size)
        for (; done < size && n > 0; done += n > 0 ? (uint64_t)n : 0)
            n = read(copy[0], to + done, size - done);
    close(copy[0]);
    close(copy[1]);
    return done == size;
}

/* Nothing is behind it, so that every access from now on is a SIGBUS, whose thread comes back until there is
 * memory. What it wrote before is in the pages. */
static bool close_to_all(char *address, uint64_t size)
{
    int fd = memfd_create("nothing", MFD_CLOEXEC);
    bool closed = fd >= 0 && mmap(address, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                                  0) == address;

    if (fd >= 0)
        close(fd);
    return closed;
}

/* The whole at once, so that no part of it is still what others may change or see. */
static bool put_kept(int i, char *address)
{
    uint64_t size = ranges[i].size;
    void *place;

    if (__atomic_exchange_n(&ranges[i].replaced, 1, __ATOMIC_ACQ_REL))
        return true; /* another thread is at it */
    place = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (place == MAP_FAILED)
        return false;
    if (!close_to_all(address, size) || !read_pages(ranges[i].pages, place, size))
        memcpy(place, ranges[i].kept, size);
    return mremap(place, size, size, MREMAP_MAYMOVE | MREMAP_FIXED, address) == address;
}

static void on_bus_error(int signal, siginfo_t *info, void *context)
{
    char *fault = info->si_addr;

    for (int i = 0; i < MAX_RANGES; i++) {
        char *address = __atomic_load_n(&ranges[i].address, __ATOMIC_ACQUIRE);

        if (address && fault >= address && (uint64_t)(fault - address) < ranges[i].size) {
            int error = errno;

            if (ranges[i].kept ? put_kept(i, address) : put_ones(fault)) {
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

int bus_error_pages(void *address, uint64_t size)
{
    struct iovec all = {.iov_base = address, .iov_len = size};
    int pipe[2];
    ssize_t held;

    if (pipe2(pipe, O_CLOEXEC | O_NONBLOCK))
        return -errno;
    fcntl(pipe[1], F_SETPIPE_SZ, (int)size);
    held = vmsplice(pipe[1], &all, 1, SPLICE_F_NONBLOCK);
    close(pipe[1]);
    if (held == (ssize_t)size)
        return pipe[0];
    close(pipe[0]);
    return -ENOSPC;
}

int bus_error_guard(void *address, uint64_t size, uint32_t *lost, const void *kept, int pages)
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
            ranges[i].kept = kept;
            ranges[i].pages = pages;
            ranges[i].replaced = 0;
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
