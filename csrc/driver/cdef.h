/* SPDX-License-Identifier: BSD-3-Clause */
/* What Python sees of the driver's hot path. Functions return a count, or a negative errno:
 *   -EBUSY      another thread is inside this direction of the queue pair (docs/design.md 11)
 *   -ESHUTDOWN  the pair is stopped or in a reset
 *   -ENODEV     the device is gone
 *   -EBADF      the pair was closed
 *   -EINTR      a signal arrived while waiting */
#ifndef IAVFIO_DRIVER_CDEF_H
#define IAVFIO_DRIVER_CDEF_H

#include <stdint.h>

struct vfio_regio;
struct rq_counters;
struct sq_counters;

/* ---- handles and the buffer pool ---- */

/* A packet, or one segment of it: buffer index, data offset in the buffer, length in bytes. */
#define HANDLE_OFFSET_SHIFT 32
#define HANDLE_LENGTH_SHIFT 48
#define HANDLE_INDEX_MASK 0xffffffff
#define HANDLE_FIELD_MASK 0xffff

#define POOL_STRIDE 2176   /* not a power of two: L1 aliasing (docs/design.md 4) */
#define POOL_HEADROOM 128  /* room in front of the data, for headers to be pushed */
#define POOL_ROOM 2048     /* data room: what a receive descriptor may fill */

struct pool;
struct pool_tally;

struct pool *pool_new(void *base, uint64_t bytes, uint32_t stride, uint32_t headroom);
/* Ends one use of the pool, that of whoever made it or of a pair; the last one frees it. */
void pool_free(struct pool *pool);
uint32_t pool_buffers(const struct pool *pool);
/* Buffers that nobody holds: never handed out, in the shared ring, in the pairs' caches. */
uint32_t pool_idle(struct pool *pool);
/* For any thread, past the caches. What the call counts is added to *tally, which may be NULL. pool_take
 * returns how many buffers it got; their offset is the headroom, their length 0. pool_give returns how many
 * it took back: it ignores handles that are out of range, and buffers that the application does not hold,
 * so a buffer given back twice is taken once. */
uint32_t pool_take(struct pool *pool, uint64_t *handles, uint32_t n, struct pool_tally *tally);
uint32_t pool_give(struct pool *pool, const uint64_t *handles, uint32_t n,
                   struct pool_tally *tally);
/* Checks that each handle lies inside the pool: index of the first bad one, n when all are good. */
uint32_t pool_check(const struct pool *pool, const uint64_t *handles, uint32_t n);
/* Copies row i of `data` (lengths[i] bytes at data + i * row_stride, or at offsets[i] when offsets is
 * not NULL) into buffer i and sets its length. -EMSGSIZE - i when row i does not fit its buffer. */
int pool_fill(struct pool *pool, uint64_t *handles, const void *data, uint64_t row_stride,
              const uint64_t *offsets, const uint32_t *lengths, uint32_t n);
/* Reads (gather) or writes (scatter) one field of every packet: 1, 2, 4 or 8 bytes at `offset`, big endian
 * when asked for, to or from n values of that width. Packets that are too short give 0, or stay as they
 * are. 0, or -EINVAL for another width. */
int pool_gather(const struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                uint32_t width, int big_endian, void *out);
int pool_scatter(struct pool *pool, const uint64_t *handles, uint32_t n, uint32_t offset,
                 uint32_t width, int big_endian, const void *values);

/* ---- queue pairs ---- */

enum meta_bit { /* what a receive queue is asked to fill in */
                META_RSS = 1,
                META_PTYPE = 2,
                META_CSUM = 4,
                META_VLAN = 8,
                META_MARK = 16,
                META_TIME = 32
};
enum flag_bit {
    FLAG_RSS = 1,
    FLAG_VLAN = 2,
    FLAG_MARK = 4,
    FLAG_TIME = 8,
    FLAG_MULTICAST = 16,
    FLAG_BROADCAST = 32
};
/* csum column: two bits each for IP (1:0), L4 (3:2), outer IP (5:4), outer UDP (7:6). */
enum csum_status { CSUM_UNKNOWN = 0, CSUM_GOOD = 1, CSUM_BAD = 2 };
enum pair_isa { ISA_AUTO = 0, ISA_SCALAR = 1, ISA_AVX2 = 2, ISA_AVX512 = 3, ISA_NEON = 4 };

