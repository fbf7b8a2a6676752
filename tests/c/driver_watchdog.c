/* SPDX-License-Identifier: BSD-3-Clause */
/* The housekeeping thread: what it sees, in which order it acts, the Tx hang detection. */
#include <sys/socket.h>
#include <time.h>

#include "watchdog_rig.h"

#define FAR_US 100000000 /* the thread does nothing of itself while a test lasts */
/* WB_ON_ITR, SWINT_TRIG, ITR none, SW_ITR_INDX_ENA (docs/spec/registers.md 5.1) */
#define NUDGE 0x4100001cu

/* docs/spec/reliability.md F21, F24 */
static void test_reset(void)
{
    struct rig rig;
    uint64_t handles[8];
    struct columns columns = {.handles = handles};
    struct watchdog *watchdog;
    int error;
    static const uint32_t signs[][2] = {
        {REG_VF_ARQLEN1, 0x40}, /* ENABLE went 0 */
        {REG_VFGEN_RSTAT, 0}, /* in progress */
        {REG_VFGEN_RSTAT, 0xdeadbeef}, /* X710 in reset: no legal state */
        {REG_VF_ARQLEN1, 0xdeadbeef},
    };

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, PERIOD_US, &error);
    assert(watchdog && !error && !watchdog_add(watchdog, rig.pair));
    /* The watchdog is not armed: whatever the registers say is of no interest. */
    assert(watchdog_wait(watchdog, 5) == 0 && watchdog_reset_seen(watchdog) == 0);
    alive(&rig);
    watchdog_arm(watchdog, 1);
    assert(watchdog_wait(watchdog, 5) == 0);
    for (uint32_t i = 0; i < 4; i++) {
        set(&rig, signs[i][0], signs[i][1]);
        assert(watchdog_wait(watchdog, 2000) == WATCHDOG_RESET);
        assert(watchdog_reset_seen(watchdog) != 0);
        assert(pair_recv(rig.pair, &columns, 8) == -ESHUTDOWN);
        /* Told once; quiet until armed again. */
        assert(watchdog_wait(watchdog, 5) == 0);
        restart(&rig);
        watchdog_arm(watchdog, 1);
        assert(watchdog_reset_seen(watchdog) == 0);
        assert(watchdog_wait(watchdog, 5) == 0 && pair_recv(rig.pair, &columns, 8) == 0);
    }
    watchdog_remove(watchdog, rig.pair);
    set(&rig, REG_VF_ARQLEN1, 0);
    assert(watchdog_wait(watchdog, 2000) == WATCHDOG_RESET);
    assert(pair_recv(rig.pair, &columns, 8) == 0); /* not ours any more */
    watchdog_free(watchdog);
    rig_end(&rig);
}

static void test_reset_between_arm_and_start(void)
{
    struct rig rig;
    struct watchdog *watchdog;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    alive(&rig);
    rig.pair = pair_new(&rig.config, &error);
    assert(rig.pair && pair_arm(rig.pair) == 0);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, PERIOD_US, &error);
    watchdog_add(watchdog, rig.pair);
    watchdog_arm(watchdog, 1);
    set(&rig, REG_VFGEN_RSTAT, 0);
    assert(watchdog_wait(watchdog, 2000) == WATCHDOG_RESET);
    assert(pair_start(rig.pair) == -ESHUTDOWN);
    watchdog_free(watchdog);
    rig_end(&rig);
}

/* docs/spec/reliability.md F31 */
static void test_lost(void)
{
    struct rig rig;
    uint64_t handles[8];
    struct columns columns = {.handles = handles};
    struct watchdog *watchdog;
    int error, pair[2];

    rig_new(&rig, ENTRIES, BUFFERS);
    alive(&rig);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, PERIOD_US, &error);
    watchdog_add(watchdog, rig.pair);
    watchdog_arm(watchdog, 1);
    set(&rig, REG_VF_ARQLEN1, 0xffffffff);
    set(&rig, REG_VFGEN_RSTAT, 0xffffffff);
    assert(watchdog_wait(watchdog, 2000) == WATCHDOG_LOST);
    assert(pair_recv(rig.pair, &columns, 8) == -ENODEV);
    watchdog_free(watchdog);
    restart(&rig);
    /* The peer of the socket is gone: no register is needed to know. */
    assert(!socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    watchdog = watchdog_new(&rig.regio, pair[0], -1, -1, PERIOD_US, &error);
    watchdog_add(watchdog, rig.pair);
    assert(watchdog_wait(watchdog, 5) == 0);
    close(pair[1]);
    assert(watchdog_wait(watchdog, 2000) == WATCHDOG_LOST);
    assert(pair_recv(rig.pair, &columns, 8) == -ENODEV);
    assert(watchdog_wait(watchdog, 5) == 0);
    watchdog_free(watchdog);
    close(pair[0]);
    rig_end(&rig);
}

