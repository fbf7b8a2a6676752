/* SPDX-License-Identifier: BSD-3-Clause */
/* The data thread and its life. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "softvf/copy.h"
#include "softvf/clock.h"
#include "softvf/delay.h"
#include "softvf/dma.h"
#include "softvf/shaper.h"
#include "softvf/signal.h"
#include "softvf/sigbus.h"
#include "softvf/switch.h"
#include "softvf/thread.h"
#include "softvf/tx.h"
#include "softvf/uplink_open.h"
#include "softvf/vectors.h"
#include "softvf/windows.h"
#include "softvf/writeback.h"

#define ROUNDS 8              /* under one lock, while nobody waits for it */
#define SPIN_TURNS 250        /* idle turns of as many rounds before the thread starts to nap */
#define NAP_MIN_NS 20000      /* naps grow from here ... */
#define NAP_MAX_NS 500000     /* ... to here */

/* The enabled send queues, turned so that the one whose turn it is has bit 0. */
static uint32_t turned(const struct vf *vf)
{
    uint32_t map = vf->tx_enabled, by = vf->next_queue;

    return (map >> by | map << (MAX_QUEUES - by)) & ((1u << MAX_QUEUES) - 1);
}

/* One VF's turn: its queues send as long as it has credit, and the first that gets none is the first the
 * next time. Whatever a VF posts, the others wait for a turn of QUANTUM, and one that was overdrawn (a
 * packet is gathered whole, a frame reaches all its receivers) is skipped until it is paid back. */
static uint32_t serve(struct plane *plane, struct vf *vf)
{
    uint32_t done = 0, last;

    vf->credit = vf->credit < 0 ? vf->credit + QUANTUM : QUANTUM;
    if (vf->credit <= 0)
        return 1;
    if (vf->config->c.rate && !shaper_open(vf, clock_ns()))
        return 0;
    if (delay_is_full(vf))
        return 0;
    plane->spent = (uint32_t)(QUANTUM - vf->credit);
    do {
        last = 0;
        for (uint32_t map = turned(vf); map && plane->spent < QUANTUM; map &= map - 1) {
            uint32_t queue = ((uint32_t)__builtin_ctz(map) + vf->next_queue) % MAX_QUEUES;

            last += tx_serve(plane, vf, queue);
            if (plane->spent >= QUANTUM)
                vf->next_queue = (queue + 1) % MAX_QUEUES;
        }
        done += last;
    } while (last >= ROUND && plane->spent < QUANTUM);
    vf->credit = QUANTUM - (int32_t)plane->spent;
    vf->shaper.backlog = done || shaper_waits(vf);
    return done;
}

uint32_t thread_round(struct plane *plane)
{
    uint32_t done = plane->delayed ? switch_delayed(plane) : 0;

    for (uint32_t i = 0; i < plane->vfs; i++)
        if (plane->vf[i].tx_enabled)
            done += serve(plane, &plane->vf[i]);
    done += switch_from_wire(plane);
    for (uint32_t i = 0; i < plane->vfs; i++) {
        struct vf *vf = &plane->vf[i];

        for (uint32_t map = vf->rx_enabled; map; map &= map - 1)
            writeback_flush(plane, vf, &vf->rx[__builtin_ctz(map)], plane->immediate);
        if (vf->signals_wait)
            vectors_resend(plane, vf);
        if (vf->vectors_busy) {
            plane->now_ns = clock_ns();
            vectors_run(plane, vf);
        }
    }
    return done;
}

/* A vector that waits for its ITR, a VF that waits for its rate and a frame that waits for its delay must not wait
 * for a nap as well. */
static bool timers_pending(const struct plane *plane)
{
    for (uint32_t i = 0; i < plane->vfs; i++)
        if (plane->vf[i].vectors_busy || (plane->vf[i].tx_enabled && shaper_waits(&plane->vf[i])))
            return true;
    return plane->delayed != 0;
}