struct queue_pair;
struct pair_config {
    struct pool *pool;
    uint64_t pool_iova; /* of the pool's first byte in this device's address space */
    void *rx_ring; /* rx_entries * 32 bytes of DMA memory, zeroed */
    void *tx_ring; /* tx_entries * 16 bytes of DMA memory, zeroed */
    volatile uint32_t *rx_tail; /* mapped doorbells; NULL: written through regio */
    volatile uint32_t *tx_tail;
    struct vfio_regio *regio; /* other registers of BAR0 */
    struct rq_counters *rq; /* in the stats segment; kept over stop, reset and resize */
    struct sq_counters *sq;
    uint32_t queue; /* index q of the tail registers */
    uint32_t rx_entries, tx_entries;
    uint32_t buffer_size; /* databuffer_size of the queue's configuration, <= pool room */
    uint32_t max_frame; /* longest frame to send or accept, without FCS */
    uint32_t flex; /* write-back format: 0 legacy, else the RXDID */
    uint32_t vlan_in_l2tag2; /* stripped tag location: 0 L2TAG1, 1 second L2TAG2 */
    uint32_t metadata; /* enum meta_bit */
    uint32_t isa; /* enum pair_isa */
    uint32_t scattered; /* frames may span buffers: chains are delivered */
    uint32_t dyn_ctl; /* offset of the vector's VFINT_DYN_CTL register */
    uint32_t poll_ctl; /* its value while polling (WB_ON_ITR, or INTENA with an ITR) */
    uint32_t sleep_ctl; /* its value to arm the interrupt before sleeping */
    /* 1: polling needs the interrupt re-armed (no WB_ON_ITR, docs/spec/registers.md 5) */
    uint32_t rearm;
    int event_fd; /* the vector's eventfd, -1: none */
    struct queue_pair *companion; /* a living pair that uses the same vector, NULL: there is none */
};

/* Columns of a burst, each NULL or at least `max` long. A chained packet's first segment is in
 * handles[i], the other segments[i] - 1 in chain[4 * i ...]. */
struct columns {
    uint64_t *handles;
    uint64_t *chain;
    uint8_t *segments;
    uint8_t *flags;
    uint8_t *csum;
    uint16_t *ptype;
    uint16_t *vlan;
    uint32_t *rss;
    uint32_t *mark;
    uint32_t *time;
};

/* A queue pair lives as long as its port. It is started after the PF has accepted CONFIG_VSI_QUEUES, and
 * stopped before its rings go. NULL with a negative errno in *error. */
struct queue_pair *pair_new(const struct pair_config *config, int *error);
/* Ends the pair's use: every buffer that it holds goes back to the pool, and its rings, registers and
 * counters are not touched again. Other threads that still call it get -EBADF; buffers that they release
 * go to the pool. The pair's memory stays for them until pair_free. */
void pair_close(struct queue_pair *pair);
/* Closes it first. One that is watched is freed by pair_unwatch: Python collects a pair, and those who watch it, in
 * any order. */
void pair_free(struct queue_pair *pair);
const char *pair_isa_name(const struct queue_pair *pair);
/* 1 when this CPU can run the code path with that number (enum pair_isa), else 0. */
int isa_usable(uint32_t number);
/* Zeroes the rings, fills the receive ring and rings its doorbell, so that the ring is fully posted before
 * ENABLE_QUEUES (docs/spec/reliability.md F40). 0 or a negative errno. */
int pair_arm(struct queue_pair *pair);
/* After ENABLE_QUEUES has succeeded: writes poll_ctl; from now on pair_recv and pair_send work. */
int pair_start(struct queue_pair *pair);
/* Wakes a sleeper and waits until no caller or worker is inside. The buffers stay where they are, since the
 * device may write to them until it has answered DISABLE_QUEUES. why: -ESHUTDOWN or -ENODEV. */
void pair_stop(struct queue_pair *pair, int why);
/* After the answer to DISABLE_QUEUES, or a finished reset: completes what the device has completed, counts
 * the rest as drop_reset, and takes all buffers of both rings back. */
void pair_drain(struct queue_pair *pair);

