/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue pair: one receive ring and one send ring with what belongs to them. This header has its data;
 * guard.h says who may touch which part of them. */
#ifndef IAVFIO_DRIVER_QUEUE_PAIR_H
#define IAVFIO_DRIVER_QUEUE_PAIR_H

#include <errno.h>
#include <stdbool.h>

#include "driver/attributes.h"
#include "driver/cdef.h"
#include "driver/counters.h"
#include "driver/pool/cache.h"
#include "hw/desc.h"
#include "hw/regs.h"
#include "vfio/regio.h"

#define REFILL_BATCH 32
#define RS_SPACING 32 /* packets between two report-status requests in one call */
/* The send ring is reaped when this many descriptors wait: late enough that the device has left their
 * cache lines, early enough that buffers come back warm. */
#define CLEAN_BACKLOG 128
#define TX_RESERVE 9 /* 8 data descriptors and a context: with fewer free ones the queue stops */
#define CHAIN_MAX 5 /* RX_MAX_CHAIN; a row of struct columns' chain holds the other four */
#define CHAIN_ROW 4
/* only values below PTYPE_COMMON have a class (docs/spec/descriptors.md 13) */
#define PTYPES_CLASSED 256

enum pair_state {
    PAIR_CLOSED = -EBADF,
    PAIR_DOWN = 0,
    PAIR_ARMED = 1,
    PAIR_RUNNING = 2
}; /* or a negative errno: why the pair is stopped */
enum rx_format { FORMAT_LEGACY = 0, FORMAT_FLEX = 1, FORMAT_FLEX_OVS = 2 };
enum rx_metadata { METADATA_NONE = 0, METADATA_BASIC = 1, METADATA_ALL = 2 };

/* Packets that a loop took, and their bytes; small enough to be returned in two registers. */
struct run {
    uint32_t count;
    uint64_t bytes;
};

static inline struct run run_sum(struct run a, struct run b)
{
    return (struct run){a.count + b.count, a.bytes + b.bytes};
}

/* A report-status request that waits for its write-back, in one word: 16 bits for its descriptor, 16 for
 * the number of packets that it reports, 32 for their bytes. */
typedef uint64_t rs_point;

/* A tight loop over good packets of one buffer each: from slot rx_next on into the rows from `row` on, at
 * most n, none beyond the ring's end. It changes nothing in the queue pair but marks. The rows behind
 * those that it returns, up to n, have undefined content afterwards. */
typedef struct run (*rx_run_fn)(struct queue_pair *pair, const struct columns *c, uint32_t row,
                                uint32_t n);

/* Receives up to max packets and returns how many. `owner`: the caller owns the cache. */
typedef uint32_t (*rx_burst_fn)(struct queue_pair *pair, const struct columns *columns,
                                uint32_t max, bool owner);

/* Writes n descriptors at rx_fill, none beyond the ring's end. */
typedef void (*rx_post_fn)(struct queue_pair *pair, const uint32_t *index, uint32_t n);

/* The receive functions for one descriptor format and one set of metadata. Those at [1] mark the buffers
 * as held by the application. */
struct rx_paths {
    rx_burst_fn burst[2];
    rx_run_fn run[2];
};

/* Writes descriptors of good packets of one buffer each at tx_next: at most n, none beyond the ring's end.
 * Returns what it wrote. */
typedef struct run (*tx_post_fn)(struct queue_pair *pair, const uint64_t *handles, uint32_t n);

/* The send functions. Those at [1] demand that the application holds each buffer, and take its mark off. */
struct tx_paths {
    tx_post_fn post[2];
    /* Up to RS_SPACING packets that fit in front of the ring's end. When all n are good, the function also
     * moves the tail and counts; otherwise it leaves both to tx_rest. */
    tx_post_fn burst[2];
};

struct mirror;

/* Called with a packet of several buffers that was posted. */
typedef void (*tx_seen_fn)(struct queue_pair *pair, const uint64_t *part, uint32_t parts);

