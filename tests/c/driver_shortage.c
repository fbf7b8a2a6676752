/* SPDX-License-Identifier: BSD-3-Clause */
/* Every allocation, eventfd and thread of the driver fails once in turn. Each time the call that needed it says
 * so, nothing is left behind, neither files nor memory, and the same set-up works right afterwards. */
#ifdef __SANITIZE_THREAD__
#include <stdio.h>

/* TSan needs its own allocator from before main on: nothing can stand in for it. */
int main(void)
{
    puts("driver_shortage: skipped under TSan");
    return 77; /* meson's word for a test that was skipped */
}
#else
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "rig.h"

#define ENTRIES 128
#define BUFFERS 512
#define MOST_STEPS 200

static _Thread_local bool counting; /* the driver allocates in the thread that calls it */
static int countdown; /* the call that fails, counted from 1; 0 = none */
static long blocks; /* of memory that the driver has allocated and not freed */
static int taken_error; /* errno of the failure that was injected, 0 = none yet */

/* True when this call is the one that fails. */
static bool fails(int error)
{
    if (!counting || !__atomic_load_n(&countdown, __ATOMIC_SEQ_CST) ||
        __atomic_sub_fetch(&countdown, 1, __ATOMIC_SEQ_CST))
        return false;
    taken_error = errno = error;
    return true;
}

#define NEXT(name) ((__typeof__(&(name)))dlsym(RTLD_NEXT, #name))

static void *counted(void *block)
{
    blocks += counting && block;
    return block;
}

void *calloc(size_t n, size_t size)
{
    return fails(ENOMEM) ? NULL : counted(NEXT(calloc)(n, size));
}

void *malloc(size_t size)
{
    return fails(ENOMEM) ? NULL : counted(NEXT(malloc)(size));
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return fails(ENOMEM) ? NULL : counted(NEXT(aligned_alloc)(alignment, size));
}

#ifdef __SANITIZE_ADDRESS__
#define LEFT 0 /* it looks for memory itself, and wants its own free */
#else
#define LEFT blocks

void free(void *block)
{
    static void (*next)(void *);

    if (!next)
        next = NEXT(free);
    blocks -= counting && block;
    next(block);
}
#endif

int eventfd(unsigned int count, int flags)
{
    return fails(EMFILE) ? -1 : NEXT(eventfd)(count, flags);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*run)(void *),
                   void *argument)
{
    if (fails(EAGAIN))
        return EAGAIN;
    return NEXT(pthread_create)(thread, attributes, run, argument);
}

/* Descriptors that are open, below a number that is never reached. */
static uint32_t open_files(void)
{
    uint32_t count = 0;

    for (int fd = 0; fd < 256; fd++)
        count += fcntl(fd, F_GETFD) >= 0;
    return count;
}

/* What a failed call must have said: NULL, with the error that was injected. */
static void told(const void *made, int error)
{
    assert(made || error == -taken_error);
}

static void handle_nothing(uint64_t n, uint8_t *const *data, const uint32_t *length,
                           const struct handler_columns *columns, uint32_t *action, void *state)
{
    (void)data;
    (void)length;
    (void)columns;
    (void)state;
    for (uint64_t i = 0; i < n; i++)
        action[i] = ACTION_DROP;
}

/* A worker of one mode: started, and ended again. Returns whether it could be. */
static bool work(struct rig *rig, uint32_t mode, struct pass_ring *ring, struct verify *table)
{
    struct worker_config config = {.mode = mode,
                                   .pairs = 1,
                                   .pair = {rig->pair},
                                   .burst = 32,
                                   .signature = 7,
                                   .limit = 1,
                                   .sizes = 1,
                                   .size = {60},
                                   .flows = 1,
                                   .verify = mode == WORKER_LOOPBACK,
                                   .table = table,
                                   .cpu = -1,
                                   .handler = handle_nothing,
                                   .pass_ring = {ring}};
    struct worker *worker;
    int error = 0;

    worker = worker_start(&config, &error);
    told(worker, error);
    if (worker) {
        worker_stop(worker);
        worker_free(worker);
    }
    return worker;
}

/* Everything that allocates, in the order in which a port does it. Returns whether all of it could be made. */
static bool everything(struct rig *rig)
{
    struct watchdog *watchdog = NULL;
    struct pass_ring *ring = NULL;
    struct verify *table = NULL;
    bool done = false;
    int error = 0;

    rig->config.pool = rig->pool =
        pool_new(rig->memory, (uint64_t)BUFFERS * POOL_STRIDE, POOL_STRIDE, POOL_HEADROOM);
    if (!rig->pool)
        return false;
    rig->pair = pair_new(&rig->config, &error);
    told(rig->pair, error);
    if (!rig->pair)
        goto end;
    assert(pair_arm(rig->pair) == 0 && pair_start(rig->pair) == 0);
    watchdog = watchdog_new(&rig->regio, -1, -1, -1, 0, &error);
    told(watchdog, error);
    table = watchdog ? verify_new(2, 2) : NULL;
    if (!table)
        goto end;
    ring = pass_ring_new(rig->pool, 64, &error);
    told(ring, error);
    done = ring && work(rig, WORKER_RXDROP, NULL, NULL) &&
           work(rig, WORKER_LOOPBACK, NULL, table) && work(rig, WORKER_HANDLER, ring, NULL);
end:
    watchdog_free(watchdog);
    if (rig->pair) {
        pair_stop(rig->pair, -ESHUTDOWN);
        pair_drain(rig->pair);
        pair_close(rig->pair);
        pair_free(rig->pair);
    }
    if (ring)
        pass_ring_free(ring);
    if (table)
        verify_free(table);
    pool_free(rig->pool);
    return done;
}

int main(void)
{
    struct rig rig;
    uint32_t files;
    long memory;
    int step;

    counting = true;
    rig_base(&rig, ENTRIES, BUFFERS);
    pool_free(rig.pool);
    assert(everything(&rig));
    files = open_files();
    memory = LEFT;
    for (step = 1; step < MOST_STEPS; step++) {
        bool done;
        int injected;

        taken_error = 0;
        __atomic_store_n(&countdown, step, __ATOMIC_SEQ_CST);
        done = everything(&rig);
        __atomic_store_n(&countdown, 0, __ATOMIC_SEQ_CST);
        injected = taken_error;
        assert(done == !injected && open_files() == files && LEFT == memory);
        if (!injected)
            break;
        taken_error = 0;
        assert(everything(&rig) && open_files() == files); /* the next one works */
    }
    assert(step > 15 && step < MOST_STEPS);
    free(rig.memory);
    free(rig.rx);
    free(rig.tx);
    free(rig.rq);
    free(rig.sq);
    printf("driver_shortage ok: %d failures\n", step - 1);
    return 0;
}
#endif
