/* SPDX-License-Identifier: BSD-3-Clause */
/* What is at the other end of the wire. */
#ifndef IAVFIO_SOFTVF_UPLINK_H
#define IAVFIO_SOFTVF_UPLINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uplink;

struct uplink_ops {
    /* Next frame from the wire, valid until the following call; NULL when there is none now. */
    const uint8_t *(*next)(struct uplink *uplink, uint32_t *len);
    /* 0, or a negative errno: the frame is lost and counted by the caller. */
    int (*send)(struct uplink *uplink, const uint8_t *frame, uint32_t len);
    void (*close)(struct uplink *uplink);
};

#define UPLINK_FRAME_MAX 16376u /* bytes, without FCS: room for two tags is left in 16 KiB */
#define UPLINK_START_ALL 0xffffffffu
#define UPLINK_START_COMMAND 0xfffffffeu

struct uplink {
    const struct uplink_ops *ops;
    bool loopback; /* frames re-enter from the wire: the switch does it */
    bool greedy; /* generator: asked only while a VF has room, its destination MAC is overwritten */
    bool patient; /* a capture: begins when VFs are up; the following belongs to it */
    bool
        paced; /* its frames come at their times; without it, it is asked only while VFs have room */
    uint64_t due; /* when its next frame comes, in ns of CLOCK_MONOTONIC; 0: not known */
    uint64_t late_ns; /* the furthest that a frame came behind its time */
    uint64_t rounds; /* how many times it was played to its end */
    uint32_t start; /* so many VFs must be up before it begins, or one of the two above */
    bool started;
    bool ended,
        damaged; /* nothing more can be read; damaged: the file goes on, but makes no sense */
    uint64_t too_long; /* frames left out */
    uint64_t partial; /* frames of which it holds only a part */
};

/* What uplink_open calls by the kind of uplink: NULL with a reason in error[size]. */
struct uplink *uplink_open_tap(const char *name, char *error, size_t size);
struct uplink *uplink_open_pcap(const char *paths, char *error, size_t size);
struct uplink *uplink_open_gen(const char *options, char *error, size_t size);

#endif