/* What a mirror puts in place of a pair's burst functions (capture/mirror.h); the paths without it are
 * paths_of[format] and tx_plain. Another thread than the side's holder writes `rx`, `tx` and the functions. */
struct mirror_hook {
    struct mirror *rx, *tx; /* NULL: nothing is copied */
    uint32_t rx_inside, tx_inside; /* the side's holder may be copying */
    rx_burst_fn rx_burst[2];
    struct tx_paths tx_paths;
    tx_seen_fn tx_seen;
};

/* What vector loops compare and mask 32-bit words with, for the format and profile of this queue. They lie
 * in memory because a memory operand costs such a loop nothing, while the compiler would load an immediate
 * value anew in each round of a loop that has many of them. */
struct rx_constants {
    uint32_t one;
    uint32_t most, headroom; /* longest packet, less one */
    uint32_t status, status_good; /* DD and EOP without RXE */
    uint32_t id, flex; /* the profile */
    uint32_t length; /* with a bit beyond every limit where the header was split */
    uint32_t ptype, last_ptype, mirrored;
    uint32_t fltstat, fltstat_hash, fltstat_id, flexible, flexible_id; /* legacy */
    uint32_t hashed; /* flex */
    uint32_t checked, errors, last_classed, upper_half, byte, nat, nat_good;
    uint32_t half, tag1, tag2; /* a tag and its marks */
    uint32_t mark, no_mark, time;
    uint32_t flag_rss, flag_vlan, flag_mark, flag_time;
};

/* Counts of threads that do not own the cache and so must not write the receive block: they are added here
 * with atomics, and the cache's next owner moves them on (rx_counters.h). */
struct rx_deferred {
    uint64_t word[sizeof(struct rq_counters) / sizeof(uint64_t)]; /* as struct rq_counters */
    uint32_t dirty;
};

struct queue_pair {
    struct pool *pool;
    uint64_t pool_iova;
    uint64_t stride;
    uint8_t *held; /* the pool's marks and count */
    uint64_t buffers;
    uint32_t headroom;

    /* Receive side. Slots rx_next to rx_next + rx_left - 1, modulo rx_entries, belong to the device. The
     * slot after them is filled, but the tail stands on it (docs/spec/descriptors.md 5). rx_fill is the
     * next slot to be filled. */
    LINE struct rx_desc *rx_ring;
    uint32_t *rx_sw; /* buffer of each slot */
    uint32_t rx_entries, rx_next, rx_left, rx_fill;
    uint32_t buffer_size, max_frame;
    uint32_t rx_limit; /* the lesser of the two */
    uint32_t flex;
    uint32_t chained; /* segments of an unfinished packet, which stay here from call to call */
    uint32_t chained_bytes;
    bool rx_filled; /* the ring holds buffers */
    bool skipping; /* the rest of a dropped chain is being passed over */
    bool scattered;
    bool vlan_in_l2tag2;
    bool byte_tables; /* the CPU looks bytes up in registers */
    enum rx_format format;
    struct rx_paths rx_paths;
    rx_post_fn rx_post;
    volatile uint32_t *rx_tail;
    struct rq_counters *rq;
    uint64_t chain[CHAIN_MAX];

    /* Send side. */
    LINE struct tx_desc *tx_ring;
    uint32_t *tx_sw;
    uint32_t tx_entries, tx_next, tx_clean, tx_free;
    uint32_t tx_max_frame;
    uint32_t tx_roomy; /* with so many free descriptors a burst fits and nothing has to be reaped */
    /* the caller saw the ring full (docs/spec/libie-counters.md 4) */
    uint32_t stopped;
    uint32_t rs_head,
        rs_tail; /* the queue rs[] is never full: each entry has a descriptor of its own */
    uint32_t in_flight; /* packets posted and not completed */
    rs_point *rs; /* tx_entries of them */
    struct tx_paths tx_paths;
    volatile uint32_t *tx_tail;
    struct sq_counters *sq;

    LINE struct cache cache;

