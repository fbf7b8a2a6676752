/* SPDX-License-Identifier: BSD-3-Clause */
/* The data plane's turns (docs/spec/reliability.md D4, D6): whatever one VF posts, its neighbour is served in
 * each round, and what both want is shared evenly. Counted in rounds and in work, not in time. */
#include "hw/page.h"
#include "softvf/plane.h"
#include "softvf/thread.h"

#include "softvf_rig.h"

#define VFS 8u
#define QUEUES 8u
#define ENTRIES 4096u
#define FRAME 60u
#define MSS 64u
#define PAYLOAD 250000u
#define HEADER 54u
#define ICRC_EOP_RS (TXD_CMD_ICRC | TXD_CMD_EOP | TXD_CMD_RS)

/* The work of one packet that cannot be cut: all descriptors of a ring, or a frame to all VFs. */
#define OVERDRAFT (ENTRIES + TSO_ROOM / WORK_BYTES + MAX_VFS * WORK_DELIVERY + WORK_WIRE)

struct bench {
    struct plane *plane;
    struct rig rig[VFS];
};

static uint64_t ring_at(uint32_t queue)
{
    return queue * ENTRIES * sizeof(struct tx_desc);
}

static struct tx_desc *ring_of(struct rig *rig, uint32_t queue)
{
    return (struct tx_desc *)(void *)(rig->memory + ring_at(queue));
}

static void open_vf(struct rig *rig, uint32_t queues)
{
    rig_open(rig, ENTRIES, RXDID_COMMS_OVS_1);
    plane_lock(rig->plane);
    for (uint32_t q = 1; q < queues; q++) {
        CHECK(!plane_configure_tx(rig->plane, rig->vf, q, RIG_IOVA + ring_at(q), ENTRIES));
        CHECK(!plane_enable_queue(rig->plane, rig->vf, q, 0));
    }
    plane_unlock(rig->plane);
    rig_frame(rig->memory + RIG_BUFFERS, FRAME, rig->vf, 0);
}

static void start(struct bench *bench, uint32_t queues_of_first)
{
    char error[256];

    bench->plane = plane_new(VFS, &rig_card, "none", 1, error, sizeof(error));
    CHECK(bench->plane);
    for (uint32_t vf = 0; vf < VFS; vf++) {
        rig_attach(&bench->rig[vf], bench->plane, vf);
        open_vf(&bench->rig[vf], vf ? 1 : queues_of_first);
    }
}

static void stop(struct bench *bench)
{
    plane_free(bench->plane);
    for (uint32_t vf = 0; vf < VFS; vf++)
        rig_detach(&bench->rig[vf]);
}

static void fill(struct rig *rig, uint32_t queue, uint32_t cmd, uint32_t size)
{
    for (uint32_t i = 0; i < ENTRIES; i++) {
        ring_of(rig, queue)[i].addr = RIG_IOVA + RIG_BUFFERS;
        ring_of(rig, queue)[i].qw1 = rig_tx_qw1(cmd, size);
    }
}

static uint64_t sent(const struct bench *bench, uint32_t vf, uint32_t queue)
{
    uint64_t stats[3];

    CHECK(!plane_queue_stats(bench->plane, vf, queue, 0, stats));
    return stats[0];
}

/* One frame of the neighbour, VF 1: posted before the round, done after it. */
static void round_with_neighbour(struct bench *bench, uint32_t at)
{
    struct rig *rig = &bench->rig[1];
    uint32_t slot = at % ENTRIES;

    rig->tx[slot].addr = RIG_IOVA + RIG_BUFFERS;
    rig->tx[slot].qw1 = rig_tx_qw1(ICRC_EOP_RS, FRAME);
    rig_doorbell(rig, REG_QTX_TAIL1, (slot + 1) % ENTRIES);
    thread_round(bench->plane);
    CHECK((rig->tx[slot].qw1 & TXD_DTYPE_MASK) == TX_DTYPE_DONE);
    CHECK(bench->plane->vf[0].credit > -(int32_t)OVERDRAFT);
}

static void many_queues_against_one(void)
{
    struct bench bench;
    uint64_t first = 0, least = ~0ull, most = 0;

    start(&bench, QUEUES);
    for (uint32_t q = 0; q < QUEUES; q++) {
        fill(&bench.rig[0], q, ICRC_EOP_RS, FRAME);
        rig_doorbell(&bench.rig[0], REG_QTX_TAIL1 + 4 * q, ENTRIES - 1);
    }
    fill(&bench.rig[1], 0, ICRC_EOP_RS, FRAME);
    rig_doorbell(&bench.rig[1], REG_QTX_TAIL1, ENTRIES - 1);
    for (uint32_t i = 0; i < 24; i++)
        thread_round(bench.plane);
    for (uint32_t q = 0; q < QUEUES; q++) {
        uint64_t here = sent(&bench, 0, q);

        first += here;
        least = here < least ? here : least;
        most = here > most ? here : most;
    }
    CHECK(sent(&bench, 1, 0) * 10 >= first * 9 && sent(&bench, 1, 0) * 9 <= first * 10);
    CHECK(most - least <= ROUND); /* the queues of one VF are served in turn */
    stop(&bench);
}

