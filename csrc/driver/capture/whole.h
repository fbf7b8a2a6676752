/* SPDX-License-Identifier: BSD-3-Clause */
/* A received packet as the frame that was on the wire: with the tag that the device took out, and in one piece
 * where somebody needs it so. */
#ifndef IAVFIO_DRIVER_WHOLE_H
#define IAVFIO_DRIVER_WHOLE_H

#include <stdint.h>
#include <string.h>
#include <sys/uio.h>

#include "driver/pool/pool.h"
#include "driver/ring/queue_pair.h"

#define MAC_BYTES 12u /* in front of a tag */
#define TAG_BYTES 4u
#define PIECES_MAX (CHAIN_MAX + 2) /* a tag parts the first segment */

struct whole {
    struct iovec piece[PIECES_MAX];
    uint32_t pieces;
    uint32_t length; /* of all pieces, on the wire without FCS */
    bool tagged; /* with a tag that was put back */
    uint8_t tag[TAG_BYTES];
};

static inline void whole_add(struct whole *whole, uint8_t *data, uint32_t length)
{
    whole->piece[whole->pieces++] = (struct iovec){.iov_base = data, .iov_len = length};
    whole->length += length;
}

/* The pieces of packet i. `tag_type`: the EtherType of stripped tags, 0: the columns have no tags. Segments that
 * would make the frame longer than `most` bytes, besides the tag, are left out: no queue delivers them. */
static inline void whole_of(struct whole *whole, const struct pool *pool,
                            const struct columns *columns, uint32_t i, uint32_t tag_type,
                            uint32_t most)
{
    uint64_t handle = columns->handles[i];
    uint8_t *data = pool_data(pool, handle);
    uint32_t length = handle_length(handle), left = most > length ? most - length : 0;

    whole->pieces = whole->length = 0;
    whole->tagged = tag_type && (columns->flags[i] & FLAG_VLAN) && length >= MAC_BYTES;
    if (unlikely(whole->tagged)) {
        uint16_t tag = columns->vlan[i];

        whole->tag[0] = (uint8_t)(tag_type >> 8);
        whole->tag[1] = (uint8_t)tag_type;
        whole->tag[2] = (uint8_t)(tag >> 8);
        whole->tag[3] = (uint8_t)tag;
        whole_add(whole, data, MAC_BYTES);
        whole_add(whole, whole->tag, TAG_BYTES);
        data += MAC_BYTES;
        length -= MAC_BYTES;
    }
    whole_add(whole, data, length);
    for (uint32_t k = 1; columns->segments && k < columns->segments[i] && k < CHAIN_MAX; k++) {
        uint64_t part = columns->chain[CHAIN_ROW * (uint64_t)i + k - 1];

        if (handle_length(part) > left)
            break;
        left -= handle_length(part);
        whole_add(whole, pool_data(pool, part), handle_length(part));
    }
}

/* The frame in one piece: the only one, or a copy of all in `room`, which has as many bytes as the frame. */
static inline const uint8_t *whole_frame(const struct whole *whole, uint8_t *room)
{
    uint8_t *out = room;

    if (likely(whole->pieces == 1))
        return whole->piece[0].iov_base;
    for (uint32_t i = 0; i < whole->pieces; i++) {
        memcpy(out, whole->piece[i].iov_base, whole->piece[i].iov_len);
        out += whole->piece[i].iov_len;
    }
    return room;
}

#endif
