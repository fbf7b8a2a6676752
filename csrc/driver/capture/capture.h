/* SPDX-License-Identifier: BSD-3-Clause */
/* From receive queues to the blocks of a pcapng file. */
#ifndef IAVFIO_DRIVER_CAPTURE_H
#define IAVFIO_DRIVER_CAPTURE_H

#include <stdint.h>

#define CAPTURE_PAIRS 16

struct queue_pair;
struct filter_step;
struct capture;

struct capture_config {
    uint32_t pairs;
    struct queue_pair *pair[CAPTURE_PAIRS];
    const struct filter_step *filter; /* checked; NULL: every frame. It is not copied. */
    uint32_t snaplen; /* bytes of a frame that are kept */
    /* EtherType of the VLAN tag that the device strips, which is put back; 0: the queues have no vlan column. */
    uint32_t tag_type;
    uint32_t
        max_frame; /* bytes of the longest frame that the queues receive, without a stripped tag */
    uint64_t limit; /* frames to take, 0: no limit */
};

/* Written by the thread inside capture_fill, read by anybody. */
struct capture_counts {
    uint64_t received; /* frames taken out of the receive queues */
    uint64_t bytes; /* their length on the wire, without FCS */
    uint64_t taken; /* frames that the filter lets through: written into a buffer */
    uint64_t cut; /* of these: longer than snaplen */
    uint64_t tagged; /* of these: with a tag that was put back */
};

/* NULL with a negative errno in *error. */
struct capture *capture_new(const struct capture_config *config, int *error);
/* A reset of the VF made a new pair: the thread that calls capture_fill says so between two calls. */
void capture_rebind(struct capture *capture, uint32_t number, struct queue_pair *pair);
const struct capture_counts *capture_counts(const struct capture *capture);
/* The least size of a buffer that capture_fill can work with. */
uint64_t capture_least(const struct capture *capture);
/* Receives frames and writes those that the filter lets through as Enhanced Packet Blocks of interface 0, until
 * the buffer has no room for another one, `deadline_ns` (CLOCK_MONOTONIC) has come, or the limit is reached;
 * with `prompt` also when no frame waits and some are written. Returns how many bytes it wrote, or what
 * pair_recv says when a queue cannot be received from and nothing was written. */
int64_t capture_fill(struct capture *capture, uint8_t *buffer, uint64_t size, uint64_t deadline_ns,
                     int prompt);
void capture_free(struct capture *capture);

#endif
