/* SPDX-License-Identifier: BSD-3-Clause */
/* A queue pair from the inside. Three guards (design decision 11): the receive side, the send side and
 * the cache, each held by one thread at a time. Nobody waits for a guard of a side: a second caller is
 * told -EBUSY. Whoever finds the cache held works on the pool's shared store instead. */
#ifndef IAVFIO_DRIVER_PAIR_H
#define IAVFIO_DRIVER_PAIR_H

#include <errno.h>

#include "driver/pool/cache.h"
#include "driver/cdef.h"
#include "driver/clock.h"
#include "driver/counters.h"
#include "driver/ring/rx_counters.h"
#include "hw/desc.h"
#include "hw/regs.h"
#include "vfio/regio.h"

#define REFILL_BATCH 32
#define RS_SPACING 32 /* packets between two report-status requests in one call */
/* Reap when this many descriptors wait: late enough that the device has left their cache lines, early
 * enough that buffers come back warm. */
#define CLEAN_BACKLOG 128
#define TX_RESERVE 9 /* 8 data descriptors and a context: fewer free stops the queue */
#define CHAIN_MAX 5 /* RX_MAX_CHAIN; a row of struct columns' chain holds the other four */
#define CHAIN_ROW 4
#define PTYPES_CLASSED 256 /* only the values below PTYPE_COMMON have a class (descriptors 13) */

enum pair_state {
    PAIR_CLOSED = -EBADF,
    PAIR_DOWN = 0,
    PAIR_ARMED = 1,
    PAIR_RUNNING = 2
}; /* or a negative errno: why stopped */
enum guard_holder { GUARD_FREE = 0, GUARD_CALLER = 1, GUARD_WATCH = 2 };
enum rx_format { FORMAT_LEGACY = 0, FORMAT_FLEX = 1, FORMAT_FLEX_OVS = 2 };
enum rx_metadata { METADATA_NONE = 0, METADATA_BASIC = 1, METADATA_ALL = 2 };

/* What a tight loop took; returned in two registers. */
struct run {
    uint32_t count;
    uint64_t bytes;
};

static inline struct run run_sum(struct run a, struct run b)
{
    return (struct run){a.count + b.count, a.bytes + b.bytes};
}

/* A report-status request that waits for its write-back, in one word: 16 bits for its descriptor, 16
 * for how many packets it reports, 32 for their bytes. */
typedef uint64_t rs_point;

static inline rs_point rs_make(uint32_t end, struct run run)
{
    return end | (uint64_t)run.count << 16 | run.bytes << 32;
}

static inline uint32_t rs_end(rs_point point)
{
    return point & 0xffff;
}

static inline uint32_t rs_packets(rs_point point)
{
    return (uint32_t)point >> 16;
}

static inline uint32_t rs_bytes(rs_point point)
{
    return (uint32_t)(point >> 32);
}

/* A tight loop: good packets from slot rx_next on into rows from `row` on, n at most and none beyond the
 * ring's end. Moves nothing of the pair. Rows beyond those it returns, up to n, may hold rubbish
 * afterwards. */
typedef struct run (*run_fn)(struct pair *pair, const struct columns *c, uint32_t row, uint32_t n);

/* Receives up to max packets; owner: the caller holds the cache; held: mark buffers as the
 * application's. */
typedef uint32_t (*receive_fn)(struct pair *pair, const struct columns *columns, uint32_t max,
                               bool owner);

/* Writes n descriptors at rx_fill; the run does not pass the ring's end. */
typedef void (*rx_post_fn)(struct pair *pair, const uint32_t *index, uint32_t n);

/* Ways to receive, by what the queue wants. */
struct receive_paths {
    receive_fn receive[2]; /* [1] marks buffers as held by the application */
    run_fn run[2];
};

/* Writes the descriptors of good one-buffer packets at tx_next: n at most, none beyond the ring's end. */
typedef struct run (*tx_post_fn)(struct pair *pair, const uint64_t *handles, uint32_t n);

/* Ways to send: [1] demands that the application holds a buffer, and takes that mark off. */
struct send_paths {
    tx_post_fn post[2];
    /* Up to RS_SPACING packets for which there is room before the ring's end. When all n are good it
     * moves the tail and counts; else it leaves both to send_rest. */
    tx_post_fn burst[2];
};

/* What vector loops compare and mask 32-bit words with, by this queue's format and profile. In memory:
 * as an operand a number costs nothing there, while the compiler would load an immediate anew in each
 * round of a loop that has many. */
struct numbers {
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

struct pair {
    struct pool *pool;
    uint64_t pool_iova;
    uint64_t stride;
    uint8_t *held; /* the pool's marks and count */
    uint64_t buffers;
    uint32_t headroom;

