/* SPDX-License-Identifier: BSD-3-Clause */
/* What the watchdog reads from the two registers that it looks at, step by step: which values are a reset, which
 * a device that is gone, and which neither (docs/spec/registers.md 3, docs/spec/reliability.md F21, F31). */
#include "driver/clock.h"
#include "driver/driver.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256
#define ALIVE (AQLEN_ENABLE | 0x40)

struct bench {
    struct rig rig;
    struct watchdog *watchdog;
    uint64_t now;
};

static void begin(struct bench *bench)
{
    int error;

    rig_new(&bench->rig, ENTRIES, BUFFERS);
    bench->watchdog = watchdog_new(&bench->rig.regio, -1, -1, -1, 4000, &error);
    watchdog_stop(bench->watchdog, -1); /* the thread would look on its own clock */
    assert(watchdog_wait(bench->watchdog, 0) == WATCHDOG_ENDED);
    watchdog_add(bench->watchdog, bench->rig.pair);
    watchdog_arm(bench->watchdog, 1);
    bench->now = clock_ns();
}

/* What the watchdog tells after one look at these values. */
static int look(struct bench *bench, uint32_t arqlen, uint32_t rstat)
{
    bench->rig.reg[REG_VF_ARQLEN1 / 4] = arqlen;
    bench->rig.reg[REG_VFGEN_RSTAT / 4] = rstat;
    bench->now += watchdog_look(bench->watchdog, bench->now);
    return watchdog_wait(bench->watchdog, 0);
}

static void end(struct bench *bench)
{
    watchdog_free(bench->watchdog);
    rig_end(&bench->rig);
}

static void test_values(void)
{
    static const struct {
        uint32_t arqlen, rstat;
        int told;
    } table[] = {
        {ALIVE, RSTAT_VFACTIVE, 0},
        {ALIVE, RSTAT_COMPLETED, 0},
        {ALIVE, 0xfffffffcu | RSTAT_VFACTIVE, 0}, /* the other bits mean nothing */
        {ALIVE, 0, WATCHDOG_RESET},
        {ALIVE, RSTAT_MASK, WATCHDOG_RESET},
        {0x40, RSTAT_VFACTIVE, WATCHDOG_RESET},
        {0, 0, WATCHDOG_RESET},
        {0xdeadbeef, RSTAT_VFACTIVE, WATCHDOG_RESET},
        {0xdeadbeef, 0xdeadbeef, WATCHDOG_RESET},
    };

    for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
        struct bench bench;
        uint64_t handle;
        struct columns columns = {.handles = &handle};

        begin(&bench);
        assert(look(&bench, table[i].arqlen, table[i].rstat) == table[i].told);
        assert(pair_recv(bench.rig.pair, &columns, 1) == (table[i].told ? -ESHUTDOWN : 0));
        /* A reset is told once, until the watchdog is armed again. */
        assert(look(&bench, table[i].arqlen, table[i].rstat) == 0);
        end(&bench);
    }
}

/* All ones twice in a row, in either register, are a device that is gone; once is nothing, however often. */
static void test_all_ones(void)
{
    struct bench bench;
    uint64_t handle;
    struct columns columns = {.handles = &handle};

    begin(&bench);
    for (int i = 0; i < 20; i++) {
        assert(look(&bench, i % 2 ? ALIVE : ~0u, i % 3 ? ~0u : RSTAT_VFACTIVE) == 0);
        assert(look(&bench, ALIVE, RSTAT_VFACTIVE) == 0);
        assert(pair_recv(bench.rig.pair, &columns, 1) == 0);
    }
    assert(look(&bench, ALIVE, ~0u) == 0);
    assert(look(&bench, ~0u, RSTAT_VFACTIVE) == WATCHDOG_LOST);
    assert(pair_recv(bench.rig.pair, &columns, 1) == -ENODEV);
    end(&bench);
}

/* A pair that was stopped between arming and starting stays stopped, however often it is started. */
static void test_start_after_a_reset(void)
{
    struct bench bench;
    uint64_t handle;
    struct columns columns = {.handles = &handle};

    begin(&bench);
    pair_stop(bench.rig.pair, -ESHUTDOWN);
    pair_drain(bench.rig.pair);
    assert(pair_arm(bench.rig.pair) == 0);
    assert(look(&bench, ALIVE, 0) == WATCHDOG_RESET);
    for (int i = 0; i < 2; i++) {
        assert(pair_start(bench.rig.pair) == -ESHUTDOWN);
        assert(pair_recv(bench.rig.pair, &columns, 1) == -ESHUTDOWN);
    }
    end(&bench);
}

int main(void)
{
    test_values();
    test_all_ones();
    test_start_after_a_reset();
    puts("driver_gone ok");
    return 0;
}
