/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane under a correct, a hasty and a hostile driver; built with the sanitizers it finds what
 * Python cannot see. usage: softvf_plane [ROUNDS] */
#include <errno.h>
#include <pthread.h>
#include <sched.h>

#include "softvf/plane.h"
#include "softvf/thread.h"
#include "softvf_rig.h"

static uint64_t seed = 0x9e3779b97f4a7c15ull;

static uint64_t random64(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static uint32_t below(uint32_t limit)
{
    return (uint32_t)(random64() % limit);
}

static struct plane *new_plane(uint32_t vfs, int immediate)
{
    char error[256];
    struct plane *plane = plane_new(vfs, &rig_card, "loopback", immediate, error, sizeof(error));

    CHECK(plane);
    return plane;
}

/* ---- a correct driver: everything arrives once, in order, unchanged ---- */

/* Mostly short; some with more than what the plane looks at before it copies. */
static uint32_t correct_len(uint32_t number)
{
    return number % 4 ? 60 + number % 200 : 60 + number * 37 % 1455;
}

static void send_group(struct rig *rig, uint32_t *number, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        uint32_t len = correct_len(*number);

        rig_frame(rig->memory + rig_buffer(rig->tx_tail), len, rig->vf, (*number)++);
        rig->tx[rig->tx_tail].addr = RIG_IOVA + rig_buffer(rig->tx_tail);
        rig->tx[rig->tx_tail].qw1 = rig_tx_qw1(TXD_CMD_EOP | TXD_CMD_ICRC | TXD_CMD_RS, len);
        rig->tx_tail = rig_next(rig, rig->tx_tail);
    }
    rig_doorbell(rig, REG_QTX_TAIL1, rig->tx_tail);
}

static bool take_one(struct rig *rig, uint32_t expected)
{
    struct rx_desc *desc = &rig->rx[rig->rx_head];
    uint64_t qw1 = __atomic_load_n(&desc->qw1, __ATOMIC_ACQUIRE);
    uint8_t want[2048];
    uint32_t len = correct_len(expected);

    if (!(qw1 & RXF_DD))
        return false;
    rig_frame(want, len, rig->vf, expected);
    CHECK(qw1 & RXF_EOP && qw1 & RXF_L3L4P && !(qw1 & (RXF_IPE | RXF_L4E)));
    CHECK((desc->qw0 >> RXF_LEN_SHIFT & RXF_LEN_MASK) == len);
    CHECK(memcmp(rig->memory + rig_buffer(rig->entries + rig->rx_head), want, len) == 0);
    desc->qw0 = RIG_IOVA + rig_buffer(rig->entries + rig->rx_head);
    desc->qw1 = 0;
    rig_doorbell(rig, REG_QRX_TAIL1, rig->rx_head);
    rig->rx_head = rig_next(rig, rig->rx_head);
    return true;
}

static void correct_driver(struct plane *plane, struct rig *rig, uint32_t packets)
{
    uint32_t sent = 0, got = 0;

    rig_open(rig, 128, RXDID_COMMS_OVS_1);
    while (got < packets) {
        uint32_t count = 4 + 4 * below(12);

        if (sent - got + count < 120 && sent < packets)
            send_group(rig, &sent, count);
        if (!take_one(rig, got))
            sched_yield();
        else
            got++;
    }
    while (got < sent)
        got += take_one(rig, got);
    plane_lock(plane);
    CHECK(plane->last_to == &plane->vf[0]); /* they took the fast path */
    plane_unlock(plane);
}

static void test_correct(int immediate, uint32_t packets)
{
    struct plane *plane = new_plane(1, immediate);
    struct softvf_event event;
    struct rig rig;

    rig_attach(&rig, plane, 0);
    CHECK(plane_start(plane) == 0);
    if (!immediate) { /* poll mode with timed write-back, as DPDK's driver sets it */
        plane_lock(plane);
        plane_map_vector(plane, 0, 1, 1, 1, 0, 0);
        plane_write_dyn_ctl(plane, 0, 1, DYN_CTL_WB_ON_ITR | 2 << DYN_CTL_INTERVAL_SHIFT);
        plane_unlock(plane);
    }
    correct_driver(plane, &rig, packets);
    plane_lock(plane);
    CHECK(plane_next_event(plane, &event) == 0);
    plane_unlock(plane);
    plane_free(plane);
    rig_detach(&rig);
}

