/* SPDX-License-Identifier: BSD-3-Clause */
/* Queue pairs that share a vector: no sleeper of theirs misses a packet (docs/spec/reliability.md F47). */
#include <pthread.h>
#include <time.h>

#include "rig.h"

#define ENTRIES 64
#define BUFFERS 512
#define PAIRS 4
#define ROUNDS 400
#define DEADLINE_S 20

/* The device's side of one vector (docs/spec/registers.md 5): firing switches INTENA off, and a cause that comes
 * while it is off fires when it is switched on. */
struct device {
    struct vfio_regio regio; /* first: the device is found by its address */
    pthread_mutex_t lock;
    bool intena, cause;
    int event_fd;
    uint32_t fired;
};

static void fire(struct device *device)
{
    uint64_t one = 1;

    if (!device->intena || !device->cause)
        return;
    device->intena = device->cause = false;
    device->fired++;
    assert(write(device->event_fd, &one, sizeof(one)) == sizeof(one));
}

static int device_write32(struct vfio_regio *io, uint64_t offset, uint32_t value)
{
    struct device *device = (struct device *)io;

    assert(offset == RIG_DYN_CTL);
    pthread_mutex_lock(&device->lock);
    device->intena = value & DYN_CTL_INTENA;
    device->cause |= value & DYN_CTL_SWINT_TRIG;
    fire(device);
    pthread_mutex_unlock(&device->lock);
    return 0;
}

static uint32_t device_read32(struct vfio_regio *io, uint64_t offset)
{
    (void)io;
    (void)offset;
    return RSTAT_VFACTIVE;
}

static void device_packet(struct device *device, struct rig *rig)
{
    rig_rx(rig, 60, RIG_EOP);
    pthread_mutex_lock(&device->lock);
    device->cause = true;
    fire(device);
    pthread_mutex_unlock(&device->lock);
}

struct bench {
    struct device device;
    struct rig rig[PAIRS];
};

/* rearm: a device without WB_ON_ITR, whose interrupt stays on while its driver polls. */
static void bench_new(struct bench *bench, bool rearm)
{
    *bench =
        (struct bench){.device = {.regio = {.read32 = device_read32, .write32 = device_write32},
                                  .event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)}};
    pthread_mutex_init(&bench->device.lock, NULL);
    for (uint32_t i = 0; i < PAIRS; i++) {
        struct rig *rig = &bench->rig[i];

        rig_base(rig, ENTRIES, BUFFERS);
        rig->config.regio = &bench->device.regio;
        rig->config.event_fd = bench->device.event_fd;
        rig->config.poll_ctl = rearm ? DYN_CTL_INTENA | DYN_CTL_CLEARPBA : DYN_CTL_WB_ON_ITR;
        rig->config.sleep_ctl = DYN_CTL_INTENA;
        rig->config.rearm = rearm;
        rig->config.companion = i ? bench->rig[0].pair : NULL;
        rig_go(rig);
    }
}

static void bench_end(struct bench *bench)
{
    for (uint32_t i = 0; i < PAIRS; i++)
        rig_end(&bench->rig[i]);
    close(bench->device.event_fd);
    pthread_mutex_destroy(&bench->device.lock);
}

struct receiver {
    struct rig *rig;
    uint64_t received; /* atomic */
    bool polls;
    uint32_t stop; /* atomic, for one that polls */
    int result;
};