    LINE uint32_t rx_guard; /* guard.h */
    uint32_t tx_guard;
    uint32_t cache_guard;
    int32_t state;
    uint32_t sleeping; /* a thread waits for the pair's interrupt */
    LINE struct rx_deferred deferred;

    /* Set-up and slow paths. */
    LINE struct rx_constants constants;
    struct vfio_regio *regio;
    uint32_t queue;
    struct vector *vector; /* vector.h */
    struct queue_pair *next_of_vector;
    bool rearm;
    bool watched; /* its descriptor for select and epoll is in use (pair/watch.h) */
    bool tend_empty; /* one of the two: an empty poll is followed by pair_tend */
    bool unwanted; /* freed while it is watched: whoever ends that frees it */
    int wake_fd; /* wakes a thread that waits for the pair */
    uint64_t rearm_ticks; /* least time between two re-arms */
    uint64_t rearmed;
    /* hangs that were found while the send side was held: its holder counts them */
    uint32_t hangs_seen;
    uint32_t given_up; /* packets of pair_refuse meanwhile, which the holder counts as well */
    uint32_t hang_looks; /* of the watchdog in a row that found no progress */
    uint64_t hang_packets; /* what tx_hang.c remembers (docs/spec/libie-counters.md 6) */
    const char *isa_name;
    const struct rx_paths *paths_of[3]; /* by format */
    struct tx_paths tx_plain;
    struct mirror_hook mirror;
    uint32_t flex_asked; /* the profile that was configured; `flex` is the one that comes */
    uint64_t packets_at_arm;
    uint32_t
        stray_rxdid; /* 1 + the profile of a write-back other than the one asked for; 0 = none */
    uint8_t class_of[PTYPES_CLASSED]; /* which checksums a packet type has */
    /* The csum column of a packet type when nothing is wrong; vector code reads four bytes at each. */
    uint8_t good_of[PTYPES_CLASSED + 3];
};

/* The slot on which the receive tail stands: the last one that was filled. */
static inline uint32_t rx_tail_slot(const struct queue_pair *pair)
{
    return pair->rx_fill ? pair->rx_fill - 1 : pair->rx_entries - 1;
}

static inline int32_t pair_state(const struct queue_pair *pair)
{
    return __atomic_load_n(&pair->state, __ATOMIC_ACQUIRE);
}

/* Reads a function that a mirror may change at any time. A plain load of a word is one all the same, and the
 * compiler calls through memory by it. */
#if defined(__SANITIZE_THREAD__)
#define BURST_FUNCTION(place) __atomic_load_n(&(place), __ATOMIC_RELAXED)
#else
#define BURST_FUNCTION(place) (place)
#endif

static inline rx_burst_fn rx_burst_of(const struct queue_pair *pair, bool mark)
{
    return BURST_FUNCTION(pair->rx_paths.burst[mark]);
}

static inline tx_post_fn tx_burst_of(const struct queue_pair *pair, bool checked)
{
    return BURST_FUNCTION(pair->tx_paths.burst[checked]);
}

static inline tx_post_fn tx_post_of(const struct queue_pair *pair, bool checked)
{
    return BURST_FUNCTION(pair->tx_paths.post[checked]);
}

/* Whether the pair's descriptor for select and epoll is in use; another thread may ask for that at any time. */
static inline bool pair_watched(const struct queue_pair *pair)
{
    return __atomic_load_n(&pair->watched, __ATOMIC_RELAXED);
}

/* The errno for a pair in this state, which is not PAIR_RUNNING. */
static inline int pair_why_stopped(int32_t state)
{
    return state < 0 ? state : -ESHUTDOWN;
}

/* Chooses the receive functions for the pair's format, and what a mirror puts in their place; so does tx_use for
 * the send functions. The caller holds that side, or nobody can. */
void rx_use(struct queue_pair *pair);
void tx_use(struct queue_pair *pair);

/* Marks the pair as stopped and wakes its sleeper. Waits for nobody: the watchdog calls it. */
void pair_halt(struct queue_pair *pair, int why);

#endif