/* ---- a hasty driver: control does its worst while traffic runs ---- */

enum { HASTY_RING = 128 };

struct flood {
    struct rig *rig;
    uint32_t stop;
};

static void *flood(void *argument)
{
    struct flood *f = argument;
    struct rig *rig = f->rig;
    uint32_t tail = 0, rx = 0;

    while (!__atomic_load_n(&f->stop, __ATOMIC_ACQUIRE)) {
        tail = (tail + 16) % HASTY_RING;
        rx = (rx + 16) % HASTY_RING;
        rig_doorbell(rig, REG_QTX_TAIL1, tail);
        rig_doorbell(rig, REG_QRX_TAIL1, rx);
        sched_yield();
    }
    return NULL;
}

static void disturb(struct plane *plane, struct rig *rig, uint32_t kind)
{
    uint64_t vlans[3 * 64] = {0};
    struct softvf_config config;

    plane_lock(plane);
    switch (kind) {
    case 0:
        CHECK(plane_dma_unmap(plane, 0, RIG_IOVA, RIG_SIZE, 0) >= 0);
        break;
    case 1:
        plane_reset_vf(plane, 0);
        break;
    case 2:
        plane_disable_queue(plane, 0, 0, 1);
        plane_disable_queue(plane, 0, 0, 0);
        break;
    case 3:
        plane_set_bus_master(plane, 0, 0);
        plane_set_bus_master(plane, 0, 1);
        break;
    case 4:
        rig_config(&config, 0);
        config.strip = SOFTVF_STRIP_L2TAG1;
        config.port_vlan = (uint16_t)below(3);
        CHECK(plane_publish(plane, 0, &config, vlans) == 0);
        break;
    default:
        plane_write_dyn_ctl(plane, 0, below(3), (uint32_t)random64());
        break;
    }
    plane_unlock(plane);
    if (kind == 0) {
        /* Whatever the device writes from here on would be a write after unmap. */
        uint8_t *page = rig->memory + RIG_RX_RING;
        uint8_t before[4096];

        memcpy(before, page, sizeof(before));
        usleep(200);
        CHECK(memcmp(before, page, sizeof(before)) == 0);
    }
}

/* With the lock held, but for the unmapping. */
static void bury(struct plane *plane)
{
    struct softvf_grave grave;

    while (plane_dma_bury(plane, 0, &grave)) {
        plane_unlock(plane);
        plane_unmap(&grave);
        plane_lock(plane);
        plane_dma_buried(plane, 0, &grave);
    }
}

static void renew(struct plane *plane, struct rig *rig)
{
    plane_lock(plane);
    plane_reset_vf(plane, 0);
    plane_dma_unmap(plane, 0, 0, 0, 1);
    bury(plane);
    CHECK(plane_dma_map(plane, 0, rig->fd, 0, RIG_IOVA, RIG_SIZE, 1, 1) == 0);
    plane_unlock(plane);
    rig_open(rig, HASTY_RING, below(2) ? RXDID_COMMS_OVS_1 : RXDID_LEGACY_32B);
    for (uint32_t i = 0; i < HASTY_RING; i++) {
        rig_frame(rig->memory + rig_buffer(i), 60 + i, 0, i);
        rig->tx[i].addr = RIG_IOVA + rig_buffer(i);
        rig->tx[i].qw1 = rig_tx_qw1(TXD_CMD_EOP | TXD_CMD_ICRC, 60 + i);
    }
}

