/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "driver/capture/mirror.h"
#include "driver/capture/mirror_reader.h"
#include "driver/clock.h"

#define ENHANCED_PACKET 6u
#define OPTION_FLAGS 2u
#define OPTION_QUEUE 6u
#define INBOUND 1u
#define OUTBOUND 2u
#define SPINS 64u /* empty rounds before it sleeps */
#define NAP_NS 200000u

struct block_head {
    uint32_t type, total, interface, time_high, time_low, captured, length;
};
struct block_end {
    uint16_t flags_code, flags_length;
    uint32_t flags;
    uint16_t queue_code, queue_length;
    uint32_t queue;
    uint32_t end; /* of options */
    uint32_t total;
};

struct source {
    struct mirror_ring ring;
    uint64_t tail, head; /* read; as announced when it was looked at */
    uint64_t frames;
    struct mirror_record next; /* at `tail`, when `waits` */
    bool waits;
};

struct mirror_reader {
    uint32_t snaplen, count;
    uint64_t frames;
    struct source source[];
};

struct mirror_reader *mirror_reader_new(const struct mirror_ring *rings, uint32_t count,
                                        uint32_t snaplen, int *error)
{
    struct mirror_reader *reader;

    *error = -EINVAL;
    if (!count || count > MIRROR_RINGS || !snaplen)
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        if (rings[i].size < MIRROR_LEAST || (rings[i].size & (rings[i].size - 1)))
            return NULL;
    *error = -ENOMEM;
    reader = calloc(1, sizeof(*reader) + count * sizeof(reader->source[0]));
    if (!reader)
        return NULL;
    *error = 0;
    reader->snaplen = snaplen;
    reader->count = count;
    for (uint32_t i = 0; i < count; i++)
        reader->source[i].ring = rings[i];
    return reader;
}

void mirror_reader_free(struct mirror_reader *reader)
{
    free(reader);
}

static uint32_t padded(uint32_t length)
{
    return (length + 3) & ~3u;
}

uint64_t mirror_reader_least(const struct mirror_reader *reader)
{
    uint64_t most = 0;

    /* A record fits its ring, so no frame is longer than the largest one. */
    for (uint32_t i = 0; i < reader->count; i++)
        if (reader->source[i].ring.size > most)
            most = reader->source[i].ring.size;
    most = most < reader->snaplen ? most : reader->snaplen;
    return sizeof(struct block_head) + padded((uint32_t)most) + sizeof(struct block_end);
}

uint64_t mirror_reader_frames(const struct mirror_reader *reader, uint32_t i)
{
    return i < reader->count ? __atomic_load_n(&reader->source[i].frames, __ATOMIC_RELAXED) : 0;
}

static uint64_t unit(uint64_t length)
{
    return (length + MIRROR_ALIGN - 1) & ~(uint64_t)(MIRROR_ALIGN - 1);
}

/* Looks for the source's next record: 0, or -EBADMSG. */
static int look(const struct mirror_reader *reader, struct source *source)
{
    const struct mirror_ring *ring = &source->ring;
    const uint64_t *at;
    uint64_t lengths, left;

    if (source->waits)
        return 0;
    if (source->tail == source->head)
        source->head = __atomic_load_n(&ring->control->head, __ATOMIC_ACQUIRE);
    left = source->head - source->tail;
    if (!left)
        return 0;
    if (left > ring->size || left % MIRROR_ALIGN)
        return -EBADMSG;
    at = (const uint64_t *)(const void *)(ring->data + (source->tail & (ring->size - 1)));
    source->next.time_ns = __atomic_load_n(at, __ATOMIC_RELAXED);
    lengths = __atomic_load_n(at + 1, __ATOMIC_RELAXED);
    memcpy(&source->next.captured, &lengths, sizeof(lengths));
    if (source->next.captured > reader->snaplen || source->next.captured > source->next.length ||
        sizeof(source->next) + unit(source->next.captured) > left)
        return -EBADMSG;
    source->waits = true;
    return 0;
}

/* The source whose next frame is the earliest; NULL when no frame waits. */
static struct source *earliest(struct mirror_reader *reader, int *error)
{
    struct source *found = NULL;

    for (uint32_t i = 0; i < reader->count; i++) {
        struct source *source = &reader->source[i];

        *error = look(reader, source);
        if (*error)
            return NULL;
        if (source->waits && (!found || source->next.time_ns < found->next.time_ns))
            found = source;
    }
    return found;
}

static uint32_t write_block(uint8_t *out, const struct source *source)
{
    const struct mirror_ring *ring = &source->ring;
    uint32_t kept = source->next.captured, room = padded(kept);
    struct block_head head = {
        .type = ENHANCED_PACKET,
        .total = (uint32_t)(sizeof(head) + room + sizeof(struct block_end)),
        .time_high = (uint32_t)(source->next.time_ns >> 32),
        .time_low = (uint32_t)source->next.time_ns,
        .captured = kept,
        .length = source->next.length,
    };
    struct block_end end = {
        .flags_code = OPTION_FLAGS,
        .flags_length = sizeof(end.flags),
        .flags = ring->sent ? OUTBOUND : INBOUND,
        .queue_code = OPTION_QUEUE,
        .queue_length = sizeof(end.queue),
        .queue = ring->queue,
        .total = head.total,
    };
    uint64_t place = (source->tail + sizeof(source->next)) & (ring->size - 1);
    uint64_t left = ring->size - place;
    uint32_t first = kept < left ? kept : (uint32_t)left;
    uint8_t *data = out + sizeof(head);

    memcpy(out, &head, sizeof(head));
    memcpy(data, ring->data + place, first);
    memcpy(data + first, ring->data, kept - first);
    memset(data + kept, 0, room - kept);
    memcpy(data + room, &end, sizeof(end));
    return head.total;
}

static void consume(struct mirror_reader *reader, struct source *source)
{
    source->tail += sizeof(source->next) + unit(source->next.captured);
    source->waits = false;
    reader->frames++;
    __atomic_store_n(&source->frames, source->frames + 1, __ATOMIC_RELAXED);
    /* The copy must be done before the writer may use the place again. */
    __atomic_store_n(&source->ring.control->tail, source->tail, __ATOMIC_RELEASE);
}

int64_t mirror_reader_fill(struct mirror_reader *reader, uint8_t *buffer, uint64_t size,
                           uint64_t limit, uint64_t deadline_ns, int prompt)
{
    uint64_t least = mirror_reader_least(reader);
    struct timespec nap = {.tv_nsec = NAP_NS};
    uint8_t *at = buffer;
    uint32_t empty = 0;
    int error = 0;

    while ((uint64_t)(buffer + size - at) >= least && (!limit || reader->frames < limit)) {
        struct source *source = earliest(reader, &error);

        if (error)
            break;
        if (source) {
            at += write_block(at, source);
            consume(reader, source);
            empty = 0;
            if (reader->frames % 256 || clock_ns() < deadline_ns)
                continue;
            break;
        }
        if ((prompt && at != buffer) || clock_ns() >= deadline_ns)
            break;
        if (++empty < SPINS)
            cpu_relax();
        else
            nanosleep(&nap, NULL);
    }
    return error && at == buffer ? error : at - buffer;
}