/* Receives up to max packets and returns how many. */
int pair_recv(struct queue_pair *pair, const struct columns *columns, uint32_t max);
/* Receives as pair_recv, but sleeps on the interrupt until a packet arrives. Returns 0 when none came in time;
 * timeout_ns < 0: no limit. */
int pair_recv_wait(struct queue_pair *pair, const struct columns *columns, uint32_t max,
                   int64_t timeout_ns);
#define WAIT_PAIRS 32 /* that pair_wait_any takes: more than a port has */
/* Sleeps until packets wait in one of the pairs, which are not received, and returns 1; 0 when none came in time.
 * The pairs differ, and belong to the caller meanwhile. */
int pair_wait_any(struct queue_pair *const *pairs, uint32_t count, int64_t timeout_ns);
/* Makes an epoll instance readable when packets may wait, or the pair was stopped, until a pair_recv finds the
 * ring empty; until pair_unwatch, which is needed. Twice is harmless. 0, or a negative errno: -ENOTSUP without
 * interrupts. */
int pair_watch(struct queue_pair *pair, int epoll_fd);
void pair_unwatch(struct queue_pair *pair, int epoll_fd);
/* Posts packets in order until one does not fit, and returns how many of the n were consumed. *refused of
 * those were not sent because they are too short or too long, or a handle or chain is bad: they are counted
 * by reason and their buffers given back. The others belong to the device. */
int pair_send(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
              const uint8_t *segments, uint32_t n, uint32_t *refused);
/* Reaps completions; returns how many packets were completed. */
int pair_clean(struct queue_pair *pair);
/* Sends a copy of one frame, for any thread: a user of the send side that comes meanwhile waits a moment, as for
 * the watchdog. 0; -EBUSY while somebody is at work on the send side; -EAGAIN: the ring is full; -ENOBUFS: the pool
 * is empty; -EMSGSIZE; or why the pair is stopped, as pair_send has it. */
int pair_send_aside(struct queue_pair *pair, const void *frame, uint32_t length);
uint32_t pair_in_flight(struct queue_pair *pair); /* packets posted and not completed */
/* Packets that lie complete in the receive ring, or why nobody may look, as pair_recv says it. */
int pair_waiting(struct queue_pair *pair);
/* Takes up to n buffers for the application, with the headroom as offset and length 0; returns how many. */
int pair_alloc(struct queue_pair *pair, uint64_t *handles, uint32_t n);
/* Take buffers back from the application, those of chained packets too; return how many. Handles that are
 * out of range or not held are ignored. */
int pair_release(struct queue_pair *pair, const uint64_t *handles, uint32_t n);
int pair_release_chains(struct queue_pair *pair, const uint64_t *handles, const uint64_t *chain,
                        const uint8_t *segments, uint32_t n);
/* Counts n packets that pair_send did not take for want of room and that their owner gave up. Any thread may
 * call it. */
void pair_refuse(struct queue_pair *pair, uint32_t n);
/* 1 + the profile (RXDID) of a write-back that is not the one asked for, 0 when none came since pair_arm.
 * *taken says whether packets are read in that layout. */
uint32_t pair_stray_rxdid(const struct queue_pair *pair, int *taken);
/* Counts on an idle pair what its next call would count: completed sends, and what other threads deferred. The
 * watchdog does so by itself, within two of its periods. Does nothing to a side that somebody is at work on. */
void pair_settle(struct queue_pair *pair);

/* ---- the watchdog: one thread a device, in C, because a Python thread can be late behind the GIL ---- */

enum watchdog_event {
    WATCHDOG_RESET = 1, /* ARQLEN.ENABLE went 0 or RSTAT left VFACTIVE (docs/spec/registers.md 8) */
    WATCHDOG_LOST = 2, /* registers read all-ones, SIGBUS, or the socket hung up */
    WATCHDOG_REQUEST = 4, /* the host wants the device back (docs/spec/vfio.md 6, REQ) */
    WATCHDOG_MAILBOX = 8, /* vector 0 fired: messages may wait */
    WATCHDOG_HANG =
        16, /* a send queue made no progress for two checks (docs/spec/libie-counters.md 6) */
    WATCHDOG_ENDED = 32, /* watchdog_stop was called */
    WATCHDOG_TRAFFIC = 64, /* the first packet that watchdog_await_traffic waits for has moved */
    WATCHDOG_KNOCK = 128 /* somebody waits at the socket of watchdog_listen */
};
struct watchdog;
struct watchdog *watchdog_new(struct vfio_regio *regio, int gone_fd, int request_fd, int mailbox_fd,
                              uint32_t period_us, int *error);
