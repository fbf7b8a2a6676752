/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdlib.h>
#include <unistd.h>

#include "driver/clock.h"
#include "driver/eventfd.h"
#include "driver/ring/vector.h"

static struct vector *vector_new(const struct pair_config *config)
{
    struct vector *vector = calloc(1, sizeof(*vector));

    if (!vector)
        return NULL;
    if (pthread_mutex_init(&vector->lock, NULL)) {
        free(vector);
        return NULL;
    }
    vector->regio = config->regio;
    vector->dyn_ctl = config->dyn_ctl;
    vector->poll_ctl = config->poll_ctl;
    vector->sleep_ctl = config->sleep_ctl;
    vector->event_fd = config->event_fd;
    return vector;
}

int vector_join(struct queue_pair *pair, const struct pair_config *config)
{
    struct vector *vector = config->companion ? config->companion->vector : vector_new(config);

    if (!vector)
        return -ENOMEM;
    if (vector->dyn_ctl != config->dyn_ctl || vector->event_fd != config->event_fd)
        return -EINVAL;
    pthread_mutex_lock(&vector->lock);
    pair->vector = vector;
    pair->next_of_vector = vector->pairs;
    vector->pairs = pair;
    pthread_mutex_unlock(&vector->lock);
    return 0;
}

void vector_leave(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    struct queue_pair **at;
    bool last;

    if (!vector)
        return;
    pthread_mutex_lock(&vector->lock);
    for (at = &vector->pairs; *at != pair; at = &(*at)->next_of_vector)
        ;
    *at = pair->next_of_vector;
    last = !vector->pairs;
    vector->sleepers -= pair->watched;
    pthread_mutex_unlock(&vector->lock);
    pair->vector = NULL;
    if (last) {
        pthread_mutex_destroy(&vector->lock);
        free(vector);
    }
}

/* The caller holds the lock. A cause that came while the vector was off fires when it is armed. */
static int set(struct vector *vector)
{
    uint32_t value = vector->sleepers ? vector->sleep_ctl : vector->poll_ctl;

    if (!vector->dyn_ctl)
        return 0;
    return vector->regio->write32(vector->regio, vector->dyn_ctl, value) < 0 ? -ENODEV : 0;
}

int vector_set(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    int error;

    pthread_mutex_lock(&vector->lock);
    error = set(vector);
    pthread_mutex_unlock(&vector->lock);
    return error;
}

int vector_sleep(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    int error;

    pthread_mutex_lock(&vector->lock);
    __atomic_store_n(&pair->sleeping, 1, __ATOMIC_SEQ_CST);
    vector->sleepers++;
    error = set(vector);
    pthread_mutex_unlock(&vector->lock);
    /* Register writes are posted: until this read returns, the device may still write back without an
     * interrupt, after the look at the ring and before the sleep (docs/spec/registers.md 7). */
    if (!error && vector->dyn_ctl)
        vector->regio->read32(vector->regio, REG_VFGEN_RSTAT);
    return error;
}

int vector_wake(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    int error = 0;

    pthread_mutex_lock(&vector->lock);
    __atomic_store_n(&pair->sleeping, 0, __ATOMIC_SEQ_CST);
    vector->sleepers--;
    /* A stopped pair's vector is not ours to set: its device may be in a reset or gone
     * (docs/spec/reliability.md F31). */
    if (pair_state(pair) == PAIR_RUNNING)
        error = set(vector);
    pthread_mutex_unlock(&vector->lock);
    return error;
}

/* Takes the event, and wakes the other sleepers; true when there was one. The caller holds the lock. */
static bool take_event(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    uint64_t one = 1;

    if (!eventfd_take(vector->event_fd))
        return false;
    for (struct queue_pair *other = vector->pairs; other; other = other->next_of_vector)
        if (other != pair &&
            (other->watched || __atomic_load_n(&other->sleeping, __ATOMIC_SEQ_CST)))
            (void)!write(other->wake_fd, &one, sizeof(one));
    return true;
}

void vector_take_event(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;

    pthread_mutex_lock(&vector->lock);
    take_event(pair);
    pthread_mutex_unlock(&vector->lock);
}

/* The caller holds the lock. Arms the interrupt of a pair that runs; register writes are posted, as in
 * vector_sleep. */
static void arm_for_good(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;

    if (pair_state(pair) == PAIR_RUNNING && !set(vector) && vector->dyn_ctl)
        vector->regio->read32(vector->regio, REG_VFGEN_RSTAT);
}

void vector_watch(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;

    pthread_mutex_lock(&vector->lock);
    vector->sleepers += !pair->watched;
    __atomic_store_n(&pair->watched, true, __ATOMIC_RELAXED);
    __atomic_store_n(&pair->tend_empty, true, __ATOMIC_RELAXED);
    arm_for_good(pair);
    pthread_mutex_unlock(&vector->lock);
}

void vector_unwatch(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;

    pthread_mutex_lock(&vector->lock);
    vector->sleepers -= pair->watched;
    __atomic_store_n(&pair->watched, false, __ATOMIC_RELAXED);
    __atomic_store_n(&pair->tend_empty, pair->rearm, __ATOMIC_RELAXED);
    if (pair_state(pair) == PAIR_RUNNING)
        set(vector);
    pthread_mutex_unlock(&vector->lock);
}

bool vector_quiet(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    uint64_t count;
    bool taken;

    pthread_mutex_lock(&vector->lock);
    taken = read(pair->wake_fd, &count, sizeof(count)) == (ssize_t)sizeof(count);
    taken |= take_event(pair);
    if (taken)
        arm_for_good(pair);
    pthread_mutex_unlock(&vector->lock);
    return taken;
}

void vector_rearm(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    uint64_t now = clock_ticks();

    /* Receive and send side may both come here; one re-arm too many does no harm. */
    if (now - __atomic_load_n(&pair->rearmed, __ATOMIC_RELAXED) < pair->rearm_ticks)
        return;
    __atomic_store_n(&pair->rearmed, now, __ATOMIC_RELAXED);
    if (pthread_mutex_trylock(&vector->lock))
        return; /* another thread sets the vector right now */
    /* An event that a sleeper waits for is left to the sleeper, who sets the vector as well. */
    if (!vector->sleepers && take_event(pair))
        set(vector);
    pthread_mutex_unlock(&vector->lock);
}

void vector_nudge(struct queue_pair *pair)
{
    struct vector *vector = pair->vector;
    uint32_t mode;

    if (!vector->dyn_ctl)
        return;
    pthread_mutex_lock(&vector->lock);
    mode = vector->poll_ctl & (DYN_CTL_WB_ON_ITR | DYN_CTL_INTENA);
    if (!mode || vector->sleepers)
        mode = DYN_CTL_INTENA;
    vector->regio->write32(vector->regio, vector->dyn_ctl,
                           mode | DYN_CTL_SWINT_TRIG | DYN_CTL_ITR_NONE | DYN_CTL_SW_ITR_INDX_ENA);
    pthread_mutex_unlock(&vector->lock);
}
