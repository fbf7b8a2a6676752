/* SPDX-License-Identifier: BSD-3-Clause */
/* A mirror: a copy of what one side of a queue pair moves, in a ring of shared memory that another process reads
 * (docs/adr/0009). A ring has one writer, the thread that holds the side, and one reader. It is never overwritten: what
 * finds no room is counted. Positions are bytes since the beginning, so that they only grow.
 *
 * The reader maps the ring writable, since its position lies there. The writer believes nothing that stands in shared
 * memory but this one number, which it checks: a reader that writes nonsense loses its own frames and nothing else. */
#ifndef IAVFIO_DRIVER_MIRROR_H
#define IAVFIO_DRIVER_MIRROR_H

#include <stdint.h>

#define MIRROR_CONTROL 4096 /* bytes in front of a ring's data, for its struct mirror_control */
#define MIRROR_ALIGN 16 /* records begin at multiples of it */
#define MIRROR_LEAST 32768 /* bytes of a ring's data: any frame fits; all are powers of two */

struct queue_pair;
struct filter_step;
struct mirror;

struct mirror_control { /* counts are complete up to `head` */
    uint64_t head; /* bytes written */
    uint64_t frames; /* that the side moved */
    uint64_t bytes; /* their length on the wire, without FCS */
    uint64_t written; /* frames in the ring so far: let through by the filter, and there was room */
    uint64_t lost; /* let through, and there was no room */
    uint64_t cut; /* of those written: longer than snaplen */
    uint64_t tagged; /* of those written: with a VLAN tag that was put back */
    uint64_t reserved[9];
    uint64_t tail; /* bytes read: the only word that the reader writes */
};

struct mirror_record { /* what stands before each frame */
    uint64_t time_ns; /* since 1970; that of its burst */
    uint32_t captured; /* bytes that follow, padded to MIRROR_ALIGN */
    uint32_t length; /* bytes on the wire, without FCS */
};

struct mirror_config {
    struct mirror_control *control; /* zeroed */
    uint8_t *data;
    uint64_t size; /* of data */
    const struct filter_step *filter; /* copied; NULL: every frame */
    uint32_t steps; /* of the filter */
    uint32_t snaplen; /* bytes of a frame that are kept */
    uint32_t tag_type; /* as in struct capture_config; 0 on the send side */
    uint32_t max_frame; /* of the longest frame, without a stripped tag */
    uint32_t once; /* it ends when a frame finds no room: the pair copies nothing from then on */
};

/* NULL with a negative errno in *error: -EINVAL for a filter that filter_check refuses too. */
struct mirror *mirror_new(const struct mirror_config *config, int *error);
void mirror_free(struct mirror *mirror);
/* What the pair receives and sends is copied from now on, whichever thread moves it; NULL: that side is not. Neither
 * may be attached to another pair meanwhile. Any thread may call it, one at a time. */
void mirror_attach(struct queue_pair *pair, struct mirror *rx, struct mirror *tx);
/* Nobody copies any more after the return. It waits for a burst that is under way. */
void mirror_detach(struct queue_pair *pair);

#endif