static void *receive(void *argument)
{
    struct receiver *receiver = argument;
    uint64_t handles[32];
    struct columns columns = {.handles = handles};

    while (!__atomic_load_n(&receiver->stop, __ATOMIC_ACQUIRE)) {
        int got = receiver->polls ? pair_recv(receiver->rig->pair, &columns, 32)
                                  : pair_recv_wait(receiver->rig->pair, &columns, 32, -1);

        receiver->result = got;
        if (got < 0)
            break;
        pair_release(receiver->rig->pair, handles, (uint32_t)got);
        __atomic_fetch_add(&receiver->received, (uint64_t)got, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void await(struct receiver *receiver, uint64_t count)
{
    time_t end = time(NULL) + DEADLINE_S;

    while (__atomic_load_n(&receiver->received, __ATOMIC_ACQUIRE) < count) {
        assert(time(NULL) < end);
        usleep(20);
    }
}

/* One packet at a time to one of the pairs, after pauses in which the others do and do not fall asleep. */
static void test_shared(bool rearm, bool one_polls)
{
    struct bench bench;
    struct receiver receiver[PAIRS];
    pthread_t thread[PAIRS];
    uint64_t sent[PAIRS] = {0};
    uint32_t seed = 1;

    bench_new(&bench, rearm);
    for (uint32_t i = 0; i < PAIRS; i++) {
        receiver[i] = (struct receiver){.rig = &bench.rig[i], .polls = one_polls && i == 1};
        pthread_create(&thread[i], NULL, receive, &receiver[i]);
    }
    for (uint32_t round = 0; round < ROUNDS; round++) {
        uint32_t to, burst;

        seed = seed * 1103515245 + 12345;
        to = seed >> 16 & (PAIRS - 1);
        burst = 1 + (seed >> 20 & 1);
        for (uint32_t i = 0; i < burst; i++, to = (to + 1) % PAIRS) {
            device_packet(&bench.device, &bench.rig[to]);
            sent[to]++;
        }
        for (uint32_t i = 0; i < PAIRS; i++)
            await(&receiver[i], sent[i]);
        if (seed >> 24 & 1)
            usleep(seed >> 25 & 127);
    }
    for (uint32_t i = 0; i < PAIRS; i++) {
        __atomic_store_n(&receiver[i].stop, receiver[i].polls, __ATOMIC_RELEASE);
        pair_stop(bench.rig[i].pair, -ESHUTDOWN);
        pthread_join(thread[i], NULL);
        assert(receiver[i].received == sent[i]);
        pair_drain(bench.rig[i].pair);
    }
    bench_end(&bench);
}

/* While one pair sleeps, others start, wake and are nudged on the same vector: it stays armed. */
static void test_stays_armed(void)
{
    struct bench bench;
    struct receiver receiver;
    pthread_t thread;
    uint64_t handles[32];
    struct columns columns = {.handles = handles};
    time_t end = time(NULL) + DEADLINE_S;

    bench_new(&bench, false);
    assert(!bench.device.intena);
    receiver = (struct receiver){.rig = &bench.rig[2]};
    pthread_create(&thread, NULL, receive, &receiver);
    while (!__atomic_load_n(&bench.rig[2].pair->sleeping, __ATOMIC_SEQ_CST))
        assert(time(NULL) < end);
    for (uint32_t round = 0; round < 50; round++) {
        assert(pair_recv_wait(bench.rig[0].pair, &columns, 32, 100000) == 0); /* its time is over */
        pair_stop(bench.rig[1].pair, -ESHUTDOWN);
        pair_drain(bench.rig[1].pair);
        assert(pair_arm(bench.rig[1].pair) == 0 && pair_start(bench.rig[1].pair) == 0);
        vector_nudge(bench.rig[3].pair);
        device_packet(&bench.device, &bench.rig[2]);
        await(&receiver, round + 1);
    }
    pair_stop(bench.rig[2].pair, -ESHUTDOWN);
    pthread_join(thread, NULL);
    assert(receiver.result == -ESHUTDOWN);
    bench_end(&bench);
}

/* Pairs come and go, in any order; the vector lives as long as one of them. */
static void test_lives(void)
{
    struct bench bench;
    int error = 0;

    bench_new(&bench, false);
    bench.rig[1].config.companion = bench.rig[3].pair;
    bench.rig[1].config.event_fd = -1;
    pair_free(bench.rig[1].pair);
    bench.rig[1].pair = pair_new(&bench.rig[1].config, &error);
    assert(!bench.rig[1].pair && error == -EINVAL); /* the companion's vector is another one */
    bench.rig[1].config.event_fd = bench.device.event_fd;
    pair_free(bench.rig[0].pair);
    bench.rig[0].pair = NULL;
    rig_go(&bench.rig[1]);
    assert(bench.rig[1].pair->vector == bench.rig[2].pair->vector);
    bench_end(&bench);
}

int main(void)
{
    test_shared(false, false);
    test_shared(true, false);
    test_shared(true, true);
    test_stays_armed();
    test_lives();
    puts("driver_vector ok");
    return 0;
}
