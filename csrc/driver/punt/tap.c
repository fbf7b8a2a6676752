/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/punt/tap.h"

#include <errno.h>
#include <unistd.h>

#include "driver/capture/whole.h"
#include "hw/ethernet.h"

#define TYPE_VLAN 0x8100u
#define TYPE_QINQ 0x88a8u

/* ---- to the TAP ---- */

static bool is_tag(const uint8_t *type)
{
    uint32_t value = (uint32_t)type[0] << 8 | type[1];

    return value == TYPE_VLAN || value == TYPE_QINQ;
}

/* What an MTU counts: the bytes behind the header and up to two tags. */
static uint32_t payload(const struct whole *whole, const uint8_t *data, uint32_t first)
{
    uint32_t header = ETHER_HEADER + (whole->tagged ? TAG_BYTES : 0), at = MAC_BYTES;

    for (uint32_t tags = whole->tagged; tags < 2; tags++) {
        if (at + 2 > first || !is_tag(data + at))
            break;
        at += TAG_BYTES;
        header += TAG_BYTES;
    }
    return whole->length > header ? whole->length - header : 0;
}

static void count_failure(struct tap_delivered *counts, int error)
{
    switch (error) {
    case EAGAIN:
    case ENOBUFS:
    case ENOMEM:
        counts->full++;
        break;
    case EIO: /* what the kernel says of an interface that is down */
    case EBADFD:
        counts->down++;
        break;
    default:
        counts->refused++;
    }
}

int tap_deliver(int tap, const struct pool *pool, const struct columns *columns,
                const int64_t *rows, uint32_t n, uint32_t tag_type, uint32_t mtu,
                struct tap_delivered *counts)
{
    int result = 0;

    for (uint32_t i = 0; i < n; i++) {
        uint32_t row = (uint32_t)rows[i];
        uint64_t handle = columns->handles[row];
        struct whole whole;
        ssize_t done;

        counts->packets++;
        whole_of(&whole, pool, columns, row, tag_type, RX_MAX_FRAME);
        if (payload(&whole, pool_data(pool, handle), handle_length(handle)) > mtu) {
            counts->longer++;
            continue;
        }
        do
            done = writev(tap, whole.piece, (int)whole.pieces);
        while (done < 0 && errno == EINTR);
        if (done < 0) {
            count_failure(counts, errno);
            result = errno == EBADFD ? -EBADFD : result;
            continue;
        }
        counts->delivered++;
        counts->bytes += whole.length;
        counts->tagged += whole.tagged;
    }
    return result;
}

/* ---- from the TAP ---- */

struct batch { /* frames that were read and are to be sent, and buffers for the next one */
    uint64_t spare[CHAIN_MAX];
    uint32_t spares, count;
    uint64_t handles[TAP_FRAMES_MAX], chain[TAP_FRAMES_MAX * CHAIN_ROW];
    uint8_t segments[TAP_FRAMES_MAX];
    uint32_t bytes[TAP_FRAMES_MAX];
    bool chained;
};

/* Puts a frame of so many bytes, which lies in the first spare buffers, behind the others. */
static void batch_add(struct batch *batch, uint32_t length)
{
    uint32_t slot = batch->count++, used = 0;

    batch->bytes[slot] = length;
    do {
        uint32_t part = length < POOL_ROOM ? length : POOL_ROOM;
        uint64_t buffer = batch->spare[used];
        uint64_t handle = handle_make(handle_index(buffer), handle_offset(buffer), part);

        if (used)
            batch->chain[CHAIN_ROW * slot + used - 1] = handle;
        else
            batch->handles[slot] = handle;
        used++;
        length -= part;
    } while (length);
    batch->segments[slot] = (uint8_t)used;
    batch->chained |= used > 1;
    batch->spares -= used;
    memmove(batch->spare, batch->spare + used, batch->spares * sizeof(*batch->spare));
}

/* Reads one frame: its length, up to max_frame + 1 for one that is longer, 0 when none waits, or a negative errno.
 * Without buffers for it, only the length is known afterwards. */
static int64_t read_frame(int tap, struct queue_pair *pair, struct batch *batch, uint32_t max_frame,
                          bool room)
{
    struct iovec part[CHAIN_MAX + 1];
    uint8_t beyond[1];
    uint32_t parts = 0;
    ssize_t done;

    for (uint32_t left = room ? max_frame : 0; left; parts++) {
        uint32_t some = left < POOL_ROOM ? left : POOL_ROOM;

        part[parts] = (struct iovec){pool_data(pair->pool, batch->spare[parts]), some};
        left -= some;
    }
    part[parts++] = (struct iovec){beyond, sizeof(beyond)};
    do
        done = readv(tap, part, (int)parts);
    while (done < 0 && errno == EINTR);
    if (done < 0)
        return errno == EAGAIN ? 0 : -errno;
    return done;
}

/* Sends what was read, and gives back what the device did not take. */
static void send_batch(struct queue_pair *pair, struct batch *batch, struct tap_fetched *counts)
{
    const uint64_t *chain = batch->chained ? batch->chain : NULL;
    const uint8_t *segments = batch->chained ? batch->segments : NULL;
    uint32_t at = 0;
    int done = 0;

    for (int tries = 0; tries < 2 && at < batch->count; tries++) {
        uint32_t refused = 0;

        if (tries)
            pair_clean(pair);
        done = pair_send(pair, batch->handles + at, chain ? chain + CHAIN_ROW * at : NULL,
                         segments ? segments + at : NULL, batch->count - at, &refused);
        if (done < 0)
            break;
        for (uint32_t i = at; i < at + (uint32_t)done; i++)
            counts->bytes += batch->bytes[i];
        counts->sent += (uint32_t)done - refused;
        counts->refused += refused;
        at += (uint32_t)done;
    }
    if (at == batch->count)
        return;
    if (done < 0)
        counts->stopped += batch->count - at;
    else
        counts->full += batch->count - at;
    pair_release_chains(pair, batch->handles + at, chain ? chain + CHAIN_ROW * at : NULL,
                        segments ? segments + at : NULL, batch->count - at);
}

int tap_fetch(int tap, struct queue_pair *pair, uint32_t max_frame, uint32_t most,
              struct tap_fetched *counts)
{
    struct batch batch = {.count = 0};
    uint32_t parts = (max_frame + POOL_ROOM - 1) / POOL_ROOM, frames = 0;
    int64_t got = 0;

    most = most < TAP_FRAMES_MAX ? most : TAP_FRAMES_MAX;
    for (; frames < most; frames++) {
        bool room;

        if (batch.spares < parts)
            batch.spares +=
                (uint32_t)pair_alloc(pair, batch.spare + batch.spares, parts - batch.spares);
        room = batch.spares == parts;
        got = read_frame(tap, pair, &batch, max_frame, room);
        if (got <= 0)
            break;
        if (!room)
            counts->no_buffer++;
        else if (got > max_frame)
            counts->longer++;
        else if (got < TX_MIN_FRAME)
            counts->refused++;
        else
            batch_add(&batch, (uint32_t)got);
    }
    counts->frames += frames;
    if (batch.count)
        send_batch(pair, &batch, counts);
    if (batch.spares)
        pair_release(pair, batch.spare, batch.spares);
    return got < 0 && !frames ? (int)got : (int)frames;
}
