/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that writes back any receive and send descriptors, and an application that sends any handles: the
 * driver never reads or writes outside of its memory, and the pool is exact afterwards. */
#include "fuzz.h"

#include "rig.h"

#define ENTRIES 64
#define BUFFERS 256
#define BURST 32

/* A write-back: as a device would, with some words replaced. */
static void receive_one(struct rig *rig, struct reader *from)
{
    uint32_t shape = (uint32_t)number(from, 1), length = (uint32_t)number(from, 2);
    uint64_t qw0 = rig->config.flex | (uint64_t)length << 32, qw1 = 0x3003;
    uint64_t qw2 = 0, qw3 = 0;

    if (!rig->config.flex) {
        qw0 = 0;
        qw1 = 3 | 24ull << 30 | (uint64_t)length << 38;
    }
    if (shape & 1)
        qw1 &= ~2ull; /* not the end of its packet */
    if (shape & 2)
        qw0 = number(from, 8);
    if (shape & 4)
        qw1 = number(from, 8);
    if (shape & 8)
        qw2 = number(from, 8);
    if (shape & 16)
        qw3 = number(from, 8);
    if (rig_rx_room(rig))
        rig_rx_raw(rig, qw0, qw1, qw2, qw3);
}

static void take(struct rig *rig, struct reader *from)
{
    uint64_t handles[BURST], chain[BURST * 4];
    uint32_t rss[BURST], mark[BURST], when[BURST];
    uint16_t ptype[BURST], vlan[BURST];
    uint8_t csum[BURST], flags[BURST], segments[BURST];
    struct columns columns = {.handles = handles};
    uint32_t max = 1 + (uint32_t)number(from, 1) % BURST;
    int got;

    if (rig->config.metadata) {
        columns.rss = rss;
        columns.ptype = ptype;
        columns.csum = csum;
        columns.vlan = vlan;
        columns.mark = mark;
        columns.time = when;
        columns.flags = flags;
    }
    if (rig->config.scattered) {
        columns.chain = chain;
        columns.segments = segments;
    }
    got = pair_recv(rig->pair, &columns, max);
    assert(got >= 0 && (uint32_t)got <= max);
    for (int i = 0; i < got; i++)
        assert((uint32_t)handles[i] < BUFFERS && handles[i] >> 48 <= POOL_ROOM);
    if (rig->config.scattered)
        pair_release_chains(rig->pair, handles, chain, segments, (uint32_t)got);
    else
        pair_release(rig->pair, handles, (uint32_t)got);
}

/* Handles of the pool's with any offset and length: what cannot be sent is refused and given back. */
static void send(struct rig *rig, struct reader *from)
{
    uint64_t handles[BURST], chain[BURST * 4] = {0};
    uint8_t segments[BURST];
    uint32_t wanted = 1 + (uint32_t)number(from, 1) % 8, refused = 0, got = 0;
    int sent;

    for (uint32_t i = 0; i < wanted; i++) {
        uint32_t more = (uint32_t)number(from, 1) % 5;
        uint64_t all[5];
        int took = pair_alloc(rig->pair, all, 1 + more);

        if (took < (int)(1 + more)) {
            pair_release(rig->pair, all, took > 0 ? (uint32_t)took : 0);
            break;
        }
        for (uint32_t n = 0; n <= more; n++) {
            uint64_t shape = number(from, 1), value = number(from, 2);

            all[n] = (all[n] & 0xffffffff) | (uint64_t)POOL_HEADROOM << 32 | value << 48;
            if (shape & 1)
                all[n] = (all[n] & ~(0xffffull << 32)) | number(from, 2) << 32;
        }
        handles[got] = all[0];
        memcpy(chain + 4 * (size_t)got, all + 1, more * sizeof(*all));
        segments[got++] = (uint8_t)(1 + more);
    }
    sent = pair_send(rig->pair, handles, chain, segments, got, &refused);
    assert(sent >= 0 && (uint32_t)sent <= got && refused <= (uint32_t)sent);
    if ((uint32_t)sent < got)
        pair_release_chains(rig->pair, handles + sent, chain + 4 * (size_t)sent, segments + sent,
                            got - (uint32_t)sent);
}

/* Completions of what was sent, or any word in any send descriptor; behind the first such word the device's
 * reading of the ring is over, for it would trip over its own. */
static void complete(struct rig *rig, struct reader *from, bool *garbled)
{
    struct tx_desc *desc = &rig->tx[number(from, 1) % ENTRIES];
    uint64_t shape = number(from, 1);

    if (!(shape & 1)) {
        __atomic_store_n(&desc->qw1, number(from, 8), __ATOMIC_RELEASE);
        *garbled = true;
    } else if (!*garbled) {
        rig_tx(rig, ENTRIES);
    }
    pair_clean(rig->pair);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint32_t formats[] = {0, 2, 22, 6};
    struct reader from = {data, size};
    struct rig rig;
    uint32_t shape = (uint32_t)number(&from, 1);
    bool garbled = false;

    rig_base(&rig, ENTRIES, BUFFERS);
    rig.config.flex = formats[shape & 3];
    rig.config.scattered = shape >> 2 & 1;
    rig.config.metadata = shape >> 3 & 1 ? 0x3f : 0;
    if (shape >> 4 & 1)
        rig.config.isa = ISA_SCALAR;
    rig_go(&rig);
    while (from.left) {
        uint32_t what = (uint32_t)number(&from, 1) % 8;

        if (what < 4)
            receive_one(&rig, &from);
        else if (what < 6)
            take(&rig, &from);
        else if (what == 6)
            send(&rig, &from);
        else
            complete(&rig, &from, &garbled);
    }
    rig_end(&rig);
    return 0;
}

int main(int argc, char **argv)
{
    static const uint8_t plain[] = {0, 0, 0, 60, 0, 0, 0, 60, 0, 4, 31, 6, 1, 0, 0, 60, 0};
    static const uint8_t chained[] = {0x0c, 0, 1, 0, 8, 0, 0, 100, 0,  4,
                                      31,   6, 0, 1, 0, 0, 8, 0,   60, 0};
    static const uint8_t odd[] = {2, 0, 6, 60, 0, 1, 2, 3, 4, 5, 6, 7,
                                  8, 1, 2, 3,  4, 5, 6, 7, 8, 4, 9};
    static const uint8_t bogus[] = {0, 6, 0, 0, 0, 60, 0, 7, 3, 0, 15, 0, 0, 0, 0, 0, 0, 0};

    fuzz_keep(plain, sizeof(plain));
    fuzz_keep(chained, sizeof(chained));
    fuzz_keep(odd, sizeof(odd));
    fuzz_keep(bogus, sizeof(bogus));
    return fuzz_main(argc, argv);
}
