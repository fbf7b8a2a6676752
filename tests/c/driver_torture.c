/* SPDX-License-Identifier: BSD-3-Clause */
/* Loads race with the device's stores: one thread writes descriptors back as fast as it can, the other
 * receives with each instruction set. Every field of a packet is made from its number, so a field that
 * belongs to another packet, or to what the slot held before, shows (docs/adr/0005). The packet's data
 * carry the number too.
 * Arguments: packets over all combinations (10000000 take some seconds on two idle CPUs), and perhaps a way
 * to receive with a function of this file instead. "late": the status words are loaded last, so the test
 * must fail. "wide" (x86, AVX): one 32-byte load takes a whole descriptor, which no manual allows; whether
 * it fails is the processor's secret. */
#include <pthread.h>
#include <sched.h>

#include "driver/clock.h"
#include "driver/driver.h"
#include "driver/simd/rx_loop.h"
#include "rig.h"

#define ENTRIES 256
#define BUFFERS 2048
#define MAX 64
#define COMBINATIONS 12 /* instruction sets and formats; no machine has all */

struct fields { /* of packet number n */
    uint32_t length, rss, mark, time;
    uint16_t ptype, vlan;
};

static uint32_t mix(uint32_t n, uint32_t salt)
{
    uint32_t x = (n + salt) * 0x9e3779b1u;

    x ^= x >> 15;
    x *= 0x85ebca77u;
    return x ^ x >> 13;
}

static struct fields fields_of(uint32_t n, uint32_t flex)
{
    return (struct fields){
        .length = 60 + mix(n, 1) % 1900,
        .rss = mix(n, 2),
        .mark = flex ? mix(n, 3) & 0x7fffffff : 0,
        .time = flex == 2 ? mix(n, 4) : 0,
        .ptype = (uint16_t)(1 + mix(n, 5) % 150),
        .vlan = (uint16_t)mix(n, 6),
    };
}

static void spin(uint32_t *turns)
{
    if (++*turns % 1024)
        cpu_relax();
    else
        sched_yield();
}

/* Now and then the first word, by which a reader may tell the format, comes well before the others. */
static void write_words(struct rig *rig, uint32_t pause, uint64_t qw0, uint64_t qw1, uint64_t qw2,
                        uint64_t qw3)
{
    if (pause)
        __atomic_store_n(&rig->rx[rig->rx_head].qw0, qw0, __ATOMIC_RELAXED);
    while (pause--)
        cpu_relax();
    rig_rx_raw(rig, qw0, qw1, qw2, qw3);
}

/* Descriptors 6 and 7, by hand. */
static void write_back(struct rig *rig, const struct fields *f, uint32_t pause)
{
    uint32_t flex = rig->config.flex;

    if (!flex)
        write_words(rig, pause, (uint64_t)f->rss << 32 | (uint32_t)f->vlan << 16,
                    0x3007 | (uint64_t)f->ptype << 30 | (uint64_t)f->length << 38, 0, 0);
    else
        write_words(rig, pause, flex | (uint64_t)f->ptype << 16 | (uint64_t)f->length << 32,
                    0x3003 | (uint64_t)f->vlan << 16 |
                        (uint64_t)(flex == 22 ? f->mark : f->rss) << 32,
                    0x1000000, (flex == 22 ? f->rss : f->mark) | (uint64_t)f->time << 32);
}

/* Two threads on one CPU never race: the scheduler is not left to put them there. */
static void pin(uint32_t which)
{
    cpu_set_t allowed, one;
    uint32_t seen = 0;

    if (sched_getaffinity(0, sizeof(allowed), &allowed) || CPU_COUNT(&allowed) < 2)
        return;
    CPU_ZERO(&one);
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &allowed) && seen++ == which)
            CPU_SET(cpu, &one);
    pthread_setaffinity_np(pthread_self(), sizeof(one), &one);
}

struct device {
    struct rig *rig;
    cpu_set_t allowed;
    uint32_t packets;
    bool stop;
};