static void segments_to_everybody(void)
{
    static const uint8_t all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    uint32_t segments = (PAYLOAD + MSS - 1) / MSS, rounds = 0, slot = 0;
    uint64_t data = rig_tx_qw1(TXD_CMD_ICRC | TXD_CMD_IIPT_IPV4_CSUM | TXD_CMD_L4T_TCP, 0) |
                    7ull << TXD_MACLEN_SHIFT | 5ull << TXD_IPLEN_SHIFT | 5ull << TXD_L4LEN_SHIFT;
    struct bench bench;
    uint8_t *frame;

    start(&bench, 1);
    frame = bench.rig[0].memory + RIG_BUFFERS;
    memcpy(frame, all, 6);
    frame[23] = 6;
    frame[46] = 0x50;
    bench.rig[0].tx[slot].addr = 0;
    bench.rig[0].tx[slot++].qw1 = TX_DTYPE_CONTEXT | (uint64_t)TXC_CMD_TSO << TXC_CMD_SHIFT |
                                  (uint64_t)PAYLOAD << TXC_TSO_LEN_SHIFT |
                                  (uint64_t)MSS << TXC_MSS_SHIFT;
    for (uint32_t left = PAYLOAD + HEADER, size; left; left -= size) {
        size = left < 16000 ? left : 16000;
        bench.rig[0].tx[slot].addr =
            RIG_IOVA + RIG_BUFFERS + (PAYLOAD + HEADER - left) % (RIG_SIZE / 2);
        bench.rig[0].tx[slot++].qw1 =
            data | (uint64_t)size << TXD_BUF_SZ_SHIFT |
            (size == left ? (uint64_t)(TXD_CMD_EOP | TXD_CMD_RS) << TXD_CMD_SHIFT : 0);
    }
    rig_doorbell(&bench.rig[0], REG_QTX_TAIL1, slot);
    while ((bench.rig[0].tx[slot - 1].qw1 & TXD_DTYPE_MASK) != TX_DTYPE_DONE) {
        uint64_t before = sent(&bench, 0, 0), now;

        round_with_neighbour(&bench, rounds++);
        now = sent(&bench, 0, 0);
        CHECK(now - before <= QUANTUM / WORK_SEGMENT);
        CHECK(rounds < 100 * segments);
    }
    CHECK(sent(&bench, 0, 0) == segments); /* none is lost or sent twice where they were cut */
    CHECK(rounds >= segments * (VFS - 1) * WORK_DELIVERY / QUANTUM);
    stop(&bench);
}

/* While a packet is put off, plain frames of the VF's other queues go on, and a reset forgets it. */
static void a_reset_forgets_what_was_put_off(void)
{
    struct bench bench;

    start(&bench, 2);
    bench.plane->vf[0].unfinished.active = true;
    bench.plane->vf[0].unfinished.queue = 0;
    plane_lock(bench.plane);
    plane_reset_vf(bench.plane, 0);
    plane_unlock(bench.plane);
    CHECK(!bench.plane->vf[0].unfinished.active);
    stop(&bench);
}

/* The doorbell of each queue rings before each round, and no packet has an end. */
static void packets_without_an_end(void)
{
    struct bench bench;

    start(&bench, QUEUES);
    for (uint32_t q = 0; q < QUEUES; q++)
        fill(&bench.rig[0], q, TXD_CMD_ICRC, 63);
    for (uint32_t at = 0; at < 3000; at++) {
        for (uint32_t q = 0; q < QUEUES; q++)
            rig_doorbell(&bench.rig[0], REG_QTX_TAIL1 + 4 * q,
                         at < 100 ? 4000 + at % 90 : 10 + (at * 1001) % 4000);
        round_with_neighbour(&bench, at);
        if (at >
            300) /* all has been looked at once: nothing is done again, wherever the tail jumps */
            CHECK(bench.plane->vf[0].credit >= (int32_t)(QUANTUM - QUEUES));
    }
    stop(&bench);
}

/* As a guest's vIOMMU maps: a window a page. Each buffer begins in one and ends in the next. */
static void buffers_in_two_windows(void)
{
    struct bench bench;
    const struct vf *vf;

    start(&bench, 1);
    vf = &bench.plane->vf[0];
    plane_lock(bench.plane);
    plane_dma_unmap(bench.plane, 0, 0, 0, 1);
    for (uint64_t at = 0; at < RIG_SIZE; at += PAGE_BYTES)
        CHECK(!plane_dma_map(bench.plane, 0, bench.rig[0].fd, at, RIG_IOVA + at, PAGE_BYTES, 1, 1));
    plane_unlock(bench.plane);
    fill(&bench.rig[0], 0, ICRC_EOP_RS | TXD_CMD_DUMMY, FRAME);
    for (uint32_t i = 0; i < ENTRIES; i++)
        ring_of(&bench.rig[0], 0)[i].addr =
            RIG_IOVA + RIG_BUFFERS + (1 + i * 7 % 1024) * PAGE_BYTES - FRAME / 2;
    rig_doorbell(&bench.rig[0], REG_QTX_TAIL1, ENTRIES - 1);
    for (uint32_t at = 0; at < 32; at++) {
        uint32_t before = vf->dma.searches, taken = vf->tx[0].taken;

        round_with_neighbour(&bench, at);
        CHECK(vf->tx[0].taken > taken);
        CHECK(vf->dma.searches - before <= QUANTUM + 8);
    }
    stop(&bench);
}

int main(void)
{
    many_queues_against_one();
    segments_to_everybody();
    a_reset_forgets_what_was_put_off();
    packets_without_an_end();
    buffers_in_two_windows();
    puts("turns: fair");
    return 0;
}
