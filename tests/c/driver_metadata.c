/* SPDX-License-Identifier: BSD-3-Clause */
/* The columns of a burst: golden write-backs by hand from the spec. */
#include "rig.h"

#define ENTRIES 64
#define BUFFERS 1024

static void test_metadata(void)
{
    struct rig rig;
    uint64_t handles[8];
    uint8_t flags[8], csum[8], segments[8];
    uint16_t ptype[8], vlan[8];
    uint32_t rss[8], mark[8], when[8];
    struct columns columns = {.handles = handles,
                              .segments = segments,
                              .flags = flags,
                              .csum = csum,
                              .ptype = ptype,
                              .vlan = vlan,
                              .rss = rss,
                              .mark = mark,
                              .time = when};

    /* Legacy: DD EOP L2TAG1P L3L4P multicast, FLTSTAT 3, PTYPE 24, LEN 60 (docs/spec/descriptors.md 6). */
    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.metadata = 0x3f;
    rig_go(&rig);
    rig_rx_raw(&rig, 0xdeadbeef00640000ull, 0x00000f060000320full, 0, 0);
    /* IPE: IP bad, L4 unknown. L4E on PTYPE 26: bad. */
    rig_rx_raw(&rig, 0, 0x00000f060040000bull, 0, 0);
    rig_rx_raw(&rig, 0, 0x00000f068080000bull, 0, 0);
    /* PTYPE 200: unknown. FLTSTAT 1: mark. No L3L4P. */
    rig_rx_raw(&rig, 7ull << 32, 0x00000f3200001003ull, 0, 0);
    assert(pair_recv(rig.pair, &columns, 8) == 4);
    assert(handles[0] >> 48 == 60 && rss[0] == 0xdeadbeef && vlan[0] == 100 && ptype[0] == 24);
    assert(csum[0] == (CSUM_GOOD | CSUM_GOOD << 2));
    assert(flags[0] == (FLAG_RSS | FLAG_VLAN | FLAG_MULTICAST));
    assert(csum[1] == CSUM_BAD && flags[1] == 0 && vlan[1] == 0 && rss[1] == 0);
    assert(ptype[2] == 26 && csum[2] == (CSUM_GOOD | CSUM_BAD << 2));
    assert(ptype[3] == 0 && csum[3] == 0 && mark[3] == 7 && flags[3] == FLAG_MARK);
    pair_release(rig.pair, handles, 4);
    rig_end(&rig);

    /* Flex RXDID 2 (docs/spec/descriptors.md 7): broadcast, PTYPE 92, hash, flow id 5, time; tag in
     * second L2TAG2. */
    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.metadata = 0x3f;
    rig.config.flex = 2;
    rig.config.vlan_in_l2tag2 = 1;
    rig_go(&rig);
    rig_rx_raw(&rig, 0x0000003c005c8002ull, 0xcafef00d0000100bull, 0x00c8000001000800ull,
               0x1234567800000005ull);
    rig_rx_raw(&rig, 0x0000003c005c8001ull, 0xcafef00d0000100bull, 0, 0); /* another RXDID */
    /* Unmarked, EUDPE under NAT, tunnel PTYPE 22 + 36 + 3: outer v4, inner v4 UDP. */
    rig_rx_raw(&rig, 0x0000003c003d0002ull, 0x000000000000008bull, 0x10, 0xffffffffull);
    assert(pair_recv(rig.pair, &columns, 8) == 2);
    assert(rss[0] == 0xcafef00d && ptype[0] == 92 && vlan[0] == 200 && mark[0] == 5);
    assert(when[0] == 0x12345678 && csum[0] == CSUM_GOOD << 2);
    assert(flags[0] == (FLAG_RSS | FLAG_VLAN | FLAG_MARK | FLAG_TIME | FLAG_BROADCAST));
    assert(flags[1] == 0 &&
           csum[1] == (CSUM_GOOD | CSUM_GOOD << 2 | CSUM_GOOD << 4 | CSUM_BAD << 6));
    assert(rig.rq->drop_malformed == 1);
    pair_release(rig.pair, handles, 2);
    rig_end(&rig);

    /* Flex RXDID 22: hash and flow id swapped. */
    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.metadata = 0x3f;
    rig.config.flex = 22;
    rig_go(&rig);
    rig_rx_raw(&rig, 0x0000003c00180016ull, 0x0000000900001003ull, 0, 0x00000000aabbccddull);
    assert(pair_recv(rig.pair, &columns, 8) == 1);
    assert(rss[0] == 0xaabbccdd && mark[0] == 9 && flags[0] == (FLAG_RSS | FLAG_MARK) &&
           csum[0] == 0);
    pair_release(rig.pair, handles, 1);
    rig_end(&rig);
}

int main(void)
{
    test_metadata();
    puts("driver_metadata ok");
    return 0;
}