    /* Receive side. Slots next..next+left-1 (modulo entries) belong to the device; the one after them is
     * filled, but the tail stands on it (descriptors 5). fill is the next slot to be filled. */
    LINE struct rx_desc *rx_ring;
    uint32_t *rx_sw; /* buffer of each slot */
    uint32_t rx_entries, rx_next, rx_left, rx_fill;
    uint32_t buffer_size, max_frame;
    uint32_t rx_limit; /* the lesser of the two */
    uint32_t flex;
    uint32_t chained; /* segments of an unfinished packet, kept over calls */
    uint32_t chained_bytes;
    bool rx_filled; /* the ring holds buffers */
    bool skipping; /* the rest of a dropped chain is being passed over */
    bool scattered;
    bool vlan_in_l2tag2;
    bool byte_tables; /* the CPU looks bytes up in registers */
    enum rx_format format;
    struct receive_paths receive;
    rx_post_fn rx_post;
    volatile uint32_t *rx_tail;
    struct rq_counters *rq;
    uint64_t chain[CHAIN_MAX];

    /* Send side. */
    LINE struct tx_desc *tx_ring;
    uint32_t *tx_sw;
    uint32_t tx_entries, tx_next, tx_clean, tx_free;
    uint32_t tx_max_frame;
    uint32_t tx_roomy; /* with so many free there is room for a burst, and nothing to reap */
    uint32_t stopped; /* declared full to the caller (libie-stats 4) */
    uint32_t rs_head, rs_tail; /* never full: each has a descriptor of its own */
    uint32_t in_flight; /* packets posted and not completed */
    rs_point *rs; /* tx_entries of them */
    struct send_paths send;
    volatile uint32_t *tx_tail;
    struct sq_counters *sq;

    LINE struct cache cache;

    LINE uint32_t rx_guard;
    uint32_t tx_guard;
    uint32_t cache_guard;
    int32_t state;
    uint32_t sleeping; /* a thread sleeps on event_fd */
    LINE struct ledger ledger;

    /* Set-up and slow paths. */
    LINE struct numbers numbers;
    struct vfio_regio *regio;
    uint32_t queue;
    uint32_t dyn_ctl, poll_ctl, sleep_ctl;
    bool rearm;
    int event_fd;
    int wake_fd;
    uint64_t rearm_ticks; /* least time between two re-arms */
    uint64_t rearmed;
    uint32_t hangs_seen; /* while the send side was held: merged by its holder */
    uint32_t given_up; /* by pair_refuse meanwhile: merged likewise */
    uint64_t hang_packets; /* the watch thread's memory (libie-stats 6) */
    const char *isa_name;
    uint8_t class_of[PTYPES_CLASSED]; /* what checksums a packet type has */
    /* The csum column of a packet type when nothing is wrong; vector code reads four bytes at each. */
    uint8_t good_of[PTYPES_CLASSED + 3];
};

/* ---- guards ---- */

/* 0, -EBUSY, or why the pair is stopped: after a look at the state or a try that failed. */
int pair_enter_slow(struct pair *pair, uint32_t *guard);

static inline int pair_enter(struct pair *pair, uint32_t *guard)
{
    uint32_t holder = GUARD_FREE;

    if (unlikely(__atomic_load_n(&pair->state, __ATOMIC_ACQUIRE) != PAIR_RUNNING ||
                 !__atomic_compare_exchange_n(guard, &holder, GUARD_CALLER, false, __ATOMIC_SEQ_CST,
                                              __ATOMIC_RELAXED)))
        return pair_enter_slow(pair, guard);
    /* pair_stop writes the state, then looks at the guard: one of the two sees the other. */
    if (unlikely(__atomic_load_n(&pair->state, __ATOMIC_SEQ_CST) != PAIR_RUNNING)) {
        __atomic_store_n(guard, GUARD_FREE, __ATOMIC_RELEASE);
        return pair_enter_slow(pair, guard);
    }
    return 0;
}

static inline void pair_leave(uint32_t *guard)
{
    __atomic_store_n(guard, GUARD_FREE, __ATOMIC_RELEASE);
}

static inline bool pair_own_cache(struct pair *pair)
{
    return !__atomic_load_n(&pair->cache_guard, __ATOMIC_RELAXED) &&
           !__atomic_exchange_n(&pair->cache_guard, 1, __ATOMIC_ACQUIRE);
}

static inline void pair_disown_cache(struct pair *pair, bool owner)
{
    if (owner)
        __atomic_store_n(&pair->cache_guard, 0, __ATOMIC_RELEASE);
}

static inline int32_t pair_state(const struct pair *pair)
{
    return __atomic_load_n(&pair->state, __ATOMIC_ACQUIRE);
}

/* Marks the pair stopped and wakes its sleeper; waits for nobody (the watch thread calls it). */
void pair_halt(struct pair *pair, int why);

/* ---- what callers with the guards use: no checks of the pair's state, no marks ---- */

/* Receive slots that hold no buffer and are not the device's. */
static inline uint32_t receive_missing(const struct pair *pair)
{
    return pair->rx_entries - 1 - pair->rx_left;
}

/* Picks the functions for this CPU, format and metadata: 0 or -ENOTSUP. */
int receive_choose(struct pair *pair, const struct pair_config *config);
bool receive_ready(const struct pair *pair);
/* Fills up to all missing slots; true when the tail moved. */
bool receive_refill(struct pair *pair, bool owner, struct rx_tally *tally);
/* Fills every slot of an empty ring: 0 or -ENOMEM. */
int receive_fill(struct pair *pair);
void receive_drain(struct pair *pair);

/* As send_any for whatever packets, after `first` ones that burst has written. */
uint32_t send_rest(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                   const uint8_t *segments, uint32_t n, struct run first, uint32_t *refused,
                   bool owner, bool checked);
uint32_t send_clean(struct pair *pair, bool owner);
void send_drain(struct pair *pair);
static inline uint32_t send_pending(const struct pair *pair)
{
    return __atomic_load_n(&pair->in_flight, __ATOMIC_RELAXED);
}

/* A burst for which there is room before the ring's end, and nothing to reap. */
static inline bool send_usual(const struct pair *pair, const uint8_t *segments, uint32_t n)
{
    return !segments && n - 1 < RS_SPACING && n <= pair->tx_entries - pair->tx_next &&
           pair->tx_free >= pair->tx_roomy;
}

/* Posts packets in order until one does not fit; how many were consumed. checked: buffers must be held by
 * the application and lose that mark. */
uint32_t send_any(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                  const uint8_t *segments, uint32_t n, uint32_t *refused, bool owner, bool checked);

/* As that by one who holds the guards. */
static inline uint32_t send_post(struct pair *pair, const uint64_t *handles, const uint64_t *chain,
                                 const uint8_t *segments, uint32_t n, uint32_t *refused, bool owner)
{
    *refused = 0;
    if (likely(send_usual(pair, segments, n))) {
        struct run run = pair->send.burst[0](pair, handles, n);

        if (likely(run.count == n))
            return n;
        return send_rest(pair, handles, chain, segments, n, run, refused, owner, false);
    }
    return send_any(pair, handles, chain, segments, n, refused, owner, false);
}

/* Gives buffers to the cache, or to the shared store for one who does not own it. */
static inline void pair_put(struct pair *pair, const uint32_t *index, uint32_t n, bool owner,
                            struct pool_tally *tally)
{
    if (likely(owner))
        cache_give(&pair->cache, pair->pool, index, n, tally);
    else
        shared_give(pair->pool, index, n, tally);
}

/* Takes up to n (at most POOL_BULK) indexes; `spare` is used by one who does not own the cache. */
static inline const uint32_t *pair_get(struct pair *pair, uint32_t *n, bool owner, uint32_t *spare,
                                       struct pool_tally *tally)
{
    if (likely(owner))
        return cache_take(&pair->cache, pair->pool, n, tally);
    *n = shared_take(pair->pool, spare, *n, tally);
    return spare;
}

/* ---- sleeping ---- */

/* Interrupt on, marked as sleeping; then look at the ring once more before waiting (design decision 3). */
int pair_sleep(struct pair *pair);
/* Back to polling. */
int pair_wake(struct pair *pair);
/* After an empty poll of a pair without WB_ON_ITR: re-arms the interrupt when it fired (registers 5). */
void pair_rearm(struct pair *pair);
/* Takes the event back; true when there was one. */
bool pair_drain_event(struct pair *pair);

/* ---- barriers ---- */

/* Everything written to the ring must be visible before the device sees the new tail. Rings are
 * ordinary memory and the doorbell is memory or uncached MMIO, so x86 needs no instruction: its stores
 * are not reordered with later stores, and a release store keeps the compiler from it. Arm needs a
 * barrier that covers the device. */
static inline void doorbell_store(volatile uint32_t *tail, uint32_t value)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb oshst" ::: "memory");
#endif
    __atomic_store_n(tail, value, __ATOMIC_RELEASE);
}

