/* SPDX-License-Identifier: BSD-3-Clause */
/* The csum column of every packet type under every error bit, in both descriptor formats and on every
 * instruction set, against a table that was written from the papers: docs/spec/descriptors.md 8 and 13. It lists
 * packets by their headers, where the driver computes with offsets, and shares nothing with it but bit numbers. */
#include "driver/ring/queue_pair.h"
#include "rig.h"

#define ENTRIES 96
#define BUFFERS 1024
#define BURST 64
#define BITS 7

enum header { NONE, V4, V6 };

/* Seven types in a row, by what follows the innermost IP header: fragment, other, UDP, reserved, TCP, SCTP, ICMP. */
struct seven {
    uint16_t first;
    enum header outer, inner; /* a packet without a tunnel has an inner header only */
};

static const struct seven sevens[] = {
    {22, NONE, V4}, {29, V4, V4},  {36, V4, V6},  {44, V4, V4},   {51, V4, V6},  {59, V4, V4},
    {66, V4, V6},   {74, V4, V4},  {81, V4, V6},  {88, NONE, V6}, {95, V6, V4},  {102, V6, V6},
    {110, V6, V4},  {117, V6, V6}, {125, V6, V4}, {132, V6, V6},  {140, V6, V4}, {147, V6, V6},
};

/* Tunnels that carry no IP, as VXLAN with ARP: they have an outer header alone. */
static const struct seven single[] = {{43, V4, NONE},  {58, V4, NONE},  {73, V4, NONE},
                                      {109, V6, NONE}, {124, V6, NONE}, {139, V6, NONE}};

struct packet {
    enum header outer, inner;
    bool l4;
};

static struct packet packet_of(uint32_t ptype)
{
    static const bool l4[7] = {[2] = true, [4] = true, [5] = true};

    for (size_t i = 0; i < sizeof(sevens) / sizeof(*sevens); i++)
        if (ptype >= sevens[i].first && ptype < sevens[i].first + 7u)
            return (struct packet){sevens[i].outer, sevens[i].inner, l4[ptype - sevens[i].first]};
    for (size_t i = 0; i < sizeof(single) / sizeof(*single); i++)
        if (ptype == single[i].first)
            return (struct packet){single[i].outer, NONE, false};
    return (struct packet){NONE, NONE, false};
}

struct errors {
    bool checked, ipe, l4e, eipe, exadd, pprs, eudpe, nat;
};

static uint8_t expected(uint32_t ptype, struct errors e)
{
    struct packet p = packet_of(ptype);
    bool any = e.ipe || e.eipe;
    uint32_t ip = 0, outer = 0, l4 = 0, udp = 0;

    if (!e.checked)
        return 0;
    if (p.outer == V4 && p.inner == V4) {
        ip = e.ipe ? CSUM_BAD : CSUM_GOOD;
        outer = e.eipe ? CSUM_BAD : CSUM_GOOD;
    } else if (p.outer == V4) {
        outer = any ? CSUM_BAD : CSUM_GOOD;
    } else if (p.inner == V4) {
        ip = any ? CSUM_BAD : CSUM_GOOD;
    }
    if (p.l4 && !(e.exadd && (p.outer == V6 || (p.outer == NONE && p.inner == V6)))) {
        bool doubtful = e.ipe || (e.eipe && (ip || outer)) || e.pprs;

        l4 = e.l4e ? CSUM_BAD : doubtful ? CSUM_UNKNOWN : CSUM_GOOD;
    }
    if (e.nat)
        udp = e.eudpe ? CSUM_BAD : CSUM_GOOD;
    return (uint8_t)(ip | l4 << 2 | outer << 4 | udp << 6);
}

static struct errors errors_of(uint32_t bits, uint32_t flex)
{
    return (struct errors){.checked = bits & 1,
                           .ipe = bits >> 1 & 1,
                           .l4e = bits >> 2 & 1,
                           .eipe = bits >> 3 & 1,
                           .exadd = bits >> 4 & 1,
                           .pprs = !flex && (bits >> 5 & 1),
                           .eudpe = flex && (bits >> 5 & 1),
                           .nat = flex && (bits >> 6 & 1)};
}