static void test_hasty(uint32_t rounds)
{
    struct plane *plane = new_plane(1, 0);
    struct softvf_event event;
    struct rig rig;
    struct flood f = {.rig = &rig};
    pthread_t thread;

    rig_attach(&rig, plane, 0);
    CHECK(plane_start(plane) == 0);
    CHECK(pthread_create(&thread, NULL, flood, &f) == 0);
    for (uint32_t round = 0; round < rounds; round++) {
        renew(plane, &rig);
        for (uint32_t i = 0; i < 4; i++) {
            usleep(below(50));
            disturb(plane, &rig, below(6));
        }
        plane_lock(plane);
        while (plane_next_event(plane, &event))
            CHECK(event.count > 0);
        plane_unlock(plane);
    }
    __atomic_store_n(&f.stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    plane_free(plane);
    rig_detach(&rig);
}

/* ---- a hostile driver: any bits in descriptors, rings, frames and windows ---- */

static uint64_t any_address(void)
{
    switch (below(8)) {
    case 0:
        return random64();
    case 1:
        return ~0ull - below(64);
    case 2:
        return RIG_IOVA + RIG_SIZE - below(300);
    default:
        return RIG_IOVA + random64() % RIG_SIZE;
    }
}

static uint64_t any_tx_word(void)
{
    uint64_t word = random64();
    uint32_t size = below(4) ? 1 + below(300) : below(16384);

    if (below(16) == 0)
        return word;
    word &= ~((uint64_t)TXD_DTYPE_MASK | (uint64_t)TXD_BUF_SZ_MASK << TXD_BUF_SZ_SHIFT);
    if (below(4) == 0) /* a context descriptor, its MSS and TSO_LEN often near what is allowed */
        return (word & ~((uint64_t)TXC_MSS_MASK << TXC_MSS_SHIFT | (uint64_t)TXC_TSO_LEN_MASK
                                                                       << TXC_TSO_LEN_SHIFT)) |
               TX_DTYPE_CONTEXT | (uint64_t)(64 + below(1500)) << TXC_MSS_SHIFT |
               (uint64_t)below(300) << TXC_TSO_LEN_SHIFT;
    if (below(2))
        word |= (uint64_t)TXD_CMD_EOP << TXD_CMD_SHIFT;
    if (below(2)) /* no offload: the frame goes through as it is */
        word &= ~((uint64_t)(TXD_CMD_IIPT_MASK | TXD_CMD_L4T_MASK) << TXD_CMD_SHIFT);
    if (below(2)) { /* nor anything else */
        word &= (uint64_t)TXD_CMD_RS << TXD_CMD_SHIFT;
        word |= (uint64_t)(TXD_CMD_EOP | TXD_CMD_ICRC) << TXD_CMD_SHIFT;
    }
    return word | (uint64_t)size << TXD_BUF_SZ_SHIFT;
}

/* A frame whose headers make some sense, so that the parser goes deep, then some bytes changed. */
static void any_frame(uint8_t *frame, uint32_t len)
{
    static const uint16_t types[] = {0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806};
    static const uint8_t protocols[] = {6, 17, 132, 1, 58, 4, 41, 47, 0, 43, 44, 60};

    for (uint32_t i = 0; i < len; i++)
        frame[i] = (uint8_t)random64();
    memcpy(frame, rig_mac, 6);
    memcpy(frame + 6, rig_mac, 6);
    rig_put16(frame + 12, types[below(5)]);
    frame[14] = (uint8_t)(below(2) ? 0x45 : 0x60);
    frame[14 + (frame[14] == 0x45 ? 9 : 6)] = protocols[below(sizeof(protocols))];
    rig_put16(frame + (frame[14] == 0x45 ? 16 : 18), below(len + 40));
    if (below(2)) {
        rig_put16(frame + 20, 0);
        rig_put16(frame + 36, below(2) ? 4789 : 6081);
    }
    if (below(3) == 0) { /* plain, for the fast path */
        rig_put16(frame + 12, 0x0800);
        frame[14] = 0x45;
        frame[23] = protocols[below(2)];
        rig_put16(frame + 16, below(2) ? len - 14 : below(len + 40));
        rig_put16(frame + 20, 0);
        return;
    }
    if (below(2) && len > 120) { /* a tunnel, with something in it */
        bool gre = below(2);
        uint32_t inner = gre ? 38 : 50;

        frame[14] = 0x45;
        rig_put16(frame + 16, len - 14);
        frame[23] = gre ? 47 : 17;
        rig_put16(frame + 34, gre ? 0 : 9);
        rig_put16(frame + 36, gre ? 0x6558 : 4789);
        rig_put16(frame + inner + 12, below(2) ? 0x0800 : 0x86dd);
        frame[inner + 14] = (uint8_t)(below(2) ? 0x45 + below(3) : 0x60);
        rig_put16(frame + inner + 16, below(len));
        rig_put16(frame + inner + 20, 0);
        frame[inner + 23] = protocols[below(3)];
    }
}

/* A context and a data descriptor for a TSO packet whose lengths agree, but for what they describe. */
static void any_tso(struct rig *rig, uint32_t tail, uint32_t entries)
{
    uint32_t mac = 14 + 2 * below(8), ip = 20 + 4 * below(12), l4 = 8 + 4 * below(8);
    uint32_t outer = 20 + 4 * below(8), tunnel = 2 * below(40), eipt = below(4);
    uint32_t header = mac + ip + l4 + (eipt ? outer + tunnel : 0);
    uint32_t payload = 1 + below(1500);
    uint32_t cmd = TXD_CMD_EOP | TXD_CMD_RS | TXD_CMD_ICRC | TXD_CMD_IIPT_IPV4_CSUM |
                   (below(2) ? TXD_CMD_L4T_TCP : TXD_CMD_L4T_UDP);
    uint8_t *frame = rig->memory + rig_buffer(below(64));

    any_frame(frame, header);
    rig->tx[tail].addr = eipt | outer / 4 << TXC_EIPLEN_SHIFT | below(3) << TXC_L4TUNT_SHIFT |
                         tunnel / 2 << TXC_L4TUNLEN_SHIFT | (below(2) ? TXC_L4T_CS : 0);
    rig->tx[tail].qw1 = TX_DTYPE_CONTEXT | (uint64_t)TXC_CMD_TSO << TXC_CMD_SHIFT |
                        (uint64_t)payload << TXC_TSO_LEN_SHIFT |
                        (uint64_t)(60 + below(700)) << TXC_MSS_SHIFT;
    tail = (tail + 1) % entries;
    rig->tx[tail].addr = RIG_IOVA + (uint64_t)(frame - rig->memory);
    rig->tx[tail].qw1 =
        rig_tx_qw1(cmd, header + payload) | (uint64_t)(mac / 2) << TXD_MACLEN_SHIFT |
        (uint64_t)(ip / 4) << TXD_IPLEN_SHIFT | (uint64_t)(l4 / 4) << TXD_L4LEN_SHIFT;
}

static void hostile_round(struct rig *rig, uint32_t entries)
{
    uint32_t burst = 1 + below(12), tail = rig->tx_tail;

    for (uint32_t i = 0; i < burst; i++) {
        uint64_t address = below(4) ? RIG_IOVA + rig_buffer(below(64)) : any_address();

        any_frame(rig->memory + rig_buffer(below(64)), 60 + below(400));
        rig->tx[tail].addr = address;
        rig->tx[tail].qw1 = any_tx_word();
        rig->rx[below(entries)].qw0 =
            below(20) ? RIG_IOVA + rig_buffer(below(entries)) : any_address();
        rig->rx[below(entries)].qw1 = below(50) ? 0 : random64();
        tail = (tail + 1) % entries;
    }
    if (below(3) == 0) {
        any_tso(rig, tail, entries);
        tail = (tail + 2) % entries;
    }
    rig->tx_tail = tail;
    rig_doorbell(rig, REG_QTX_TAIL1, below(200) ? tail : (uint32_t)random64());
    rig_doorbell(rig, REG_QRX_TAIL1, below(200) ? below(entries) : (uint32_t)random64());
}

/* The neighbour; while it is promiscuous, all frames go the general way. */
static void publish_neighbour(struct plane *plane)
{
    struct softvf_config config;
    uint64_t vlans[3 * 64] = {0};

    rig_config(&config, 1);
    config.promisc_unicast = below(4) == 0;
    config.promisc_multicast = config.symmetric = 1;
    config.strip = SOFTVF_STRIP_L2TAG2_2;
    config.hashcfg = ~0ull;
    CHECK(plane_publish(plane, 1, &config, vlans) == 0);
}

/* The stopped queue begins again, with other windows and other settings. */
static void hostile_renew(struct plane *plane, struct rig *rig, uint32_t entries)
{
    uint64_t cut = below(2) ? RIG_SIZE : 4096ull * (1 + below(RIG_SIZE / 4096 - 1));
    uint64_t vlans[3 * 64] = {random64()};
    struct softvf_config config;

    rig_config(&config, 0);
    config.spoof_check = below(2) != 0;
    config.vlan_pruning = below(8) == 0;
    config.vlan_checking = below(8) != 0;
    config.port_vlan = (uint16_t)(below(8) ? 0 : 1 + below(4));
    config.strip = (uint8_t)below(3);
    config.symmetric = below(2) != 0;
    config.hashcfg = ~0ull;
    plane_lock(plane);
    publish_neighbour(plane);
    CHECK(plane_publish(plane, 0, &config, vlans) == 0);
    plane_reset_vf(plane, 0);
    plane_dma_unmap(plane, 0, 0, 0, 1);
    bury(plane);
    CHECK(plane_dma_map(plane, 0, rig->fd, 0, RIG_IOVA, cut, 1, below(8) != 0) == 0);
    if (cut < RIG_SIZE)
        CHECK(plane_dma_map(plane, 0, rig->fd, cut, RIG_IOVA + cut, RIG_SIZE - cut, 1, 1) == 0);
    plane_configure_tx(plane, 0, 0, RIG_IOVA + below(2) * 32, entries);
    plane_configure_rx(plane, 0, 0, RIG_IOVA + RIG_RX_RING, entries, 128 + below(2048),
                       60 + below(9700), below(26), (int)below(2));
    plane_enable_queue(plane, 0, 0, 0);
    plane_enable_queue(plane, 0, 0, 1);
    plane_unlock(plane);
    rig->tx_tail = 0;
}

/* alone: no data thread, each round is served before the next; else the thread sees what it sees. */
static void test_hostile(uint32_t rounds, bool alone)
{
    struct plane *plane = new_plane(2, below(2) != 0);
    struct softvf_event event;
    uint64_t served = 0;
    struct rig rig, other;

    rig_attach(&rig, plane, 0);
    rig_attach(&other, plane, 1);
    rig_open(&rig, 96, RXDID_COMMS_OVS_1);
    rig_open(&other, 96, RXDID_LEGACY_32B);
    plane_lock(plane);
    publish_neighbour(plane);
    plane_unlock(plane);
    CHECK(alone || plane_start(plane) == 0);
    for (uint32_t round = 0; round < rounds; round++) {
        bool stopped;

        hostile_round(&rig, 96);
        rig_doorbell(&other, REG_QRX_TAIL1, below(96));
        plane_lock(plane);
        if (alone)
            served += thread_round(plane);
        stopped = plane->vf[0].tx[0].stopped || plane->vf[0].rx[0].stopped;
        while (plane_next_event(plane, &event))
            CHECK(strlen(event.text) < sizeof(event.text) && *event.text);
        plane_unlock(plane);
        if (stopped || below(256) == 0)
            hostile_renew(plane, &rig, 96);
    }
    CHECK(!alone || (served > rounds / 4 && plane->last_to)); /* both ways were taken */
    plane_free(plane);
    rig_detach(&rig);
    rig_detach(&other);
}

/* ---- a client that takes its memory away ---- */

/* docs/spec/reliability.md D2 */
static void test_truncation(void)
{
    struct plane *plane = new_plane(1, 1);
    struct softvf_event event;
    struct rig rig;
    bool reported = false;

    rig_attach(&rig, plane, 0);
    rig_open(&rig, 64, RXDID_COMMS_OVS_1);
    CHECK(ftruncate(rig.fd, 0) == 0);
    CHECK(plane_start(plane) == 0);
    rig_doorbell(&rig, REG_QTX_TAIL1, 9);
    while (!reported) {
        usleep(100);
        plane_lock(plane);
        while (plane_next_event(plane, &event))
            reported |= strcmp(event.rule, "docs/spec/reliability.md D2") == 0;
        plane_unlock(plane);
    }
    plane_free(plane);
    rig_detach(&rig);
}

int main(int argc, char **argv)
{
    uint32_t rounds = argc > 1 ? (uint32_t)atoi(argv[1]) : 2000;

    test_correct(1, rounds);
    test_correct(0, rounds);
    test_hasty(rounds / 100);
    test_hostile(rounds * 5, true);
    test_hostile(rounds, false);
    test_truncation();
    printf("softvf_plane: %u rounds, nothing found\n", rounds);
    return 0;
}