static void test_events(void)
{
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t one = 1;
    int error, seen = 0;
    int request = eventfd(0, EFD_CLOEXEC), mailbox = eventfd(0, EFD_CLOEXEC);

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, request, mailbox, PERIOD_US, &error);
    assert(write(mailbox, &one, 8) == 8);
    assert(watchdog_wait(watchdog, 2000) == WATCHDOG_MAILBOX);
    assert(watchdog_wait(watchdog, 3) == 0);
    assert(write(mailbox, &one, 8) == 8 && write(request, &one, 8) == 8);
    while (seen != (WATCHDOG_MAILBOX | WATCHDOG_REQUEST)) {
        int now = watchdog_wait(watchdog, 2000);

        assert(now > 0);
        seen |= now;
    }
    watchdog_free(watchdog);
    close(request);
    close(mailbox);
    rig_end(&rig);
}

/* The host's request is told at once, by no round of the watchdog: the next one is 100 s away.
 * docs/spec/reliability.md F33 */
static void test_request_waits_for_no_round(void)
{
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t one = 1;
    int error, request = eventfd(0, EFD_CLOEXEC);

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, request, -1, FAR_US, &error);
    assert(write(request, &one, 8) == 8);
    alarm(60); /* instead of a hang */
    assert(watchdog_wait(watchdog, -1) == WATCHDOG_REQUEST);
    alarm(0);
    watchdog_free(watchdog);
    close(request);
    rig_end(&rig);
}

/* The table of docs/spec/libie-counters.md 6, step by step; the thread itself is two seconds away. */
static void test_hang(void)
{
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t h[40];
    uint32_t refused;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, FAR_US, &error);
    watchdog_add(watchdog, rig.pair);
    /* Idle: no packets, nothing pending, never a hang. */
    for (int i = 0; i < 5; i++)
        watchdog_check_hangs(watchdog);
    assert(rig.sq->hangs == 0 && rig.reg[RIG_DYN_CTL / 4] == RIG_POLL_CTL);
    assert(pair_alloc(rig.pair, h, 40) == 40);
    for (int i = 0; i < 40; i++)
        h[i] |= 60ull << 48;
    assert(pair_send(rig.pair, h, NULL, NULL, 20, &refused) == 20);
    watchdog_check_hangs(watchdog); /* remembers that work is pending */
    assert(rig.sq->hangs == 0);
    watchdog_check_hangs(watchdog); /* same count: nudge */
    assert(rig.sq->hangs == 1 && rig.reg[RIG_DYN_CTL / 4] == NUDGE);
    assert(watchdog_wait(watchdog, 0) == 0 && !watchdog_hung(watchdog)); /* it may help */
    rig.reg[RIG_DYN_CTL / 4] = 0;
    watchdog_check_hangs(watchdog); /* in vain: nudged again and told, but the same stall */
    assert(rig.sq->hangs == 1 && rig.reg[RIG_DYN_CTL / 4] == NUDGE);
    assert(watchdog_wait(watchdog, 0) == WATCHDOG_HANG && watchdog_hung(watchdog));
    /* The device did its part, only nobody reaped: cleaned, no nudge. */
    rig_tx(&rig, 100);
    rig.reg[RIG_DYN_CTL / 4] = 0;
    watchdog_check_hangs(watchdog);
    assert(rig.sq->hangs == 1 && rig.sq->packets == 20 && rig.reg[RIG_DYN_CTL / 4] == 0);
    assert(!watchdog_hung(watchdog));
    /* Progress between two checks is no hang, though work is always pending. */
    assert(pair_send(rig.pair, h + 20, NULL, NULL, 10, &refused) == 10);
    watchdog_check_hangs(watchdog);
    rig_tx(&rig, 100);
    assert(pair_send(rig.pair, h + 30, NULL, NULL, 10, &refused) == 10);
    assert(pair_clean(rig.pair) == 10);
    watchdog_check_hangs(watchdog);
    assert(rig.sq->hangs == 1);
    watchdog_check_hangs(watchdog); /* another stall */
    assert(rig.sq->hangs == 2);
    watchdog_free(watchdog);
    rig_end(&rig);
}

#define MS 1000000ull
#define STALL_BOUND (2000 * MS) /* docs/spec/reliability.md F43 */
#define GONE_BOUND (10 * MS) /* F31, while packets move */
#define GONE_ASLEEP_BOUND (20 * MS) /* and while all queues sleep */

/* Rounds on a clock of the test's own, from `now` on, until an event comes; returns when it did. */
static uint64_t until_event(struct watchdog *watchdog, uint64_t now, int event)
{
    for (int i = 0; i < 100000; i++) {
        int seen;

        now += watchdog_look(watchdog, now);
        seen = watchdog_wait(watchdog, 0);
        if (seen == event)
            return now;
        assert(seen == 0);
    }
    assert(!"the event never came");
    return 0;
}

/* Whenever a send queue stalls, and whether or not work went on before, it is told within the bound; one that
 * makes progress, however slowly, is not. */