/* A good write-back of 60 bytes with these bits (docs/spec/descriptors.md 6, 7). */
static void write_back(struct rig *rig, uint32_t flex, uint32_t ptype, struct errors e)
{
    uint64_t qw0 = 0, qw1 = 3;

    if (!flex) {
        qw1 |= (uint64_t)e.checked << 3 | (uint64_t)e.exadd << 15 | (uint64_t)e.ipe << 22;
        qw1 |= (uint64_t)e.l4e << 23 | (uint64_t)e.eipe << 24 | (uint64_t)e.pprs << 26;
        rig_rx_raw(rig, 0, qw1 | (uint64_t)ptype << 30 | 60ull << 38, 0, 0);
        return;
    }
    qw0 = flex | (uint64_t)ptype << 16 | 60ull << 32;
    qw1 |= (uint64_t)e.checked << 3 | (uint64_t)e.ipe << 4 | (uint64_t)e.l4e << 5;
    qw1 |= (uint64_t)e.eipe << 6 | (uint64_t)e.eudpe << 7 | (uint64_t)e.exadd << 9;
    rig_rx_raw(rig, qw0, qw1, (uint64_t)e.nat << 4, ~0ull);
}

static bool begin(struct rig *rig, uint32_t isa, uint32_t flex, uint32_t metadata, bool tables)
{
    int error;

    rig_base(rig, ENTRIES, BUFFERS);
    rig->config.isa = isa;
    rig->config.flex = flex;
    rig->config.metadata = metadata;
    rig->pair = pair_new(&rig->config, &error);
    assert(!error || error == -ENOTSUP);
    if (error)
        return false;
    rig->pair->byte_tables = tables && rig->pair->byte_tables;
    assert(!pair_arm(rig->pair) && !pair_start(rig->pair));
    return true;
}

/* All types with all bits; `turn` puts other ones side by side in a burst. */
static void check(uint32_t isa, uint32_t flex, uint32_t metadata, bool tables, uint32_t turn)
{
    const uint32_t types = flex ? 1024 : 256, total = types << BITS;
    uint64_t handles[BURST];
    uint8_t csum[BURST], flags[BURST];
    uint16_t ptype[BURST];
    uint32_t rss[BURST];
    struct columns columns = {
        .handles = handles, .csum = csum, .flags = flags, .ptype = ptype, .rss = rss};
    struct rig rig;

    if (!begin(&rig, isa, flex, metadata, tables)) {
        rig_end(&rig);
        return;
    }
    for (uint32_t at = 0; at < total; at += BURST) {
        for (uint32_t i = 0; i < BURST; i++) {
            uint32_t n = (at + i) * turn % total;

            write_back(&rig, flex, n >> BITS, errors_of(n & ((1 << BITS) - 1), flex));
        }
        assert(pair_recv(rig.pair, &columns, BURST) == BURST);
        for (uint32_t i = 0; i < BURST; i++) {
            uint32_t n = (at + i) * turn % total, bits = n & ((1 << BITS) - 1);
            uint8_t right = expected(n >> BITS, errors_of(bits, flex));

            if (csum[i] != right)
                printf("%s flex %u: type %u, bits %#x: %#x, not %#x\n", pair_isa_name(rig.pair),
                       flex, n >> BITS, bits, csum[i], right);
            assert(csum[i] == right);
        }
        pair_release(rig.pair, handles, BURST);
    }
    printf("%s flex %u metadata %u: %u write-backs\n", pair_isa_name(rig.pair), flex, metadata,
           total);
    rig_end(&rig);
}

/* The table itself, against golden values by hand. */
static void test_table(void)
{
    const struct errors ipe = {.checked = true, .ipe = true},
                        eipe = {.checked = true, .eipe = true};
    const struct errors fine = {.checked = true};

    assert(expected(24, fine) == 0x05 && expected(24, ipe) == 0x02 && expected(24, eipe) == 0x02);
    assert(expected(43, fine) == 0x10 && expected(43, ipe) == 0x20 && expected(43, eipe) == 0x20);
    assert(expected(58, ipe) == 0x20 && expected(73, eipe) == 0x20);
    assert(expected(61, fine) == 0x15 && expected(61, ipe) == 0x12 && expected(61, eipe) == 0x21);
    assert(expected(68, fine) == 0x14 && expected(68, ipe) == 0x20 && expected(68, eipe) == 0x20);
    assert(expected(124, ipe) == 0 && expected(90, eipe) == 0x04 && expected(11, ipe) == 0);
}

int main(void)
{
    static const uint32_t formats[] = {0, 2, 16, 22};

    test_table();
    for (uint32_t isa = ISA_SCALAR; isa <= ISA_NEON; isa++) {
        for (size_t f = 0; f < sizeof(formats) / sizeof(*formats); f++) {
            check(isa, formats[f], 0x3f, true, 1);
            check(isa, formats[f], 0x07, true, (1 << BITS) + 1);
        }
        if (isa == ISA_AVX512)
            check(isa, 0, 0x3f, false, (1 << BITS) + 1);
    }
    puts("driver_checksum ok");
    return 0;
}