/* Adds a queue pair: its send side is checked for hangs, and it is stopped (-ESHUTDOWN or -ENODEV) the moment
 * a reset or loss is seen, before Python hears of it. */
int watchdog_add(struct watchdog *watchdog, struct queue_pair *pair);
void watchdog_remove(struct watchdog *watchdog, struct queue_pair *pair);
/* Registers are checked only while the watchdog is armed: not before the admin queue is up, and not during
 * recovery. */
void watchdog_arm(struct watchdog *watchdog, int on);
/* Waits for events and returns their bits, which are cleared; 0 at the timeout; -EINTR. WATCHDOG_KNOCK comes as long
 * as somebody waits. */
int watchdog_wait(struct watchdog *watchdog, int timeout_ms);
/* watchdog_wait looks at a listening socket, too; -1: no more. Before the first wait, or in the thread that waits. */
void watchdog_listen(struct watchdog *watchdog, int fd);
/* CLOCK_MONOTONIC ns when the present reset was first seen, 0 = none. */
uint64_t watchdog_reset_seen(const struct watchdog *watchdog);
/* Tells WATCHDOG_TRAFFIC once the pairs have received and sent more than `packets` in all, by their counters. A
 * later call replaces an earlier one. watchdog_traffic_seen says when that was, in CLOCK_MONOTONIC ns, 0 before. */
void watchdog_await_traffic(struct watchdog *watchdog, uint64_t packets);
uint64_t watchdog_traffic_seen(const struct watchdog *watchdog);
/* Whether a running pair's send side makes no progress now: WATCHDOG_HANG may tell of a time before a reset. */
int watchdog_hung(struct watchdog *watchdog);
/* Ends the thread: no register is read after it has returned 0. Wakes watchdog_wait for the last time. The thread may
 * be waiting for a register of a server that stands still: -EAGAIN when slice_ms are over (negative: no slices), and
 * watchdog_stop is called again, so that whoever waits can look after signals in between. */
int watchdog_stop(struct watchdog *watchdog, int slice_ms);
void watchdog_free(struct watchdog *watchdog); /* stops it first */

/* ---- workers: C threads that run one or more pairs without Python ---- */

struct verify;
struct pass_ring;

/* A handler chooses an action for each packet of a burst, inside a worker and without Python's lock. It is
 * called with n = 1..256 packets: data[i] and length[i] are the bytes of packet i that it may touch (of a
 * chained packet its first segment), columns the metadata, and it writes action[i]. The names are XDP's. */
enum action {
    ACTION_DROP = 0, /* give the buffer back to the pool */
    ACTION_TX = 1, /* send on the queue pair that the packet came from */
    ACTION_PASS = 2, /* give it to Python, which takes it by pass_ring_recv */
    ACTION_REDIRECT = 3, /* ACTION_REDIRECT + k: send on redirect[k] */
};
#define ACTION_FAILED 0xfffffffe /* the handler raised an error: dropped, counted as failed */
/* This struct has pointers and nothing else, so that it is an array of pointers as well. Metadata that the
 * queue pair was not set up for are 0. */
struct handler_columns {
    const uint32_t *frame; /* bytes of the whole frame, all segments */
    const uint32_t *rss, *mark, *time;
    const uint16_t *ptype, *vlan;
    const uint8_t *flags, *csum, *segments;
    const uint8_t *lane; /* which of the worker's pairs, the same for all of a burst */
};
typedef void (*handler_fn)(uint64_t n, uint8_t *const *data, const uint32_t *length,
                           const struct handler_columns *columns, uint32_t *action, void *state);
/* Two handlers in C. This one swaps the MAC addresses and sends the packet back. */
void handler_swap_macs(uint64_t n, uint8_t *const *data, const uint32_t *length,
                       const struct handler_columns *columns, uint32_t *action, void *state);
/* handler_drop_udp drops IPv4 packets to the UDP port in state[0] (uint64_t[2]) and counts them in state[1]; all
 * others it sends back as they are. */