/* How long the thread may nap: no longer than until a paced capture's next frame. */
static long nap_until_due(const struct plane *plane, long nap)
{
    uint64_t due = plane->uplink->due, now;

    if (!due)
        return nap;
    now = clock_ns();
    return due <= now ? 0 : due - now < (uint64_t)nap ? (long)(due - now) : nap;
}

static void *run(void *argument)
{
    struct plane *plane = argument;
    uint32_t idle = 0;
    long nap = NAP_MIN_NS;

    pthread_mutex_lock(&plane->lock);
    while (!plane->stop) {
        bool busy = false;

        sigbus_enter(plane);
        for (uint32_t i = 0; i < ROUNDS && !__atomic_load_n(&plane->waiters, __ATOMIC_RELAXED); i++)
            busy |= thread_round(plane) != 0;
        busy |= timers_pending(plane);
        sigbus_leave(plane);

        pthread_mutex_unlock(&plane->lock);
        if (busy) {
            idle = 0;
            nap = NAP_MIN_NS;
        } else if (++idle > SPIN_TURNS) {
            struct timespec ts = {.tv_nsec = nap_until_due(plane, nap)};

            nanosleep(&ts, NULL);
            nap = nap * 2 > NAP_MAX_NS ? NAP_MAX_NS : nap * 2;
        }
        /* A mutex is not fair: whoever waits for it must get it before the next round. */
        while (__atomic_load_n(&plane->waiters, __ATOMIC_ACQUIRE))
            sched_yield();
        pthread_mutex_lock(&plane->lock);
    }
    pthread_mutex_unlock(&plane->lock);
    return NULL;
}

void plane_lock(struct plane *plane)
{
    __atomic_add_fetch(&plane->waiters, 1, __ATOMIC_ACQ_REL);
    pthread_mutex_lock(&plane->lock);
    __atomic_sub_fetch(&plane->waiters, 1, __ATOMIC_ACQ_REL);
    sigbus_enter(plane);
}

void plane_unlock(struct plane *plane)
{
    sigbus_leave(plane);
    pthread_mutex_unlock(&plane->lock);
}

/* 0, or a negative errno with words in `error`. */
static int open_bar(struct vf *vf, uint64_t size, char *error, uint32_t error_size)
{
    int result;

    vf->bar_size = size;
    vf->bar_fd = memfd_create("softvf-bar0", MFD_CLOEXEC | MFD_ALLOW_SEALING);
    /* The client gets this fd: sealed, it cannot take the pages away from under the data thread. */
    if (vf->bar_fd < 0 || ftruncate(vf->bar_fd, (off_t)size) ||
        fcntl(vf->bar_fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
        result = -errno;
        snprintf(error, error_size, "no memory for BAR0: %s", strerror(-result));
        return result;
    }
    vf->bar = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vf->bar_fd, 0);
    if (vf->bar == MAP_FAILED) {
        result = -errno;
        vf->bar = NULL;
        snprintf(error, error_size, "BAR0 cannot be mapped: %s", strerror(-result));
        return result;
    }
    return 0;
}

/* A plane that cannot be; errno is that of the call that failed, 0 where the words say it all. */
static struct plane *no_plane(struct plane *plane, int code)
{
    plane_free(plane);
    errno = code;
    return NULL;
}

