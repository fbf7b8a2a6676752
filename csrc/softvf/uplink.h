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

struct uplink {
    const struct uplink_ops *ops;
    bool loopback; /* frames re-enter from the wire: the switch does it */
    bool patient; /* asked only while a VF has room: what it holds does not pass by */
    bool greedy; /* generator: asked only while a VF has room, its destination MAC is overwritten */
};

/* What uplink_open calls by the kind of uplink: NULL with a reason in error[size]. */
struct uplink *uplink_open_tap(const char *name, char *error, size_t size);
struct uplink *uplink_open_pcap(const char *paths, char *error, size_t size);
struct uplink *uplink_open_gen(const char *options, char *error, size_t size);

#endif
