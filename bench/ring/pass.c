/* SPDX-License-Identifier: BSD-3-Clause */
/* One pass of a work: what the device and the application do before and after the timed part. */
#include <unistd.h>

#include "harness.h"

const char *const work_names[] = {
    [WORK_RECEIVE] = "rx",       [WORK_RECEIVE_FREE] = "rx+free",
    [WORK_SEND] = "tx",          [WORK_ALLOC_SEND] = "alloc+tx",
    [WORK_FORWARD] = "forward",  [WORK_WORKER] = "forward worker",
    [WORK_EMPTY] = "empty poll",
};
const char *const metadata_names[] = {"none", "basic", "all"};
static volatile uint8_t *walked;
static size_t walked_bytes;

void pass_start(void)
{
    long cache = sysconf(_SC_LEVEL2_CACHE_SIZE);

    walked_bytes = 4 * (size_t)(cache > 0 ? cache : 1 << 20);
    walked = big_alloc(walked_bytes);
}

struct play {
    struct instance *instance;
    enum work work;
};

bool work_receives(enum work work)
{
    return work == WORK_RECEIVE || work == WORK_RECEIVE_FREE || work == WORK_FORWARD ||
           work == WORK_WORKER;
}

static bool work_allocates(enum work work)
{
    return work == WORK_SEND || work == WORK_ALLOC_SEND;
}

bool work_sends(enum work work)
{
    return work_allocates(work) || work == WORK_FORWARD || work == WORK_WORKER;
}

static void play(void *argument)
{
    const struct play *play = argument;

    if (work_receives(play->work))
        device_receive(&play->instance->device, play->instance->burst);
    if (work_sends(play->work))
        device_send(&play->instance->device);
}

/* Takes what other works left in the ring: an empty poll must be one. */
void pass_drain(struct instance *instance)
{
    do {
        instance->backend->act[WORK_RECEIVE](instance);
        instance->taken += instance->got;
        instance->backend->give(instance, 0, instance->got);
    } while (instance->got);
}

void pass_before(struct instance *instance, enum work work, enum location location)
{
    struct play what = {instance, work};

    if (work == WORK_EMPTY)
        pass_drain(instance);
    if (work == WORK_SEND)
        instance->backend->take(instance);
    if (location == LOCATION_CORE)
        helper_run(play, &what);
    else
        play(&what);
    if (location == LOCATION_L3)
        for (size_t at = 0; at < walked_bytes; at += 64)
            (void)walked[at];
}

/* Packets of the pass; what was not sent goes back. */
uint32_t pass_after(struct instance *instance, enum work work)
{
    uint32_t held = work_allocates(work) ? instance->burst : instance->got;

    if (instance->backend->after)
        instance->backend->after(instance);
    if (work_receives(work))
        instance->taken += instance->got;
    if (work == WORK_RECEIVE)
        instance->backend->give(instance, 0, instance->got);
    if (!work_sends(work))
        return work_receives(work) ? instance->got : 1;
    if (instance->sent < held)
        instance->backend->give(instance, instance->sent, held);
    return instance->sent;
}
