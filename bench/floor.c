/* SPDX-License-Identifier: BSD-3-Clause */
/* A floor for what two cores can do over this ring layout: one thread plays the driver (posts sends,
 * reaps and refills receives), the other the device (copies payloads, writes back in whole cache lines).
 * No checks, no statistics, no switch. What a real driver and a real device model reach is compared
 * with it, in the same run on the same machine.
 * usage: floor SECONDS [CPU_DRIVER CPU_DEVICE]; prints one JSON object. SECONDS 0: for every number of
 * seconds read from standard input it runs so long and prints one; in between it does nothing, so that
 * something else can be measured in turns with it. */
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "hw/desc.h"

enum { RING = 1024, GROUP = 32, PAYLOAD = 64, STRIDE = 2176, SLICES = 4096 };

#define SLICE_NS 2000000 /* short: a hypervisor moves virtual CPUs within a second */

/* The rings and doorbells as the driver and the device share them; each on pages of its own. */
struct shared {
    _Alignas(4096) struct tx_desc tx[RING];
    _Alignas(4096) struct rx_desc rx[RING];
    _Alignas(4096) uint32_t tx_tail;
    _Alignas(4096) uint32_t rx_tail;
    _Alignas(4096) uint32_t stop;
    _Alignas(4096) uint8_t buffers[2 * RING][STRIDE];
};

struct device {
    struct shared *shared;
    uint32_t tx, rx;
    int cpu;
};

static void pin(int cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET((unsigned)cpu, &set);
    sched_setaffinity(0, sizeof(set), &set); /* where it is not allowed, the scheduler decides */
}

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static uint8_t *buffer_of(struct shared *s, uint64_t address)
{
    return &s->buffers[0][0] + address;
}

/* One group of sends into one group of receives, written back at the end: lines change hands once. */
static void move_group(struct shared *s, uint32_t tx, uint32_t rx)
{
    for (uint32_t i = 0; i < GROUP; i++)
        __builtin_prefetch(buffer_of(s, s->tx[tx + i].addr));
    for (uint32_t i = 0; i < GROUP; i++)
        memcpy(buffer_of(s, s->rx[rx + i].qw0), buffer_of(s, s->tx[tx + i].addr), PAYLOAD);
    for (uint32_t i = 0; i < GROUP; i++) {
        struct rx_desc *desc = &s->rx[rx + i];

        desc->qw0 = (uint64_t)PAYLOAD << RXF_LEN_SHIFT;
        desc->qw2 = desc->qw3 = 0;
        __atomic_store_n(&desc->qw1, (uint64_t)(RXF_DD | RXF_EOP), __ATOMIC_RELEASE);
    }
    __atomic_store_n(&s->tx[tx + GROUP - 1].qw1, (uint64_t)TX_DTYPE_DONE, __ATOMIC_RELEASE);
}

static void *play_device(void *argument)
{
    struct device *device = argument;
    struct shared *s = device->shared;
    uint32_t tx = device->tx, rx = device->rx;

    pin(device->cpu);
    while (!__atomic_load_n(&s->stop, __ATOMIC_RELAXED)) {
        uint32_t tx_tail = __atomic_load_n(&s->tx_tail, __ATOMIC_ACQUIRE);
        uint32_t rx_tail = __atomic_load_n(&s->rx_tail, __ATOMIC_ACQUIRE);

        if (((tx_tail - tx) & (RING - 1)) < GROUP || ((rx_tail - rx) & (RING - 1)) < GROUP)
            continue;
        move_group(s, tx, rx);
        tx = (tx + GROUP) & (RING - 1);
        rx = (rx + GROUP) & (RING - 1);
    }
    device->tx = tx;
    device->rx = rx;
    return NULL;
}

struct driver {
    struct shared *s;
    uint32_t tx_head, tx_tail, rx_head;
    uint64_t sent, received, lost;
};

/* A driver that sends packets writes them, and one that receives packets looks at them: without that
 * no payload would ever travel between the cores. */
static void write_payload(uint8_t *to, uint64_t number)
{
    uint64_t words[PAYLOAD / 8] = {number, 1, 2, 3, 4, 5, 6, 7};

    memcpy(to, words, sizeof(words));
}

static uint64_t read_payload(const uint8_t *from)
{
    uint64_t number;

    memcpy(&number, from, sizeof(number));
    return number;
}