static inline void doorbell(struct pair *pair, volatile uint32_t *tail, uint32_t offset,
                            uint32_t value)
{
    if (likely(tail != NULL)) {
        doorbell_store(tail, value);
    } else {
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        pair->regio->write32(pair->regio, offset + 4 * pair->queue, value);
    }
}

static inline void receive_doorbell(struct pair *pair)
{
    uint32_t tail = pair->rx_fill ? pair->rx_fill - 1 : pair->rx_entries - 1;

    doorbell(pair, pair->rx_tail, REG_QRX_TAIL1, tail);
}

/* ---- counters of the usual calls; the holder of the cache ---- */

/* A poll that found packets, and buffers taken from the cache. True when the ledger is to be merged. */
static inline bool ledger_poll(struct pair *pair, struct run run, uint32_t taken)
{
    struct rq_counters *rq = pair->rq;
    uint64_t next = block_open(&rq->seq);

    block_add(&rq->polls, 1);
    block_add(&rq->packets, run.count);
    block_add(&rq->bytes, run.bytes);
    if (taken)
        block_add(&rq->pp_alloc_fast, taken);
    block_close(&rq->seq, next);
    return ledger_dirty(&pair->ledger);
}

static inline void ledger_idle(struct pair *pair)
{
    struct rq_counters *rq = pair->rq;
    uint64_t next = block_open(&rq->seq);

    block_add(&rq->polls, 1);
    block_add(&rq->empty_polls, 1);
    if (unlikely(ledger_dirty(&pair->ledger)))
        ledger_merge_open(pair);
    block_close(&rq->seq, next);
}

#endif