struct plane *plane_new(uint32_t vfs, const struct softvf_card *card, const char *uplink,
                        int immediate, char *error, uint32_t error_size)
{
    struct plane *plane;
    int result;

    if (vfs == 0 || vfs > MAX_VFS || card->bar_size < VF_REG_SPACE) {
        snprintf(error, error_size, "1 to %d VFs and a BAR of at least 64 KiB", MAX_VFS);
        return no_plane(NULL, 0);
    }
    plane = calloc(1, sizeof(*plane));
    if (!plane) {
        snprintf(error, error_size, "no memory for the data plane");
        return no_plane(NULL, ENOMEM);
    }
    pthread_mutex_init(&plane->lock, NULL);
    plane->signaller.source = -1;
    plane->copy = copy_choose();
    plane->vfs = vfs;
    plane->immediate = immediate;
    plane->card = *card;
    plane->card.wb_group = card->wb_group ? card->wb_group : 2;
    plane->card.rx_tail_step = card->rx_tail_step ? card->rx_tail_step : 1;
    plane->link = true;
    plane->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (plane->event_fd < 0) {
        result = errno;
        snprintf(error, error_size, "no eventfd for the data thread: %s", strerror(result));
        return no_plane(plane, result);
    }
    plane->vf = calloc(vfs, sizeof(*plane->vf));
    if (!plane->vf) {
        snprintf(error, error_size, "no memory for %u VFs", vfs);
        return no_plane(plane, ENOMEM);
    }
    result = signal_open(&plane->signaller);
    if (result) {
        snprintf(error, error_size, "no asynchronous I/O, by which interrupts are sent: %s%s",
                 strerror(-result), result == -EAGAIN ? " (see fs.aio-max-nr)" : "");
        return no_plane(plane, -result);
    }
    plane->uplink = uplink_open(uplink, error, error_size);
    if (!plane->uplink)
        return no_plane(plane, 0);
    plane->loopback = plane->uplink->loopback;
    for (uint32_t i = 0; i < vfs; i++) {
        struct vf *vf = &plane->vf[i];

        vf->index = i;
        for (uint32_t v = 0; v < MAX_VECTORS; v++)
            vf->vector[v].eventfd = -1;
        vectors_reset(vf);
        vf->dma.most_mappings = dma_share(vfs);
        vf->dma.most_bytes = card->dma_bytes ? card->dma_bytes : DMA_BYTES;
        vf->config = calloc(1, sizeof(*vf->config));
        vf->unfinished.frame = malloc(TSO_ROOM);
        if (!vf->config || !vf->unfinished.frame) {
            snprintf(error, error_size, "no memory for VF %u", i);
            return no_plane(plane, ENOMEM);
        }
        result = open_bar(vf, card->bar_size, error, error_size);
        if (result)
            return no_plane(plane, -result);
    }
    result = sigbus_install();
    if (result) {
        snprintf(error, error_size, "no handler for files that clients cut short: %s",
                 strerror(-result));
        return no_plane(plane, -result);
    }
    return plane;
}

int plane_start(struct plane *plane)
{
    int result;

    if (plane->running)
        return 0;
    plane->stop = false;
    result = pthread_create(&plane->thread, NULL, run, plane);
    plane->running = result == 0;
    return -result;
}

void plane_stop(struct plane *plane)
{
    if (!plane->running)
        return;
    plane_lock(plane);
    plane->stop = true;
    plane_unlock(plane);
    pthread_join(plane->thread, NULL);
    plane->running = false;
}

void plane_free(struct plane *plane)
{
    if (!plane)
        return;
    plane_stop(plane);
    for (uint32_t i = 0; plane->vf && i < plane->vfs; i++) {
        struct vf *vf = &plane->vf[i];
        struct softvf_grave grave;

        if (vf->bar)
            munmap(vf->bar, vf->bar_size);
        for (uint32_t q = 0; q < MAX_QUEUES; q++)
            free(vf->rx[q].shadow);
        dma_remove(vf, 0, 0, true);
        while (dma_bury(vf, &grave))
            dma_unmap(&grave);
        windows_free(&vf->dma);
        free(vf->dma.file);
        for (uint32_t v = 0; v < MAX_VECTORS; v++)
            if (vf->vector[v].eventfd > 0)
                close(vf->vector[v].eventfd);
        if (vf->bar_fd > 0)
            close(vf->bar_fd);
        if (vf->config)
            flows_free(vf->config->flows);
        free(vf->config);
        free(vf->unfinished.frame);
        free(vf->delay.memory);
    }
    if (plane->uplink && plane->uplink->ops)
        plane->uplink->ops->close(plane->uplink);
    else
        free(plane->uplink);
    if (plane->event_fd >= 0)
        close(plane->event_fd);
    signal_close(&plane->signaller);
    free(plane->vf);
    pthread_mutex_destroy(&plane->lock);
    free(plane);
}