static void post(struct driver *d)
{
    struct shared *s = d->s;

    while (d->tx_head != d->tx_tail) {
        uint64_t done = __atomic_load_n(&s->tx[d->tx_head + GROUP - 1].qw1, __ATOMIC_ACQUIRE);

        if ((done & TXD_DTYPE_MASK) != TX_DTYPE_DONE)
            break;
        d->tx_head = (d->tx_head + GROUP) & (RING - 1);
    }
    while (((d->tx_tail + GROUP) & (RING - 1)) != d->tx_head) {
        for (uint32_t i = 0; i < GROUP; i++) {
            struct tx_desc *desc = &s->tx[d->tx_tail + i];
            uint64_t buffer = (uint64_t)(d->tx_tail + i) * STRIDE;

            write_payload(buffer_of(s, buffer), d->sent++);
            desc->addr = buffer;
            desc->qw1 = (uint64_t)(TXD_CMD_EOP | TXD_CMD_ICRC) << TXD_CMD_SHIFT |
                        (uint64_t)PAYLOAD << TXD_BUF_SZ_SHIFT;
        }
        d->tx_tail = (d->tx_tail + GROUP) & (RING - 1);
        __atomic_store_n(&s->tx_tail, d->tx_tail, __ATOMIC_RELEASE);
    }
}

static uint32_t reap(struct driver *d)
{
    struct shared *s = d->s;
    uint32_t n = 0;

    for (; n < GROUP; n++) {
        struct rx_desc *desc = &s->rx[d->rx_head];
        uint64_t buffer = (uint64_t)(RING + d->rx_head) * STRIDE;

        if (!(__atomic_load_n(&desc->qw1, __ATOMIC_ACQUIRE) & RXF_DD))
            break;
        d->lost += read_payload(buffer_of(s, buffer)) - d->received;
        d->received++;
        desc->qw0 = buffer;
        desc->qw1 = 0;
        d->rx_head = (d->rx_head + 1) & (RING - 1);
    }
    if (n)
        __atomic_store_n(&s->rx_tail, (d->rx_head - 1) & (RING - 1), __ATOMIC_RELEASE);
    return n;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

static void play_driver(struct driver *d, double seconds)
{
    double mpps[SLICES];
    uint32_t slices = (uint32_t)(seconds * 1e9 / SLICE_NS);
    uint64_t packets = 0, lost = d->lost, begin = now_ns(), end = begin;

    slices = slices < 1 ? 1 : slices > SLICES ? SLICES : slices;
    for (uint32_t slice = 0; slice < slices; slice++) {
        uint64_t start = end, got = 0;

        for (; end - start < SLICE_NS; end = now_ns())
            for (uint32_t i = 0; i < 64; i++) {
                post(d);
                got += reap(d);
            }
        mpps[slice] = (double)got * 1e3 / (double)(end - start);
        packets += got;
    }
    qsort(mpps, slices, sizeof(*mpps), compare);
    printf("{\"name\": \"floor\", \"frame\": %d, \"ring\": %d, \"duration_s\": %.3f, \"packets\": "
           "%llu, "
           "\"mpps\": %.2f, \"mpps_median\": %.2f, \"mpps_best\": %.2f, \"lost\": %llu}\n",
           PAYLOAD, RING, (double)(end - begin) * 1e-9, (unsigned long long)packets,
           (double)packets * 1e3 / (double)(end - begin), mpps[slices / 2], mpps[slices - 1],
           (unsigned long long)(d->lost - lost));
    fflush(stdout);
}

/* One stretch of both threads; the rings go on where the last one left them. */
static int play(struct driver *driver, struct device *device, double seconds)
{
    pthread_t thread;

    __atomic_store_n(&driver->s->stop, 0, __ATOMIC_RELEASE);
    if (pthread_create(&thread, NULL, play_device, device)) {
        fprintf(stderr, "no second thread\n");
        return 1;
    }
    play_driver(driver, seconds);
    __atomic_store_n(&driver->s->stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    return 0;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1.0;
    struct device device = {.cpu = argc > 3 ? atoi(argv[3]) : 1};
    struct driver driver = {0};
    char line[64];
    int failed = 0;
    struct shared *s =
        mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (s == MAP_FAILED || !(seconds >= 0)) {
        fprintf(stderr, "usage: floor [SECONDS [CPU_DRIVER CPU_DEVICE]]\n");
        return 2;
    }
    memset(s->buffers, 1, sizeof(s->buffers));
    for (uint32_t i = 0; i < RING; i++)
        s->rx[i].qw0 = (uint64_t)(RING + i) * STRIDE;
    s->rx_tail = RING - 1;
    device.shared = driver.s = s;
    pin(argc > 3 ? atoi(argv[2]) : 0);
    if (seconds > 0)
        failed = play(&driver, &device, seconds);
    else
        while (!failed && fgets(line, sizeof(line), stdin))
            failed = play(&driver, &device, atof(line));
    munmap(s, sizeof(*s));
    return failed;
}