void handler_drop_udp(uint64_t n, uint8_t *const *data, const uint32_t *length,
                      const struct handler_columns *columns, uint32_t *action, void *state);

enum worker_mode {
    WORKER_RXDROP = 0, /* receive and release */
    WORKER_TXONLY = 1, /* generate and send */
    WORKER_LOOPBACK =
        2, /* generate and send; receive, check, release: both ways on the same pairs */
    WORKER_FORWARD = 3, /* receive, set MAC addresses as `macs` says, send on `out` */
    WORKER_SINK = 4, /* as RXDROP, but checks signature (and payload with verify) */
    WORKER_HANDLER = 5 /* receive; a handler says what becomes of each packet */
};
/* What FORWARD does with the MAC addresses of a frame. A PF's spoof check lets a VF send from its own
 * addresses only, so that a frame which leaves by another port needs that port's source. */
enum forward_macs {
    FORWARD_KEEP = 0, /* sends the frame as it came */
    FORWARD_SWAP = 1, /* source and destination change places */
    FORWARD_OWN =
        2 /* source: src[i]; destination: dst[i], or where the frame came from when that is zero */
};
#define WORKER_MAX_PAIRS 32
#define WORKER_SIZES 64

/* Packets that the workers of a run move together, counted where a generator makes one and where any other mode
 * receives one. `limit` is set before the first worker starts, the rest is the workers'. */
struct worker_quota {
    uint64_t limit;
    uint64_t taken; /* moved, or about to be */
    uint64_t moved;
};

/* Nanoseconds: exact below 2 << HISTOGRAM_SUB_BITS, then 1 << HISTOGRAM_SUB_BITS buckets in each power of two, so
 * that a bucket is narrower than 1.6 % of its value. One writer. */
#define HISTOGRAM_SUB_BITS 6
#define HISTOGRAM_BUCKETS 2368 /* to 2^42 ns, more than an hour */

struct histogram {
    uint64_t count, sum_ns;
    uint64_t least_ns, most_ns; /* 0: none */
    uint64_t missed; /* packets whose time of sending was not known any more */
    uint64_t bucket[HISTOGRAM_BUCKETS];
};

struct worker_config {
    uint32_t mode;
    uint32_t pairs;
    struct queue_pair *pair[WORKER_MAX_PAIRS];
    /* FORWARD: where pair i's packets go; NULL = itself */
    struct queue_pair *out[WORKER_MAX_PAIRS];
    uint32_t burst; /* 1..256 */
    uint32_t macs; /* FORWARD: enum forward_macs */
    uint32_t verify; /* check sequence and payload of every packet */
    uint64_t signature; /* carried by every generated packet; the run's */
    uint64_t limit; /* packets to send, where none are generated to receive; 0 = until stopped */
    struct worker_quota *quota; /* instead of `limit`: shared by a run's workers */
    uint64_t window_ns; /* length of the measured window, 0 = until worker_finish or the limit */
    double rate; /* packets per second, 0 = as fast as possible */
    uint32_t sizes; /* entries of size[]: frame lengths without FCS, used in turn */
    uint16_t size[WORKER_SIZES];
    uint8_t dst[WORKER_MAX_PAIRS][6]; /* of the frames that pair i generates, or that FORWARD_OWN */
    uint8_t src[WORKER_MAX_PAIRS][6]; /* sends on: pairs may belong to several ports */
    uint32_t sender_base; /* sender id of pair 0: unique among the workers of a run */
    struct verify *table; /* verify: sequences of all senders, shared by a run's workers */
    struct stamps *
        stamps; /* LOOPBACK: when packets were made, shared by a run's workers; NULL: not measured */
    struct histogram *latency; /* with `stamps`: of what this worker receives */
    uint32_t flows; /* UDP source ports to spread over RSS, at least 1 */
    uint32_t ipv6; /* whether the generated frames are of IPv6 */
    uint32_t open_loop; /* LOOPBACK: send on whatever has come back; a burst may overrun the way */
    int cpu; /* pin, -1 = no */
    handler_fn handler; /* HANDLER: what follows too */
    void *state; /* passed to it */
    uint32_t tx; /* 1: ACTION_TX is allowed, and the send side of every pair is the worker's */
    uint32_t redirects; /* entries of redirect[] */
    struct queue_pair *redirect[WORKER_MAX_PAIRS];
    struct pass_ring *pass_ring[WORKER_MAX_PAIRS]; /* of pair i; NULL: ACTION_PASS is not allowed */
};

