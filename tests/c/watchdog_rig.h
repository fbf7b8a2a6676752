/* SPDX-License-Identifier: BSD-3-Clause */
/* A rig's pair beside a watchdog: a VF that is well, registers that change, a pair that starts again. */
#ifndef TESTS_C_WATCHDOG_RIG_H
#define TESTS_C_WATCHDOG_RIG_H

#include "driver/clock.h"
#include "driver/driver.h"
#include "driver/ring/queue_pair.h"
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 512
#define PERIOD_US 500

static void alive(struct rig *rig)
{
    rig->reg[REG_VF_ARQLEN1 / 4] = 0x80000040;
    rig->reg[REG_VFGEN_RSTAT / 4] = 2;
}

static void set(struct rig *rig, uint32_t offset, uint32_t value)
{
    __atomic_store_n(&rig->reg[offset / 4], value, __ATOMIC_SEQ_CST);
}

static void restart(struct rig *rig)
{
    pair_stop(rig->pair, -ESHUTDOWN);
    pair_drain(rig->pair);
    assert(pair_arm(rig->pair) == 0);
    rig->rx_head = rig->tx_head = rig->tx_tail = 0;
    alive(rig);
    assert(pair_start(rig->pair) == 0);
}

#endif
