/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/ring/interrupt.h"

int interrupt_sleep(struct queue_pair *pair)
{
    __atomic_store_n(&pair->sleeping, 1, __ATOMIC_SEQ_CST);
    if (!pair->dyn_ctl)
        return 0;
    if (pair->regio->write32(pair->regio, pair->dyn_ctl, pair->sleep_ctl) < 0)
        return -ENODEV;
    /* Register writes are posted: until this read returns, the device may still write back without an
     * interrupt, after the look at the ring and before the sleep (docs/spec/registers.md 7). */
    pair->regio->read32(pair->regio, REG_VFGEN_RSTAT);
    return 0;
}

int interrupt_wake(struct queue_pair *pair)
{
    __atomic_store_n(&pair->sleeping, 0, __ATOMIC_SEQ_CST);
    /* A stopped pair's vector is not ours to set: its device may be in a reset or gone
     * (docs/spec/reliability.md F31). */
    if (!pair->dyn_ctl || pair_state(pair) != PAIR_RUNNING)
        return 0;
    return pair->regio->write32(pair->regio, pair->dyn_ctl, pair->poll_ctl) < 0 ? -ENODEV : 0;
}

bool interrupt_take_event(struct queue_pair *pair)
{
    uint64_t events;

    return read(pair->event_fd, &events, sizeof(events)) == (ssize_t)sizeof(events);
}

void interrupt_rearm(struct queue_pair *pair)
{
    uint64_t now = clock_ticks();
    uint64_t one = 1;

    /* Receive and send side may both come here; one re-arm too many does no harm. */
    if (now - __atomic_load_n(&pair->rearmed, __ATOMIC_RELAXED) < pair->rearm_ticks)
        return;
    if (__atomic_load_n(&pair->sleeping, __ATOMIC_SEQ_CST))
        return; /* the sleeper needs the event */
    __atomic_store_n(&pair->rearmed, now, __ATOMIC_RELAXED);
    if (!interrupt_take_event(pair))
        return;
    pair->regio->write32(pair->regio, pair->dyn_ctl, pair->poll_ctl);
    /* The event may have been meant for a thread that went to sleep meanwhile. */
    if (__atomic_load_n(&pair->sleeping, __ATOMIC_SEQ_CST))
        (void)!write(pair->wake_fd, &one, sizeof(one));
}
