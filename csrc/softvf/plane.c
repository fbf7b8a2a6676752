/* SPDX-License-Identifier: BSD-3-Clause */
/* The data thread, and what control may do to it. */
#include <errno.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "softvf/plane.h"

#define SPIN_ROUNDS 2000      /* idle rounds before the thread starts to nap */
#define NAP_MIN_NS 20000      /* naps grow from here ... */
#define NAP_MAX_NS 500000     /* ... to here */

static uint64_t clock_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

void report(struct plane *plane, const struct vf *vf, uint32_t kind, const char *rule,
            const char *format, ...)
{
    uint32_t next = (plane->event_tail + 1) % SOFTVF_EVENTS;
    struct softvf_event *event = &plane->events[plane->event_tail];
    uint64_t one = 1;
    va_list args;

    if (next == plane->event_head) {
        plane->events_lost++;
        return;
    }
    event->vf = vf->index;
    event->kind = kind;
    snprintf(event->rule, sizeof(event->rule), "%s", rule);
    va_start(args, format);
    vsnprintf(event->text, sizeof(event->text), format, args);
    va_end(args);
    plane->event_tail = next;
    if (write(plane->event_fd, &one, sizeof(one)) < 0)
        return; /* already readable */
}

static uint32_t serve(struct plane *plane, struct vf *vf)
{
    uint32_t done = 0;

    for (uint32_t map = vf->tx_enabled; map; map &= map - 1)
        done += transmit(plane, vf, (uint32_t)__builtin_ctz(map));
    return done;
}

/* One round over everything; returns the number of packets moved. */
static uint32_t run_round(struct plane *plane)
{
    uint32_t done = 0;

    for (uint32_t i = 0; i < plane->vfs; i++)
        if (plane->vf[i].tx_enabled)
            done += serve(plane, &plane->vf[i]);
    done += forward_from_wire(plane);
    for (uint32_t i = 0; i < plane->vfs; i++) {
        struct vf *vf = &plane->vf[i];

        for (uint32_t map = vf->rx_enabled; map; map &= map - 1)
            rx_flush(plane, vf, &vf->rx[__builtin_ctz(map)], plane->immediate);
        if (vf->vectors_busy) {
            plane->now_ns = clock_ns();
            vectors_run(plane, vf);
        }
    }
    return done;
}

static bool timers_pending(const struct plane *plane)
{
    for (uint32_t i = 0; i < plane->vfs; i++)
        for (uint64_t busy = plane->vf[i].vectors_busy; busy; busy &= busy - 1) {
            const struct vector *v = &plane->vf[i].vector[__builtin_ctzll(busy)];

            if (v->intena || v->wb_on_itr)
                return true;
        }
    return false;
}

