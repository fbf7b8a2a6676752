/* SPDX-License-Identifier: BSD-3-Clause */
/* How long packets are under way: buckets, times written over, and a sender beside a receiver. */
#include <pthread.h>

#include "driver/worker/latency.h"
#include "rig.h"

#define RACED 2000000u

/* Every bucket is where its neighbours end, and narrower than 1/64 of its values. */
static void test_buckets(void)
{
    uint32_t before = 0;

    for (uint64_t ns = 0; ns < 1u << 20; ns++) {
        uint32_t index = histogram_index(ns);

        assert(index == before || index == before + 1);
        before = index;
    }
    assert(histogram_index(127) == 127 && histogram_index(128) == 128);
    assert(histogram_index(129) == 128 && histogram_index(130) == 129);
    assert(histogram_index((1ull << 42) - 1) == HISTOGRAM_BUCKETS - 1);
    assert(histogram_index(UINT64_MAX) == HISTOGRAM_BUCKETS - 1);
    for (uint32_t power = 7; power < 42; power++) {
        uint64_t low = 1ull << power;

        assert(histogram_index(low) == histogram_index(low - 1) + 1);
        assert(histogram_index(2 * low - 1) == histogram_index(low) + 63);
        assert(histogram_index(low + (low >> 6) - 1) == histogram_index(low));
    }
}

static void test_times(void)
{
    struct stamps *stamps = stamps_new(2, 4);
    struct histogram *to = calloc(1, sizeof(*to));
    uint64_t depth;

    assert(stamps && to);
    depth = stamps->depth;
    latency_stamp(stamps, frame_identity(1, 3, 7), 1000);
    latency_record(stamps, to, frame_identity(1, 3, 7), 1600, 0.5);
    assert(to->count == 1 && to->sum_ns == 300 && to->least_ns == 300 && to->most_ns == 300);
    assert(to->bucket[histogram_index(300)] == 1 && !to->missed);
    latency_record(stamps, to, frame_identity(1, 3, 8), 1600, 0.5); /* never made */
    assert(to->count == 1 && to->missed == 1);
    latency_record(stamps, to, frame_identity(0, 3, 7), 1600, 0.5); /* another sender's */
    assert(to->count == 1 && to->missed == 2);
    latency_stamp(stamps, frame_identity(1, 3, 7 + depth), 2000); /* written over */
    latency_record(stamps, to, frame_identity(1, 3, 7), 2600, 0.5);
    assert(to->count == 1 && to->missed == 3);
    latency_record(stamps, to, frame_identity(1, 3, 7 + depth), 1990,
                   0.5); /* clocks differ a little */
    assert(to->count == 2 && to->sum_ns == 300);
    /* Whatever a frame says, nothing outside of the table is touched. */
    latency_stamp(stamps, frame_identity(2, 0, 0), 1);
    latency_stamp(stamps, frame_identity(0, 4, 0), 1);
    latency_record(stamps, to, frame_identity(2, 0, 0), 2, 1);
    latency_record(stamps, to, frame_identity(255, 65535, SEQUENCE_MASK), 2, 1);
    assert(to->count == 2 && to->missed == 3);
    free(to);
    stamps_free(stamps);
    stamps_free(NULL);
    assert(!stamps_new(0, 1) && !stamps_new(1, 0) && !stamps_new(257, 1) && !stamps_new(1, 65537));
}

struct race {
    struct stamps *stamps;
    uint32_t sent; /* published by the sender */
};

static void *sends(void *argument)
{
    struct race *race = argument;

    for (uint32_t i = 0; i < RACED; i++) {
        latency_stamp(race->stamps, frame_identity(0, 0, i), 1000ull * i);
        __atomic_store_n(&race->sent, i + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

/* A receiver that is late finds the right time or none, never another packet's. */
static void test_a_race(void)
{
    struct race race = {.stamps = stamps_new(1, 65536)};
    struct histogram *to = calloc(1, sizeof(*to));
    pthread_t thread;
    uint32_t looked = 0, sent = 0;

    assert(race.stamps && to);
    assert(pthread_create(&thread, NULL, sends, &race) == 0);
    while (sent < RACED) {
        sent = __atomic_load_n(&race.sent, __ATOMIC_ACQUIRE);
        if (!sent)
            continue;
        latency_record(race.stamps, to, frame_identity(0, 0, sent - 1), 1000ull * (sent - 1) + 5,
                       1);
        looked++;
    }
    pthread_join(thread, NULL);
    assert(to->count + to->missed == looked && to->count == to->bucket[5]);
    free(to);
    stamps_free(race.stamps);
}

int main(void)
{
    test_buckets();
    test_times();
    test_a_race();
    return 0;
}
