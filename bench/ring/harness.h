/* SPDX-License-Identifier: BSD-3-Clause */
/* The ring bench: what its parts share. A backend is a driver on rings in plain memory; the device
 * at the other end of them is played by the bench, outside the timed region. */
#ifndef BENCH_RING_HARNESS_H
#define BENCH_RING_HARNESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "hw/desc.h"

#define BURST_MAX 256
#define LOG 8192 /* a power of two, at least RING_MAX */
/* A polling application asks for as much as it can take. Below 8 packets DPDK's vector functions give
 * nothing, so smaller bursts are what the device had, not what was asked for. */
#define ASK_LEAST 32
#define ASK_FLOOR 8
#define IOVA_OF(address) ((uint64_t)(uintptr_t)(address)) /* the bench's IOVAs are addresses */

enum work {
    WORK_RECEIVE,
    WORK_RECEIVE_FREE,
    WORK_SEND,
    WORK_ALLOC_SEND,
    WORK_FORWARD,
    WORK_WORKER, /* forward as a worker thread does it, guards held over many bursts */
    WORK_EMPTY,
    WORK_NOTHING, /* the timed region's own cost */
    WORKS
};
enum location { LOCATION_HOT, LOCATION_L3, LOCATION_CORE }; /* of descriptors, before a pass */
enum metadata { META_SET_NONE, META_SET_BASIC, META_SET_ALL };

struct setup {
    uint32_t entries;
    uint32_t burst;
    uint32_t flex; /* 0 legacy, else the RXDID */
    enum metadata metadata;
};

struct written_packet { /* what the device wrote for a packet, or saw sent */
    uint64_t address;
    uint32_t length;
    uint32_t rss;
    uint16_t vlan; /* 0 none */
    bool bad; /* L4 checksum error */
};

struct device {
    struct rx_desc *rx;
    struct tx_desc *tx;
    const volatile uint32_t *rx_tail, *tx_tail;
    uint32_t entries, flex;
    uint32_t rx_head, tx_head;
    bool vary; /* lengths and metadata differ from packet to packet, tags and errors occur */
    uint32_t received, transmitted; /* packets since the start; the logs keep the last ones */
    struct written_packet receive_log[LOG];
    struct written_packet transmit_log[LOG];
};

/* Writes up to n packets back: returns how many the ring had room for. */
uint32_t device_receive(struct device *device, uint32_t n);
/* Takes all posted packets, reports where it was asked to. */
void device_send(struct device *device);
/* Whether no buffer is posted twice. */
bool device_distinct(const struct device *device);

struct seen { /* what the driver says about a received packet; values not asked for are 0 */
    uint64_t address;
    uint32_t length;
    uint32_t rss;
    uint32_t udp; /* the packet type said UDP over IPv4 */
    uint16_t vlan;
    bool good, bad; /* L4 checksum */
};

struct instance { /* a backend's own structure begins with it */
    const struct backend *backend;
    struct device device;
    uint32_t burst, ask;
    uint32_t got, sent; /* of the last act */
    uint32_t taken; /* received packets that the driver has delivered */
    enum metadata metadata;
};

typedef void (*act_fn)(struct instance *instance);

struct backend {
    const char *name, *isa;
    uint32_t variant; /* the backend's own */
    bool apart; /* is measured only when it is named */
    bool (*usable)(const struct backend *backend);
    struct instance *(*open)(const struct backend *backend, const struct setup *setup);
    void (*close)(struct instance *instance);
    void (*take)(struct instance *instance); /* `burst` buffers of 60 bytes, to be sent */
    void (*give)(struct instance *instance, uint32_t from, uint32_t to); /* back to the pool */
    void (*look)(const struct instance *instance, uint32_t i, struct seen *seen);
    void (*after)(struct instance *instance); /* each pass; NULL: nothing */
    act_fn act[WORKS]; /* NULL: has no such work */
};

extern const struct backend iavfio_backends[];
extern const uint32_t iavfio_count;
extern const struct backend dpdk_backends[];
extern const uint32_t dpdk_count;
/* 0, or why not. */
const char *dpdk_start(int cpu);
const char *dpdk_version(void);

/* Zeroed memory on transparent huge pages where the kernel gives them; never freed by halves. */
void *big_alloc(size_t bytes);
void *line_alloc(size_t bytes); /* zeroed, on its own cache lines; free() */
void big_free(void *memory, size_t bytes);
void die(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

extern const char *const work_names[];
extern const char *const metadata_names[];
bool work_receives(enum work work);
bool work_sends(enum work work);
/* Once, before the others. */
void pass_start(void);
/* What comes before the timed part: buffers to send, the device's write-backs, eviction. */
void pass_before(struct instance *instance, enum work work, enum location location);
/* Packets that the pass moved (1 for a work without packets); what is left over goes back. */
uint32_t pass_after(struct instance *instance, enum work work);
/* Takes what other works left in the ring. */
void pass_drain(struct instance *instance);
/* Over both rings twice, every packet of another length, hash, tag and checksum status; ends the program at the first wrong value. */
void verify(struct instance *instance);

/* Instructions that act executes, by single-stepping it. */
uint64_t step_count(act_fn act, struct instance *instance);
/* Where they lie: [address, times] of all counts since step_forget. */
void step_forget(void);
void step_print(FILE *out);

/* A second thread on another CPU that plays the device, so that it dirties the descriptors there. */
void helper_start(int cpu);
void helper_run(void (*task)(void *), void *argument);
void helper_stop(void);

#endif