static void test_bound_of_a_stall(void)
{
    for (uint64_t phase = 0; phase < 600; phase += 37) {
        struct rig rig;
        struct watchdog *watchdog;
        uint64_t h[8], now = clock_ns(), stalled;
        uint32_t refused;
        int error;

        rig_new(&rig, ENTRIES, BUFFERS);
        watchdog = watchdog_new(&rig.regio, -1, -1, -1, FAR_US, &error);
        watchdog_add(watchdog, rig.pair);
        for (uint64_t end = now + phase * MS + 3000 * MS; now < end; now += 4 * MS) {
            watchdog_look(watchdog, now);
            if ((end - now) / MS % 400 >= 4) /* a device that takes 400 ms for one packet */
                continue;
            rig_tx(&rig, 100);
            pair_clean(rig.pair);
            assert(pair_alloc(rig.pair, h, 1) == 1);
            h[0] |= 60ull << 48;
            assert(pair_send(rig.pair, h, NULL, NULL, 1, &refused) == 1);
        }
        assert(watchdog_wait(watchdog, 0) == 0);
        stalled = now;
        for (;;) {
            now += 4 * MS; /* the watchdog's period; FAR_US keeps its thread away */
            watchdog_look(watchdog, now);
            if (watchdog_wait(watchdog, 0) == WATCHDOG_HANG)
                break;
            assert(now - stalled < STALL_BOUND);
        }
        assert(now - stalled < STALL_BOUND && now - stalled > 500 * MS);
        watchdog_free(watchdog);
        rig_end(&rig);
    }
}

/* A device that reads all ones is given up within the bound, awake and asleep; all ones once are nothing. */
static void test_bound_of_a_loss(void)
{
    for (uint32_t asleep = 0; asleep < 2; asleep++) {
        struct rig rig;
        struct watchdog *watchdog;
        uint64_t now = clock_ns(), gone;
        int error;

        rig_new(&rig, ENTRIES, BUFFERS);
        alive(&rig);
        watchdog = watchdog_new(&rig.regio, -1, -1, -1, 4000, &error);
        watchdog_stop(watchdog, -1); /* the thread would look on its own clock */
        assert(watchdog_wait(watchdog, 0) == WATCHDOG_ENDED);
        watchdog_add(watchdog, rig.pair);
        __atomic_store_n(&rig.pair->sleeping, asleep, __ATOMIC_SEQ_CST);
        watchdog_arm(watchdog, 1);
        for (int i = 0; i < 7; i++)
            now += watchdog_look(watchdog, now);
        set(&rig, REG_VFGEN_RSTAT, 0xffffffff);
        now += watchdog_look(watchdog, now); /* sees it once at most */
        assert(watchdog_wait(watchdog, 0) == 0);
        alive(&rig);
        for (int i = 0; i < 7; i++)
            now += watchdog_look(watchdog, now);
        assert(watchdog_wait(watchdog, 0) == 0);
        set(&rig, REG_VFGEN_RSTAT, 0xffffffff);
        gone = now;
        now = until_event(watchdog, now, WATCHDOG_LOST);
        assert(now - gone <= (asleep ? GONE_ASLEEP_BOUND : GONE_BOUND));
        __atomic_store_n(&rig.pair->sleeping, 0, __ATOMIC_SEQ_CST);
        watchdog_free(watchdog);
        rig_end(&rig);
    }
}

/* Traffic is told once: not before it begins, not for what was counted before, anew when it is awaited anew. */
static void test_traffic(void)
{
    struct rig rig;
    uint64_t handles[8];
    struct columns columns = {.handles = handles};
    struct watchdog *watchdog;
    uint64_t before;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    rig_rx(&rig, 64, RIG_EOP);
    assert(pair_recv(rig.pair, &columns, 8) == 1);
    rig_give(&rig, handles, 1);
    watchdog = watchdog_new(&rig.regio, -1, -1, -1, PERIOD_US, &error);
    assert(watchdog && !watchdog_add(watchdog, rig.pair));
    assert(watchdog_wait(watchdog, 5) == 0 && watchdog_traffic_seen(watchdog) == 0);
    for (uint64_t packets = 1; packets < 4; packets++) {
        watchdog_await_traffic(watchdog, packets);
        assert(watchdog_wait(watchdog, 5) == 0 && watchdog_traffic_seen(watchdog) == 0);
        before = clock_ns();
        rig_rx(&rig, 64, RIG_EOP);
        assert(pair_recv(rig.pair, &columns, 8) == 1);
        assert(watchdog_wait(watchdog, 2000) == WATCHDOG_TRAFFIC);
        assert(watchdog_traffic_seen(watchdog) >= before);
        assert(watchdog_wait(watchdog, 5) == 0);
        rig_give(&rig, handles, 1);
    }
    watchdog_free(watchdog);
    rig_end(&rig);
}

int main(void)
{
    test_reset();
    test_traffic();
    test_reset_between_arm_and_start();
    test_lost();
    test_events();
    test_request_waits_for_no_round();
    test_hang();
    test_bound_of_a_stall();
    test_bound_of_a_loss();
    puts("driver_watchdog ok");
    return 0;
}
