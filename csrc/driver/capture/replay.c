/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver/capture/replay.h"
#include "driver/clock.h"
#include "driver/pool/pool.h"
#include "driver/ring/queue_pair.h"

#define BURST 64u
#define COARSE_NS (200 * 1000ull) /* a sleep may take so much longer than asked for */

struct replay {
    struct replay_config config;
    struct replay_counts counts;
    uint64_t start_ns; /* of this round */
    uint64_t next; /* frame of this round that is loaded next */
    uint64_t loaded_due; /* when the first loaded frame should have been sent */
    uint32_t first, loaded; /* frames in buffers, which the device has not taken yet */
    uint64_t handles[BURST], chain[BURST * CHAIN_ROW];
    uint8_t segments[BURST];
    uint32_t bytes[BURST];
};

struct replay *replay_new(const struct replay_config *config)
{
    struct replay *replay = calloc(1, sizeof(*replay));

    if (replay)
        replay->config = *config;
    return replay;
}

void replay_rebind(struct replay *replay, struct queue_pair *pair)
{
    replay->config.pair = pair;
}

const struct replay_counts *replay_counts(const struct replay *replay)
{
    return &replay->counts;
}

void replay_release(struct replay *replay)
{
    if (replay->loaded)
        pair_release_chains(replay->config.pair, replay->handles + replay->first,
                            replay->chain + CHAIN_ROW * replay->first,
                            replay->segments + replay->first, replay->loaded);
    replay->loaded = 0;
}

void replay_free(struct replay *replay)
{
    free(replay);
}

static void count(uint64_t *counter, uint64_t value)
{
    __atomic_store_n(counter, value, __ATOMIC_RELAXED);
}

/* ---- loading ---- */

static uint32_t parts_of(uint32_t length)
{
    return length <= POOL_ROOM ? 1 : (length + POOL_ROOM - 1) / POOL_ROOM;
}

/* Copies a frame into buffers[]: one, or as many as it needs. */
static void load(struct replay *replay, uint32_t slot, const uint64_t *buffers)
{
    struct pool *pool = replay->config.pair->pool;
    const uint8_t *data = replay->config.data + replay->config.offsets[replay->next];
    uint32_t left = replay->config.lengths[replay->next], parts = parts_of(left);

    replay->segments[slot] = (uint8_t)parts;
    replay->bytes[slot] = left;
    for (uint32_t k = 0; k < parts; k++) {
        uint32_t part = left < POOL_ROOM ? left : POOL_ROOM;
        uint64_t handle = handle_make(handle_index(buffers[k]), handle_offset(buffers[k]), part);

        memcpy(pool_data(pool, handle), data, part);
        if (k)
            replay->chain[CHAIN_ROW * slot + k - 1] = handle;
        else
            replay->handles[slot] = handle;
        data += part;
        left -= part;
    }
}

/* Loads the next frames of the round, `most` of them or as many as there are buffers for. */
static void load_some(struct replay *replay, uint32_t most)
{
    const struct replay_config *config = &replay->config;
    uint64_t buffers[BURST * CHAIN_MAX];
    uint32_t need = 0, got, used = 0;

    for (uint32_t i = 0; i < most; i++)
        need += parts_of(config->lengths[replay->next + i]);
    got = (uint32_t)pair_alloc(config->pair, buffers, need);
    replay->first = replay->loaded = 0;
    replay->loaded_due = config->due ? replay->start_ns + config->due[replay->next] : 0;
    while (replay->loaded < most) {
        uint32_t parts = parts_of(config->lengths[replay->next]);

        if (used + parts > got)
            break;
        load(replay, replay->loaded++, buffers + used);
        used += parts;
        replay->next++;
    }
    if (used < got)
        pair_release(config->pair, buffers + used, got - used);
}

/* ---- sending ---- */

/* Sends what is loaded: how many frames the device took, or a negative errno. */
static int send_loaded(struct replay *replay)
{
    struct replay_counts *counts = &replay->counts;
    uint32_t refused, first = replay->first;
    bool chained = false;
    uint64_t bytes = 0;
    int done;

    for (uint32_t i = first; i < first + replay->loaded; i++)
        chained |= replay->segments[i] > 1;
    done = pair_send(replay->config.pair, replay->handles + first,
                     chained ? replay->chain + CHAIN_ROW * first : NULL,
                     chained ? replay->segments + first : NULL, replay->loaded, &refused);
    if (done <= 0)
        return done;
    for (uint32_t i = first; i < first + (uint32_t)done; i++)
        bytes += replay->bytes[i];
    replay->first += (uint32_t)done;
    replay->loaded -= (uint32_t)done;
    count(&counts->sent, counts->sent + (uint32_t)done - refused);
    count(&counts->bytes, counts->bytes + bytes);
    return done;
}

/* ---- time ---- */

static uint64_t due_at(const struct replay *replay, uint64_t frame)
{
    return replay->start_ns + replay->config.due[frame];
}

/* Frames of this round that may be sent now, a burst at most. */
static uint32_t ready(const struct replay *replay, uint64_t now)
{
    uint64_t left = replay->config.frames - replay->next;
    uint32_t most = left < BURST ? (uint32_t)left : BURST, n = 0;

    if (!replay->config.due)
        return most;
    while (n < most && due_at(replay, replay->next + n) <= now)
        n++;
    return n;
}

/* Waits for a time that is near: sleeps while it is far off, spins when it is close. */
static void wait_for(uint64_t when, uint64_t until, uint64_t now)
{
    uint64_t end = when < until ? when : until;

    if (end > now + COARSE_NS) {
        uint64_t ns = end - now - COARSE_NS;
        struct timespec nap = {.tv_sec = (time_t)(ns / NS_PER_SECOND),
                               .tv_nsec = (long)(ns % NS_PER_SECOND)};

        nanosleep(&nap, NULL);
    } else {
        cpu_relax();
    }
}

/* The beginning of the next round; false when that was the last one. */
static bool next_round(struct replay *replay)
{
    const struct replay_config *config = &replay->config;

    count(&replay->counts.rounds, replay->counts.rounds + 1);
    if (config->rounds && replay->counts.rounds == config->rounds)
        return false;
    replay->next = 0;
    replay->start_ns += config->round_ns;
    return true;
}

static void note_late(struct replay *replay, uint64_t now)
{
    if (replay->config.due && now > replay->loaded_due &&
        now - replay->loaded_due > replay->counts.late_ns)
        count(&replay->counts.late_ns, now - replay->loaded_due);
}

int replay_run(struct replay *replay, uint64_t until_ns)
{
    const struct replay_config *config = &replay->config;

    if (config->rounds && replay->counts.rounds == config->rounds)
        return 1;
    if (!replay->start_ns)
        replay->start_ns = clock_ns();
    for (;;) {
        uint64_t now = clock_ns();
        int sent;

        if (now >= until_ns)
            return 0;
        if (!replay->loaded && replay->next == config->frames && !next_round(replay))
            return 1;
        if (!replay->loaded) {
            uint32_t n = ready(replay, now);

            if (!n) {
                wait_for(due_at(replay, replay->next), until_ns, now);
                continue;
            }
            load_some(replay, n);
        }
        sent = replay->loaded ? send_loaded(replay) : 0;
        if (sent < 0)
            return sent;
        if (sent) {
            note_late(replay, now);
            continue;
        }
        count(&replay->counts.full, replay->counts.full + 1);
        sent = pair_clean(config->pair);
        if (sent < 0)
            return sent;
        cpu_relax();
    }
}