/* Runs of one to sixteen packets, then a pause, so that the receiver is mostly at the run's end. */
static void *device_main(void *argument)
{
    struct device *device = argument;
    struct rig *rig = device->rig;
    uint32_t turns = 0, run = 0;

    pthread_setaffinity_np(pthread_self(), sizeof(device->allowed), &device->allowed);
    pin(1);
    for (uint32_t n = 0; n < device->packets; n++) {
        struct fields f = fields_of(n, rig->config.flex);
        uint64_t data = n;

        if (!run--) {
            run = mix(n, 7) % 16;
            for (uint32_t pause = mix(n, 8) % 256; pause; pause--)
                cpu_relax();
        }
        while (!rig_rx_room(rig)) {
            if (__atomic_load_n(&device->stop, __ATOMIC_RELAXED))
                return NULL;
            spin(&turns);
        }
        memcpy(rig_rx_buffer(rig), &data, sizeof(data));
        write_back(rig, &f, mix(n, 10) % 8);
    }
    return NULL;
}

static enum { RIGHT, LATE, WIDE } way;

static void wrong_load(struct writeback *w, const struct rx_desc *desc, uint32_t lanes)
{
#if defined(__x86_64__)
    if (way == WIDE) {
        for (uint32_t i = 0; i < lanes; i++)
            __asm__ volatile("vmovdqu %1, %%ymm0\n\tvmovdqu %%ymm0, %0"
                             : "=m"(w[i])
                             : "m"(desc[i])
                             : "xmm0", "memory");
        return;
    }
#endif
    for (uint32_t i = 0; i < lanes; i++) {
        w[i].qw0 = writeback_word(&desc[i].qw0);
        w[i].qw2 = writeback_word(&desc[i].qw2);
        w[i].qw3 = writeback_word(&desc[i].qw3);
    }
    __asm__ volatile("" ::: "memory");
    for (uint32_t i = 0; i < lanes; i++)
        w[i].qw1 = writeback_word(&desc[i].qw1);
}

INLINE struct run wrong_run(struct queue_pair *pair, const struct columns *c, uint32_t row,
                            uint32_t n, const int format, const int metadata, const int mark,
                            const int full)
{
    const struct rx_desc *desc = pair->rx_ring + pair->rx_next;
    uint32_t lanes = n < 8 ? n : 8;
    struct writeback w[8] = {{0}};
    struct run run = {0};

    (void)full;
    wrong_load(w, desc, lanes);
    for (uint32_t i = 0; i < lanes; i++) {
        uint32_t length = writeback_length(&w[i], format);
        uint32_t index = pair->rx_sw[pair->rx_next + i];

        if (!status_good(pair, &w[i], format))
            break;
        c->handles[row + i] = handle_make(index, pair->headroom, length);
        if (mark)
            pool_hold(pair->pool, index);
        run.bytes += length;
        run.count++;
        metadata_fill(pair, c, row + i, &w[i], format, metadata);
    }
    return run;
}

#define wrong_post scalar_post
RX_ALL(wrong, SCALAR_LANES)

struct rows {
    uint64_t handles[MAX];
    uint16_t ptype[MAX], vlan[MAX];
    uint32_t rss[MAX], mark[MAX], time[MAX];
    uint8_t flags[MAX], csum[MAX];
};

/* Whether row i is packet n; prints what is not. */
static bool row_good(const struct rig *rig, const struct rows *rows, uint32_t i, uint32_t n)
{
    struct fields f = fields_of(n, rig->config.flex);
    uint64_t data;

    memcpy(&data, pool_data(rig->pool, rows->handles[i]), sizeof(data));
    if (handle_length(rows->handles[i]) == f.length && rows->rss[i] == f.rss &&
        rows->ptype[i] == f.ptype && rows->vlan[i] == f.vlan && rows->mark[i] == f.mark &&
        rows->time[i] == f.time && data == n)
        return true;
    printf("packet %u torn: length %u/%u rss %x/%x ptype %u/%u vlan %x/%x mark %x/%x time %x/%x "
           "data %llu\n",
           n, handle_length(rows->handles[i]), f.length, rows->rss[i], f.rss, rows->ptype[i],
           f.ptype, rows->vlan[i], f.vlan, rows->mark[i], f.mark, rows->time[i], f.time,
           (unsigned long long)data);
    return false;
}

