/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that changes descriptors while the driver looks at them (docs/adr/0005). The ring lies
 * in a page without rights: each access faults, is let through as a single step of the processor, and after
 * that step every descriptor has another content. So no two loads see the same words, and whatever is checked in
 * one load and used from another comes out wrong here. */
#include "rig.h"

#if defined(__x86_64__) && !defined(__SANITIZE_THREAD__)

#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

#include "driver/pool/handle.h"

#define ENTRIES 64
#define BUFFERS 512
#define MAX 32
#define PAGE 4096
#define SINGLE_STEP 0x100 /* EFLAGS.TF */
#define ROUNDS 8

static struct rx_desc *ring;
static uint32_t flex;
static uint64_t steps;

static uint64_t random_word(void)
{
    static uint64_t state = 0x9e3779b97f4a7c15ull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

/* Half of them good, with a length of their own; the others with any length, type, profile, or an error. All
 * are done. */
static void change(struct rx_desc *desc)
{
    uint64_t kind = random_word() % 8, length = 60 + random_word() % 1000;

    desc->qw0 = random_word();
    desc->qw1 = random_word() | RXL_DD | (kind ? RXL_EOP : 0);
    desc->qw2 = random_word();
    desc->qw3 = random_word();
    if (kind > 3)
        return;
    if (flex) {
        desc->qw0 &= ~(RXF_RXDID_MASK | RXF_SPH | 0x3fffull << RXF_LEN_SHIFT);
        desc->qw0 |= flex | length << RXF_LEN_SHIFT;
        desc->qw1 &= ~(uint64_t)RXF_RXE;
    } else {
        desc->qw1 &= ~(RXL_RXE | RXL_SPH | 0x3fffull << RXL_LEN_SHIFT);
        desc->qw1 |= length << RXL_LEN_SHIFT;
    }
}

static void change_all(void)
{
    for (uint32_t i = 0; i < ENTRIES; i++)
        change(&ring[i]);
}

static void on_fault(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;
    uintptr_t address = (uintptr_t)info->si_addr;

    (void)number;
    if (address - (uintptr_t)ring >= PAGE) { /* not the ring: the access repeats, and kills */
        signal(SIGSEGV, SIG_DFL);
        return;
    }
    mprotect(ring, PAGE, PROT_READ | PROT_WRITE);
    at->uc_mcontext.gregs[REG_EFL] |= SINGLE_STEP;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *at = context;

    (void)number;
    (void)info;
    at->uc_mcontext.gregs[REG_EFL] &= ~SINGLE_STEP;
    steps++;
    change_all();
    mprotect(ring, PAGE, PROT_NONE);
}

static void catch (void)
{
    struct sigaction fault = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    struct sigaction step = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};

    assert(!sigaction(SIGSEGV, &fault, NULL) && !sigaction(SIGTRAP, &step, NULL));
}

/* A segment of one of the pool's buffers, within it. Returns its length. */
static uint32_t segment_of(const struct rig *rig, uint64_t handle)
{
    uint32_t length = handle_length(handle);

    assert(handle_index(handle) < rig->buffers && handle_offset(handle) == POOL_HEADROOM);
    assert(length >= 1 && length <= rig->config.buffer_size);
    return length;
}

struct rows {
    uint64_t handles[MAX], chain[MAX * 4];
    uint8_t segments[MAX], flags[MAX], csum[MAX];
    uint16_t ptype[MAX], vlan[MAX];
    uint32_t rss[MAX], mark[MAX], when[MAX];
};

/* Receives once, and checks all that came of it. Returns how many packets. */
static uint32_t receive(struct rig *rig, struct rows *rows)
{
    struct columns columns = {.handles = rows->handles,
                              .chain = rows->chain,
                              .segments = rows->segments,
                              .flags = rows->flags,
                              .csum = rows->csum,
                              .ptype = rows->ptype,
                              .vlan = rows->vlan,
                              .rss = rows->rss,
                              .mark = rows->mark,
                              .time = rows->when};
    uint64_t before = rig->rq->bytes, bytes = 0;
    int got;

    /* Without segments it is the tight path of one buffer each. */
    if (!rig->config.scattered)
        columns.segments = NULL;
    got = pair_recv(rig->pair, &columns, MAX);
    assert(got >= 0 && got <= MAX);
    for (int i = 0; i < got; i++) {
        uint32_t segments = columns.segments ? rows->segments[i] : 1;
        uint32_t frame = segment_of(rig, rows->handles[i]);

        assert(segments >= 1 && segments <= 5);
        for (uint32_t k = 1; k < segments; k++)
            frame += segment_of(rig, rows->chain[4 * i + (int)k - 1]);
        assert(frame <= rig->config.max_frame);
        assert(!rig->config.metadata || rows->ptype[i] < 1024);
        bytes += frame;
    }
    pair_settle(rig->pair);
    assert(rig->rq->bytes - before == bytes); /* what is counted is what is delivered */
    if (columns.segments)
        pair_release_chains(rig->pair, rows->handles, rows->chain, rows->segments, (uint32_t)got);
    else
        pair_release(rig->pair, rows->handles, (uint32_t)got);
    return (uint32_t)got;
}

/* docs/spec/reliability.md S1 */
static void test_changing(uint32_t isa, uint32_t profile, uint32_t metadata, uint32_t scattered)
{
    static struct rows rows;
    struct rig rig;
    uint64_t packets = 0;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.isa = isa;
    rig.config.flex = profile;
    rig.config.metadata = metadata;
    rig.config.scattered = scattered;
    rig.pair = pair_new(&rig.config, &error);
    if (!rig.pair) {
        assert(error == -ENOTSUP); /* this CPU has not these instructions */
        rig_end(&rig);
        return;
    }
    assert(!pair_arm(rig.pair) && !pair_start(rig.pair));
    ring = rig.rx;
    flex = profile;
    steps = 0;
    change_all();
    mprotect(ring, PAGE, PROT_NONE);
    for (int i = 0; i < ROUNDS; i++)
        packets += receive(&rig, &rows);
    mprotect(ring, PAGE, PROT_READ | PROT_WRITE);
    assert(packets && steps > ROUNDS);
    rig_end(&rig);
}

int main(void)
{
    static const uint32_t profiles[] = {0, 2, 22}, metadata[] = {0, 7, 63};

    catch ();
    for (uint32_t isa = ISA_SCALAR; isa <= ISA_AVX512; isa++)
        for (size_t p = 0; p < 3; p++)
            for (size_t m = 0; m < 3; m++)
                for (uint32_t scattered = 0; scattered < 2; scattered++)
                    test_changing(isa, profiles[p], metadata[m], scattered);
    puts("driver_refetch ok");
    return 0;
}

#else

int main(void)
{
    return 77; /* skipped: no single step here, or a sanitizer that holds signals back */
}

#endif
