/* SPDX-License-Identifier: BSD-3-Clause */
/* The shared stats segment: a file that its port's process writes and anybody allowed maps read-only.
 * Layout: this header, the PF block, the rq blocks, the sq blocks, then a JSON text that names every
 * counter with unit and offset, so that a reader in another language needs nothing of ours. */
#ifndef IAVFIO_DRIVER_SEGMENT_H
#define IAVFIO_DRIVER_SEGMENT_H

#include <stdint.h>

#define SEGMENT_VERSION 1

enum segment_state {
    SEGMENT_OPENING = 0,
    SEGMENT_STOPPED = 1,
    SEGMENT_RUNNING = 2,
    SEGMENT_RESETTING = 3,
    SEGMENT_FAILED = 4
};

struct segment_header {
    uint8_t magic[8]; /* "IAVFSTAT" */
    uint32_t version;
    uint32_t state;
    uint64_t size; /* of the whole segment, bytes */
    uint64_t owner_pid;
    /* start time of that process in clock ticks since boot: pids are reused */
    uint64_t owner_start;
    uint32_t capacity; /* queue pairs that have blocks */
    uint32_t pairs; /* queue pairs that were ever configured: what a dump shows */
    uint64_t pf_offset;
    uint64_t rq_offset;
    uint64_t rq_stride;
    uint64_t sq_offset;
    uint64_t sq_stride;
    uint64_t text_offset;
    uint64_t text_size;
    /* inode number of the owner's PID namespace: a pid has a meaning there only */
    uint64_t owner_pidns;
    uint64_t reserved[2];
};

struct
    pf_counters { /* the PF's last GET_STATS answer, in its order (docs/spec/libie-counters.md 5) */
    uint64_t seq;
    uint64_t values[12];
    uint64_t sampled_ns; /* CLOCK_MONOTONIC, 0 = never */
    uint64_t link_up;
    uint64_t link_mbps;
    uint8_t mac[8];
    uint64_t resets; /* of the VF, while the port was open */
    uint64_t link_changes; /* up and down, each counts */
    uint64_t reserved[5];
};

/* Copies a block of `words` u64, whose first word is its sequence count, so that the copy is consistent:
 * 0, or -EAGAIN when the writer did not leave the block stable within `tries`. Takes no lock. */
int counters_read(const uint64_t *block, uint64_t *out, uint32_t words, uint32_t tries);

/* Copies `count` blocks, `stride` bytes apart, in order; out has `words` for each. Returns how many were
 * copied: less than `count` when the next block was not stable within `tries`. Each copy is consistent in
 * itself; the blocks are not of one moment. */
uint32_t counters_read_blocks(const uint64_t *first, uint64_t stride, uint64_t *out, uint32_t words,
                              uint32_t count, uint32_t tries);

/* Updates words 1..words-1 of a block at once, as readers see it; values[0] is ignored. Only one thread may
 * write a block at a time. */
void counters_write(uint64_t *block, const uint64_t *values, uint32_t words);

#endif
