/* SPDX-License-Identifier: BSD-3-Clause */
/* From the rings of mirrors (mirror.h) to the blocks of a pcapng file, in another process than the port's. What
 * stands in a ring is another process's: each number is copied once and checked. */
#ifndef IAVFIO_DRIVER_MIRROR_READER_H
#define IAVFIO_DRIVER_MIRROR_READER_H

#include <stdint.h>

#define MIRROR_RINGS 64

struct mirror_control;
struct mirror_reader;

struct mirror_ring {
    struct mirror_control *control; /* of a ring that nobody has read */
    const uint8_t *data;
    uint64_t size;
    uint32_t queue; /* its number */
    uint32_t sent; /* 1: of the send side */
};

/* `snaplen`: the writer's. NULL with a negative errno in *error. */
struct mirror_reader *mirror_reader_new(const struct mirror_ring *rings, uint32_t count,
                                        uint32_t snaplen, int *error);
/* The least size of a buffer that mirror_reader_fill can work with. */
uint64_t mirror_reader_least(const struct mirror_reader *reader);
/* Writes frames as Enhanced Packet Blocks of interface 0, with their direction and queue: of the rings that have one,
 * that with the earliest time comes first. It ends when the buffer has no room for another one, `deadline_ns`
 * (CLOCK_MONOTONIC) has come, or `limit` frames have come in all (0: no limit); with `prompt` also when no frame
 * waits and some are written. Returns how many bytes it wrote; -EBADMSG when a ring holds nonsense and nothing was
 * written. */
int64_t mirror_reader_fill(struct mirror_reader *reader, uint8_t *buffer, uint64_t size,
                           uint64_t limit, uint64_t deadline_ns, int prompt);
/* Frames that were read of ring i; any thread may ask. */
uint64_t mirror_reader_frames(const struct mirror_reader *reader, uint32_t i);
void mirror_reader_free(struct mirror_reader *reader);

#endif
