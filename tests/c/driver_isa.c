/* SPDX-License-Identifier: BSD-3-Clause */
/* Every instruction set gives what the scalar path gives, malformed input included
 * (docs/spec/reliability.md F49): two pairs get the same random write-backs and the same sends; rows,
 * rings, counters and buffers must be equal. Argument: rounds per combination; the default is short,
 * 200000 make more than 10^7 vectors. */
#include "driver/driver.h"
#include "rig.h"

#define ENTRIES 96
#define BUFFERS 1024
#define MAX 64

struct side {
    struct rig rig;
    uint64_t handles[MAX], chain[MAX * 4];
    uint8_t segments[MAX], flags[MAX], csum[MAX];
    uint16_t ptype[MAX], vlan[MAX];
    uint32_t rss[MAX], mark[MAX], when[MAX];
    int got;
};

static uint64_t random_word(void)
{
    static uint64_t state = 0x2545f4914f6cdd1dull;

    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static void side_receive(struct side *side, uint32_t max)
{
    struct columns columns = {.handles = side->handles,
                              .chain = side->chain,
                              .segments = side->segments,
                              .flags = side->flags,
                              .csum = side->csum,
                              .ptype = side->ptype,
                              .vlan = side->vlan,
                              .rss = side->rss,
                              .mark = side->mark,
                              .time = side->when};

    side->got = pair_recv(side->rig.pair, &columns, max);
}

static void same_rows(const struct side *a, const struct side *b)
{
    size_t n = (size_t)a->got;

    assert(a->got == b->got && a->got >= 0);
    assert(!memcmp(a->handles, b->handles, n * 8) && !memcmp(a->segments, b->segments, n));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 1; k < a->segments[i]; k++)
            assert(a->chain[4 * i + k - 1] == b->chain[4 * i + k - 1]);
    if (!a->rig.config.metadata)
        return;
    assert(!memcmp(a->flags, b->flags, n) && !memcmp(a->csum, b->csum, n));
    assert(!memcmp(a->ptype, b->ptype, n * 2) && !memcmp(a->rss, b->rss, n * 4));
    if (a->rig.config.metadata == 7)
        return;
    assert(!memcmp(a->vlan, b->vlan, n * 2) && !memcmp(a->mark, b->mark, n * 4));
    assert(!memcmp(a->when, b->when, n * 4));
}

/* Good on the whole, with every field random; now and then nothing holds. */
static void random_write_back(uint64_t *qw, uint32_t flex)
{
    uint64_t kind = random_word() % 16;

    for (int i = 0; i < 4; i++)
        qw[i] = random_word();
    qw[1] |= 1;
    if (!kind)
        return;
    qw[1] |= kind == 1 ? 0 : 2; /* EOP, but for a chain's segments */
    if (flex) {
        qw[1] &= ~0x400ull; /* RXE */
        qw[0] = (qw[0] & 0xf0ff07ffffffffc0ull & ~(1ull << 59)) | flex;
        if (kind == 3)
            qw[3] |= 0xffffffff;
        if (kind == 4)
            qw[1] = (qw[1] & ~0xf0ull) | 8;
    } else {
        qw[1] &= ~(1ull << 63 | 1ull << 19);
        qw[1] &= ~(0x38ull << 46); /* a length below 2048 mostly */
        if (kind == 4)
            qw[1] = (qw[1] & ~0x7c08000ull) | 8;
    }
}

static void random_sends(struct side *sides, uint32_t n)
{
    uint64_t handles[MAX];
    uint32_t refused[2];
    uint64_t spoil = random_word();
    int sent[2];

    assert(n <= MAX);
    for (int s = 0; s < 2; s++)
        assert(pair_alloc(sides[s].rig.pair, sides[s].handles, n) == (int)n);
    assert(!memcmp(sides[0].handles, sides[1].handles, n * 8));
    memcpy(handles, sides[0].handles, n * 8);
    for (uint32_t i = 0; i < n; i++)
        handles[i] |= (uint64_t)(60 + i) << 48;
    if (n && spoil % 4 == 0) {
        uint32_t at = (uint32_t)(spoil >> 8) % n;

        switch (spoil >> 40 & 7) {
        case 0:
            handles[at] = random_word();
            break;
        case 1:
            handles[at] &= 0x000fffffffffffffull; /* short */
            break;
        case 2:
            handles[at] |= 0xfffull << 48; /* past the buffer */
            break;
        case 3:
            handles[at] = handles[(spoil >> 16) % n]; /* twice */
            break;
        default:
            /* The buffer's last byte, or the one behind it. */
            handles[at] =
                (handles[at] & 0xffffffffull) | 2100ull << 32 | (76 + (spoil >> 48 & 1)) << 48;
            break;
        }
    }
    for (int s = 0; s < 2; s++)
        sent[s] = pair_send(sides[s].rig.pair, handles, NULL, NULL, n, &refused[s]);
    assert(sent[0] == sent[1] && refused[0] == refused[1]);
    assert(sides[0].rig.tx_tail == sides[1].rig.tx_tail);
    assert(!memcmp(sides[0].rig.tx, sides[1].rig.tx, ENTRIES * sizeof(struct tx_desc)));
    /* What is still ours: unsent, or spoiled out of recognition. */
    for (int s = 0; s < 2; s++)
        if (sent[s] < (int)n)
            pair_release(sides[s].rig.pair, handles + sent[s], n - (uint32_t)sent[s]);
}