static bool received_all(struct rig *rig, uint32_t packets)
{
    static struct rows rows;
    struct columns columns = {.handles = rows.handles,
                              .flags = rows.flags,
                              .csum = rows.csum,
                              .ptype = rows.ptype,
                              .vlan = rows.vlan,
                              .rss = rows.rss,
                              .mark = rows.mark,
                              .time = rows.time};
    uint32_t turns = 0, n = 0;

    while (n < packets) {
        int got = pair_recv(rig->pair, &columns, 1 + mix(n, 9) % MAX);

        assert(got >= 0);
        for (uint32_t i = 0; i < (uint32_t)got; i++, n++)
            if (!row_good(rig, &rows, i, n))
                return false;
        if (got)
            pair_release(rig->pair, rows.handles, (uint32_t)got);
        else
            spin(&turns);
        if (rig->rq->drop_malformed + rig->rq->drop_oversize + rig->rq->drop_error) {
            printf("packet %u or later dropped: a field was not its own\n", n);
            return false;
        }
    }
    return true;
}

static bool torture(uint32_t isa, uint32_t flex, uint32_t packets)
{
    struct rig rig;
    struct device device = {.rig = &rig, .packets = packets};
    uint64_t start = clock_ns();
    pthread_t thread;
    bool good;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.isa = isa;
    rig.config.flex = flex;
    rig.config.metadata = 63;
    rig.pair = pair_new(&rig.config, &error);
    if (error == -ENOTSUP) {
        printf("isa %u: not on this machine\n", isa);
        rig_end(&rig);
        return true;
    }
    assert(rig.pair && !pair_arm(rig.pair) && !pair_start(rig.pair));
    if (way != RIGHT) {
        rig.pair->rx_paths = *wrong_rx(rig.pair->format, METADATA_ALL);
        rig.pair->rx_post = wrong_rx_post;
    }
    pthread_getaffinity_np(pthread_self(), sizeof(device.allowed), &device.allowed);
    pin(0);
    assert(!pthread_create(&thread, NULL, device_main, &device));
    good = received_all(&rig, packets);
    __atomic_store_n(&device.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    pthread_setaffinity_np(pthread_self(), sizeof(device.allowed), &device.allowed);
    printf("%s flex %u: %u packets in %.2f s, %llu polls, %llu of them empty: %s\n",
           way == RIGHT ? pair_isa_name(rig.pair) : "wrong", flex, packets,
           (double)(clock_ns() - start) / 1e9, (unsigned long long)rig.rq->polls,
           (unsigned long long)rig.rq->empty_polls, good ? "each whole" : "TORN");
    if (good)
        rig_end(&rig);
    return good;
}

int main(int argc, char **argv)
{
    static const uint32_t formats[] = {0, 2, 22};
    static const uint32_t isas[] = {
        ISA_SCALAR,
#if !defined(__SANITIZE_THREAD__)
        ISA_AVX2, /* vector loads of what a device writes are no atomics to the sanitizer */
        ISA_AVX512,
        ISA_NEON,
#endif
    };
    uint32_t packets = argc > 1 ? (uint32_t)atoi(argv[1]) : 600000;
    size_t count = sizeof(isas) / sizeof(isas[0]);
    bool good = true;

    if (argc > 2) {
        assert(!strcmp(argv[2], "late") || !strcmp(argv[2], "wide"));
        way = argv[2][0] == 'l' ? LATE : WIDE;
        count = 1; /* whichever it is, this file's function takes its place */
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (size_t isa = 0; isa < count; isa++)
        for (size_t format = 0; format < 3; format++)
            good &= torture(isas[isa], formats[format], packets / COMBINATIONS);
    puts(good ? "driver_torture ok" : "driver_torture: FAILED");
    return !good;
}