static void *run(void *argument)
{
    struct plane *plane = argument;
    uint32_t idle = 0;
    long nap = NAP_MIN_NS;

    pthread_mutex_lock(&plane->lock);
    while (!plane->stop) {
        bool busy = run_round(plane) != 0 || timers_pending(plane);

        pthread_mutex_unlock(&plane->lock);
        if (busy) {
            idle = 0;
            nap = NAP_MIN_NS;
        } else if (++idle > SPIN_ROUNDS) {
            struct timespec ts = {.tv_nsec = nap};

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
}

void plane_unlock(struct plane *plane)
{
    pthread_mutex_unlock(&plane->lock);
}

static void reset(struct vf *vf)
{
    vf->tx_enabled = vf->rx_enabled = 0;
    vf->vectors_busy = 0;
    vf->master_told = false;
    for (uint32_t q = 0; q < MAX_QUEUES; q++) {
        free(vf->rx[q].shadow);
        memset(&vf->rx[q], 0, sizeof(vf->rx[q]));
        memset(&vf->tx[q], 0, sizeof(vf->tx[q]));
    }
    for (uint32_t v = 0; v < MAX_VECTORS; v++) {
        struct vector *vector = &vf->vector[v];
        int fd = vector->eventfd;
        bool masked = vector->masked;

        memset(vector, 0, sizeof(*vector));
        vector->eventfd = fd;
        vector->masked = masked;
    }
    memset(vf->bar, 0, 0x3000); /* doorbells; ITRN lies in the same page */
}

struct plane *plane_new(uint32_t vfs, uint64_t bar_size, const char *uplink, int immediate,
                        int flex, int e810_itr, uint32_t wb_group, char *error, uint32_t error_size)
{
    struct plane *plane = calloc(1, sizeof(*plane));

    if (!plane || vfs == 0 || vfs > MAX_VFS || bar_size < VF_REG_SPACE) {
        snprintf(error, error_size, "1 to %d VFs and a BAR of at least 64 KiB", MAX_VFS);
        free(plane);
        return NULL;
    }
    pthread_mutex_init(&plane->lock, NULL);
    plane->vfs = vfs;
    plane->immediate = immediate;
    plane->flex = flex;
    plane->e810_itr = e810_itr;
    plane->wb_group = wb_group ? wb_group : 2;
    plane->link = true;
    plane->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    plane->vf = calloc(vfs, sizeof(*plane->vf));
    plane->uplink = uplink_open(uplink, error, error_size);
    if (!plane->uplink || !plane->vf || plane->event_fd < 0) {
        plane_free(plane);
        return NULL;
    }
    plane->loopback = plane->uplink->loopback;
    for (uint32_t i = 0; i < vfs; i++) {
        struct vf *vf = &plane->vf[i];

        vf->index = i;
        vf->bar_size = bar_size;
        vf->bar_fd = memfd_create("softvf-bar0", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        vf->config = calloc(1, sizeof(*vf->config));
        for (uint32_t v = 0; v < MAX_VECTORS; v++)
            vf->vector[v].eventfd = -1;
        if (vf->bar_fd < 0 || !vf->config || ftruncate(vf->bar_fd, (off_t)bar_size)) {
            snprintf(error, error_size, "no memory for BAR0: %s", strerror(errno));
            plane_free(plane);
            return NULL;
        }
        vf->bar = mmap(NULL, bar_size, PROT_READ | PROT_WRITE, MAP_SHARED, vf->bar_fd, 0);
        if (vf->bar == MAP_FAILED) {
            snprintf(error, error_size, "BAR0 cannot be mapped: %s", strerror(errno));
            vf->bar = NULL;
            plane_free(plane);
            return NULL;
        }
    }
    dma_guard_install();
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

        if (vf->bar) {
            reset(vf);
            munmap(vf->bar, vf->bar_size);
        }
        dma_remove(vf, 0, 0, true);
        free(vf->dma.window);
        for (uint32_t v = 0; v < MAX_VECTORS; v++)
            if (vf->vector[v].eventfd > 0)
                close(vf->vector[v].eventfd);
        if (vf->bar_fd > 0)
            close(vf->bar_fd);
        free(vf->config);
    }
    if (plane->uplink && plane->uplink->ops)
        plane->uplink->ops->close(plane->uplink);
    else
        free(plane->uplink);
    if (plane->event_fd >= 0)
        close(plane->event_fd);
    free(plane->vf);
    pthread_mutex_destroy(&plane->lock);
    free(plane);
}

int plane_event_fd(const struct plane *plane)
{
    return plane->event_fd;
}

int plane_next_event(struct plane *plane, struct softvf_event *event)
{
    if (plane->event_head == plane->event_tail)
        return 0;
    *event = plane->events[plane->event_head];
    plane->event_head = (plane->event_head + 1) % SOFTVF_EVENTS;
    return 1;
}

uint32_t plane_events_lost(struct plane *plane)
{
    return plane->events_lost;
}

int plane_bar_fd(const struct plane *plane, uint32_t vf)
{
    return plane->vf[vf].bar_fd;
}

uint32_t plane_bar_read32(struct plane *plane, uint32_t vf, uint64_t offset)
{
    return offset + 4 <= plane->vf[vf].bar_size ? bar_load(&plane->vf[vf], offset) : 0;
}

void plane_bar_write32(struct plane *plane, uint32_t vf, uint64_t offset, uint32_t value)
{
    if (offset + 4 <= plane->vf[vf].bar_size)
        __atomic_store_n((uint32_t *)(void *)(plane->vf[vf].bar + offset), value, __ATOMIC_RELEASE);
}

int plane_dma_map(struct plane *plane, uint32_t vf, int fd, uint64_t offset, uint64_t iova,
                  uint64_t size, int readable, int writable)
{
    return dma_add(plane, &plane->vf[vf], fd, offset, iova, size, readable, writable);
}

int64_t plane_dma_unmap(struct plane *plane, uint32_t vf, uint64_t iova, uint64_t size,
                        int everything)
{
    return dma_remove(&plane->vf[vf], iova, size, everything);
}

int plane_dma_read(struct plane *plane, uint32_t vf, uint64_t iova, void *data, uint64_t len)
{
    return dma_copy(&plane->vf[vf], iova, data, len, false);
}

int plane_dma_write(struct plane *plane, uint32_t vf, uint64_t iova, const void *data, uint64_t len)
{
    return dma_copy(&plane->vf[vf], iova, (void *)(uintptr_t)data, len, true);
}

void plane_set_bus_master(struct plane *plane, uint32_t vf, int on)
{
    plane->vf[vf].bus_master = on;
    plane->vf[vf].dma_generation++;
    plane->vf[vf].master_told = false;
}

int plane_configure_tx(struct plane *plane, uint32_t vf, uint32_t queue, uint64_t iova,
                       uint32_t entries)
{
    struct tx_queue *q;

    if (queue >= MAX_QUEUES || entries > RING_MAX)
        return -EINVAL;
    q = &plane->vf[vf].tx[queue];
    if (q->enabled)
        return -EBUSY;
    q->configured = entries != 0;
    q->entries = entries;
    q->iova = iova;
    q->head = q->rs_head = q->rs_tail = 0;
    q->stopped = false;
    q->generation = plane->vf[vf].dma_generation - 1;
    if (iova % RING_BASE_ALIGN)
        report(plane, &plane->vf[vf], SOFTVF_VIOLATION, "descriptors 10",
               "Tx queue %u: ring base %#llx is not 128-byte aligned", queue,
               (unsigned long long)iova);
    return 0;
}

int plane_configure_rx(struct plane *plane, uint32_t vf, uint32_t queue, uint64_t iova,
                       uint32_t entries, uint32_t buffer_size, uint32_t max_frame, uint32_t rxdid,
                       int keep_crc)
{
    struct rx_queue *q;
    struct rx_shadow *shadow;

    if (queue >= MAX_QUEUES || entries > RING_MAX)
        return -EINVAL;
    q = &plane->vf[vf].rx[queue];
    if (q->enabled)
        return -EBUSY;
    shadow = calloc(entries ? entries : 1, sizeof(*shadow));
    if (!shadow)
        return -ENOMEM;
    free(q->shadow);
    memset(q, 0, sizeof(*q));
    q->shadow = shadow;
    q->configured = entries != 0;
    q->entries = entries;
    q->iova = iova;
    q->buffer_size = buffer_size;
    q->max_frame = max_frame;
    q->rxdid = (uint8_t)rxdid;
    q->keep_crc = keep_crc;
    q->generation = plane->vf[vf].dma_generation - 1;
    if (iova % RING_BASE_ALIGN)
        report(plane, &plane->vf[vf], SOFTVF_VIOLATION, "descriptors 10",
               "Rx queue %u: ring base %#llx is not 128-byte aligned", queue,
               (unsigned long long)iova);
    return 0;
}

int plane_enable_queue(struct plane *plane, uint32_t vf, uint32_t queue, int rx)
{
    struct vf *v = &plane->vf[vf];

    if (queue >= MAX_QUEUES || !(rx ? v->rx[queue].configured : v->tx[queue].configured))
        return -EINVAL;
    if (rx) {
        v->rx[queue].enabled = true;
        v->rx_enabled |= 1u << queue;
    } else {
        v->tx[queue].enabled = true;
        v->tx_enabled |= 1u << queue;
    }
    return 0;
}

int plane_disable_queue(struct plane *plane, uint32_t vf, uint32_t queue, int rx)
{
    struct vf *v = &plane->vf[vf];

    if (queue >= MAX_QUEUES)
        return -EINVAL;
    if (rx && v->rx[queue].enabled) {
        rx_flush(plane, v, &v->rx[queue], true);
        v->rx[queue].enabled = false;
        v->rx_enabled &= ~(1u << queue);
    } else if (!rx && v->tx[queue].enabled) {
        tx_flush(plane, v, &v->tx[queue], true);
        v->tx[queue].enabled = false;
        v->tx_enabled &= ~(1u << queue);
    }
    return 0;
}

int plane_publish(struct plane *plane, uint32_t vf, const struct softvf_config *config,
                  const uint64_t *vlans)
{
    struct vf_config *fresh = plane->vf[vf].config;

    if (config->num_macs > MAX_MACS || config->lut_size > sizeof(config->rss_lut))
        return -EINVAL;
    fresh->c = *config;
    memcpy(fresh->vlan_bitmap, vlans, sizeof(fresh->vlan_bitmap));
    rss_prepare(&fresh->rss, config->rss_key, sizeof(config->rss_key), config->hashcfg,
                config->symmetric);
    rebuild_switch(plane);
    return 0;
}

void plane_set_link(struct plane *plane, int up)
{
    plane->link = up;
}

void plane_stats(struct plane *plane, uint32_t vf, uint64_t *stats)
{
    memcpy(stats, plane->vf[vf].stats, sizeof(plane->vf[vf].stats));
}

void plane_clear_stats(struct plane *plane, uint32_t vf)
{
    memset(plane->vf[vf].stats, 0, sizeof(plane->vf[vf].stats));
}

int plane_queue_stats(struct plane *plane, uint32_t vf, uint32_t queue, int rx, uint64_t *stats)
{
    const struct vf *v = &plane->vf[vf];

    if (queue >= MAX_QUEUES)
        return -EINVAL;
    stats[0] = rx ? v->rx[queue].packets : v->tx[queue].packets;
    stats[1] = rx ? v->rx[queue].bytes : v->tx[queue].bytes;
    stats[2] = rx ? v->rx[queue].no_descriptor : 0;
    return 0;
}

void plane_reset_vf(struct plane *plane, uint32_t vf)
{
    reset(&plane->vf[vf]);
}