/* Written by the worker with relaxed stores, read by anybody. */
struct worker_counters {
    uint64_t loops, empty_loops; /* rounds over all pairs; rounds that moved nothing */
    uint64_t sent,
        sent_bytes; /* given to the device: packets with this run's signature, or forwarded */
    uint64_t received, received_bytes; /* with this run's signature (FORWARD, RXDROP: all) */
    uint64_t foreign; /* received without the signature */
    uint64_t lost, duplicated, reordered, corrupted; /* by sequence numbers, verify only */
    uint64_t refused; /* not sent: ring stayed full at stop, or refused by the guards */
    uint64_t alloc_fail;
    uint64_t tsc_busy; /* TSC cycles in rounds that moved packets */
    uint64_t tsc_total;
    uint64_t start_ns, stop_ns; /* CLOCK_MONOTONIC */
    uint64_t state; /* 0 starting, 1 running, 2 draining, 3 ended */
    int64_t error; /* negative errno that ended it, 0 = none */
    /* HANDLER: received = dropped + passed + pass_full + invalid + failed + sent + refused + what waits
     * for room. */
    uint64_t dropped; /* as the handler said */
    uint64_t passed; /* given to Python */
    uint64_t pass_full; /* dropped: Python did not come for them in time */
    uint64_t invalid; /* dropped: the handler gave no action, or one that does not exist */
    uint64_t failed; /* dropped: the handler raised an error */
};
/* The sequences of senders * flows flows; each flow lands on one queue, and so on one worker. NULL when there
 * is no memory for them, or too many are wanted. */
struct stamps *stamps_new(uint32_t senders, uint32_t flows);
void stamps_free(struct stamps *stamps);
/* The bucket that so many nanoseconds belong to. */
uint32_t histogram_index(uint64_t ns);
struct verify *verify_new(uint32_t senders, uint32_t flows);
void verify_free(struct verify *table);

/* The packets of one queue pair that a handler passes to Python: a worker puts them into the ring, one thread
 * at a time takes them out. They belong to the application, as if pair_recv had received them. capacity: a
 * power of two. NULL with a negative errno in *error. */
struct pass_ring *pass_ring_new(struct pool *pool, uint32_t capacity, int *error);
/* Takes up to max packets without waiting and returns how many; columns are those of pair_recv. */
int pass_ring_recv(struct pass_ring *ring, const struct columns *columns, uint32_t max);
/* Sleeps until one of the rings has packets (returns 1), or one of their workers has ended or time is over
 * (returns 0), or a signal arrives (-EINTR). timeout_ns < 0: no limit. At most WORKER_MAX_PAIRS rings. */
int pass_ring_wait(struct pass_ring *const *rings, uint32_t count, int64_t timeout_ns);
uint32_t pass_ring_count(const struct pass_ring *ring);
/* After the ring's worker has ended: gives packets that nobody took back to the pool, as
 * pair_release_chains(pair) does, and returns how many these were. */
uint32_t pass_ring_drop(struct pass_ring *ring, struct queue_pair *pair);
void pass_ring_free(struct pass_ring *ring); /* pass_ring_drop first */

struct worker;
struct worker *worker_start(const struct worker_config *config, int *error);
const struct worker_counters *worker_counters(const struct worker *worker);
/* The counters as they were when the measured window closed: after window_ns, at the limit, or when the
 * worker was told to finish, whichever came first; stop_ns is that time. Generating ends with the window,
 * so that what is measured holds nothing of the draining. NULL while the window is open. */
const struct worker_counters *worker_window(const struct worker *worker);
/* Closes the window and stops generating; the worker goes on receiving until nothing came for `quiet_ms`,
 * at most for `limit_ms`, then ends. Returns at once. */
void worker_finish(struct worker *worker, uint32_t quiet_ms, uint32_t limit_ms);
/* Ends the worker now and joins its thread; the counters are final then. */
void worker_stop(struct worker *worker);
/* Stops the worker and frees it. */
void worker_free(struct worker *worker);

double
tsc_hz(void); /* measured once against CLOCK_MONOTONIC_RAW, 0 when there is no usable counter */

#endif