static bool able(uint32_t isa)
{
    struct rig rig;
    int error;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.isa = isa;
    rig.pair = pair_new(&rig.config, &error);
    assert(!error || error == -ENOTSUP);
    rig_end(&rig);
    return !error;
}

/* tables: false for a CPU that has no byte tables in registers. */
static void compare(uint32_t isa, bool tables, uint32_t flex, uint32_t metadata, uint32_t scattered,
                    uint32_t rounds)
{
    static struct side sides[2];
    uint64_t vectors = 0;
    int error;

    for (int s = 0; s < 2; s++) {
        memset(&sides[s], 0, sizeof(sides[s]));
        rig_base(&sides[s].rig, ENTRIES, BUFFERS);
        sides[s].rig.config.flex = flex;
        sides[s].rig.config.metadata = metadata;
        sides[s].rig.config.scattered = scattered;
        sides[s].rig.config.vlan_in_l2tag2 = rounds % 2;
        sides[s].rig.config.isa = s ? isa : ISA_SCALAR;
        sides[s].rig.pair = pair_new(&sides[s].rig.config, &error);
        assert(sides[s].rig.pair && !pair_arm(sides[s].rig.pair) && !pair_start(sides[s].rig.pair));
        sides[s].rig.pair->byte_tables = tables && sides[s].rig.pair->byte_tables;
    }
    for (uint32_t round = 0; round < rounds; round++) {
        uint32_t n = (uint32_t)random_word() % 70;
        uint32_t max = 1 + (uint32_t)random_word() % MAX;

        while (n-- && rig_rx_room(&sides[0].rig)) {
            uint64_t qw[4];

            random_write_back(qw, flex);
            for (int s = 0; s < 2; s++)
                rig_rx_raw(&sides[s].rig, qw[0], qw[1], qw[2], qw[3]);
            vectors++;
        }
        for (int s = 0; s < 2; s++)
            side_receive(&sides[s], max);
        same_rows(&sides[0], &sides[1]);
        for (int s = 0; s < 2; s++)
            pair_release_chains(sides[s].rig.pair, sides[s].handles, sides[s].chain,
                                sides[s].segments, (uint32_t)sides[s].got);
        assert(!memcmp(sides[0].rig.rq, sides[1].rig.rq, sizeof(struct rq_counters)));
        assert(sides[0].rig.rx_tail == sides[1].rig.rx_tail);
        if (round % 4 == 0)
            random_sends(sides, (uint32_t)random_word() % 60);
        if (round % 8 == 0) {
            uint32_t most = (uint32_t)random_word() % 9;

            assert(rig_tx(&sides[0].rig, most) == rig_tx(&sides[1].rig, most));
        }
        assert(!memcmp(sides[0].rig.sq, sides[1].rig.sq, sizeof(struct sq_counters)));
        if (round % 1024 == 0) {
            /* A refused handle that named somebody else's buffer may have left ours held. */
            for (int s = 0; s < 2; s++) {
                pair_stop(sides[s].rig.pair, -ESHUTDOWN);
                pair_drain(sides[s].rig.pair);
                for (uint64_t index = 0; index < BUFFERS; index++)
                    pair_release(sides[s].rig.pair, &index, 1);
                assert(pool_idle(sides[s].rig.pool) == BUFFERS);
                assert(!pair_arm(sides[s].rig.pair));
                sides[s].rig.rx_head = sides[s].rig.tx_head = sides[s].rig.tx_tail = 0;
                assert(!pair_start(sides[s].rig.pair));
            }
        }
    }
    printf("%s flex %u metadata %u scattered %u: %llu vectors, %llu packets\n",
           pair_isa_name(sides[1].rig.pair), flex, metadata, scattered, (unsigned long long)vectors,
           (unsigned long long)sides[0].rig.rq->packets);
    assert(sides[0].rig.rq->packets > rounds / 8 && sides[0].rig.sq->posted > rounds / 16);
    for (int s = 0; s < 2; s++)
        rig_end(&sides[s].rig);
}

/* docs/spec/reliability.md F49 */
int main(int argc, char **argv)
{
    static const uint32_t formats[] = {0, 2, 6, 16, 22, 24};
    static const uint32_t wanted[] = {0, 7, 63};
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 3000;

    for (uint32_t isa = ISA_AVX2; isa <= ISA_NEON; isa++) {
        if (!able(isa)) {
            printf("isa %u: not on this machine\n", isa);
            continue;
        }
        for (uint32_t f = 0; f < 6; f++)
            for (uint32_t m = 0; m < 3; m++)
                for (uint32_t scattered = 0; scattered < 2; scattered++)
                    compare(isa, true, formats[f], wanted[m], scattered, rounds + scattered);
        for (uint32_t f = 0; isa == ISA_AVX512 && f < 6; f++)
            compare(isa, false, formats[f], 63, 0, rounds);
    }
    puts("driver_isa ok");
    return 0;
}
