/* SPDX-License-Identifier: BSD-3-Clause */
/* How fast the data plane is: one queue a VF, loop-back through one VF or two VFs that send to each
 * other through the switch, a driver that spins on another core; with SECONDS 0 the device's own cost,
 * driver and device in turns on one core. Slices are short: on a busy machine the best of them is one in
 * which nobody else had either core.
 * usage: softvf_speed [SECONDS [FRAME_BYTES_WITH_FCS [RXDID [RING [VFS]]]]]; prints one JSON object. */
#include <pthread.h>
#include <sched.h>
#include <time.h>

#include "softvf/client.h"
#include "softvf/plane.h"
#include "softvf/thread.h"
#include "softvf_rig.h"

enum { GROUP = 32, SLICE_NS = 2000000 };

static uint64_t now_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000ull + (uint64_t)ts.tv_nsec;
}

static void pin(uint32_t cpu)
{
    cpu_set_t set;

    CPU_ZERO(&set);
    CPU_SET(cpu, &set);
    sched_setaffinity(0, sizeof(set), &set);
}

/* Posts as many groups as the ring and `room`, packets that the other end can take, allow. */
static uint32_t post(struct rig *rig, uint32_t len, uint64_t room)
{
    uint32_t posted = 0;

    uint32_t used = rig->tx_tail >= rig->tx_head ? rig->tx_tail - rig->tx_head
                                                 : rig->tx_tail + rig->entries - rig->tx_head;

    /* RS stands on the last descriptor of each group: its write-back frees the whole group. */
    while (used >= GROUP) {
        uint32_t last = rig->tx_head + GROUP - 1;

        if ((__atomic_load_n(&rig->tx[last].qw1, __ATOMIC_ACQUIRE) & TXD_DTYPE_MASK) !=
            TX_DTYPE_DONE)
            break;
        rig->tx_head = last + 1 == rig->entries ? 0 : last + 1;
        used -= GROUP;
    }
    for (; rig->entries - used > GROUP && posted + GROUP <= room; posted += GROUP) {
        for (uint32_t i = 0; i < GROUP; i++)
            prefetch_write(rig->memory + rig_buffer(rig->tx_tail + i));
        for (uint32_t i = 0; i < GROUP; i++) {
            uint32_t at = rig->tx_tail;
            uint32_t cmd = TXD_CMD_EOP | TXD_CMD_ICRC | (i == GROUP - 1 ? TXD_CMD_RS : 0);

            /* The driver writes what it sends and looks at what it receives, or no payload would travel. */
            memcpy(rig->memory + rig_buffer(at), rig->memory + rig_buffer(rig->entries * 2), len);
            rig_put16(rig->memory + rig_buffer(at) + 34, 1024 + at % 61); /* the flow */
            rig->tx[at].addr = RIG_IOVA + rig_buffer(at);
            rig->tx[at].qw1 = rig_tx_qw1(cmd, len);
            rig->tx_tail = rig_next(rig, at);
        }
        used += GROUP;
        rig_doorbell(rig, REG_QTX_TAIL1, rig->tx_tail);
    }
    return posted;
}

static uint32_t reap(struct rig *rig, uint64_t *sum)
{
    const struct rx_desc *first = &rig->rx[rig->rx_head], *last = first + GROUP - 1;
    uint32_t n = 0;

    if (rig->rx_head % GROUP == 0 && __atomic_load_n(&last->qw1, __ATOMIC_ACQUIRE) & RXL_DD)
        for (uint32_t i = 0; i < GROUP; i++) {
            prefetch_write(&first[i]); /* all will be posted again */
            __builtin_prefetch(rig->memory + rig_buffer(rig->entries + rig->rx_head + i));
        }
    for (; n < GROUP; n++) {
        struct rx_desc *desc = &rig->rx[rig->rx_head];
        uint64_t qw1 = __atomic_load_n(&desc->qw1, __ATOMIC_ACQUIRE);

        if (!(qw1 & RXL_DD))
            break;
        *sum += rig->memory[rig_buffer(rig->entries + rig->rx_head)];
        desc->qw0 = RIG_IOVA + rig_buffer(rig->entries + rig->rx_head);
        desc->qw1 = 0;
        rig->rx_head = rig_next(rig, rig->rx_head);
    }
    if (n) {
        rig->rx_tail = rig->rx_head ? rig->rx_head - 1 : rig->entries - 1;
        rig->rx[rig->rx_tail].qw1 = 0;
        rig_doorbell(rig, REG_QRX_TAIL1, rig->rx_tail);
    }
    return n;
}

static uint64_t drive(struct rig *rigs, uint32_t vfs, uint32_t len, uint64_t *sum,
                      uint64_t *in_flight)
{
    uint64_t received = 0;

    for (uint32_t i = 0; i < 64; i++) {
        for (uint32_t vf = 0; vf < vfs; vf++) {
            uint32_t n = reap(&rigs[vf], sum);

            received += n;
            *in_flight += post(&rigs[vf], len, rigs->entries - GROUP - *in_flight);
            *in_flight -= n;
        }
    }
    return received;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* The device's own cost: driver and device take turns in one thread, only the device is timed. */
static void device_alone(struct rig *rigs, uint32_t vfs, uint32_t len)
{
    enum { TURNS = 20000 };
    double *ns = calloc(TURNS, sizeof(*ns));
    uint64_t sum = 0;

    CHECK(ns);
    for (uint32_t turn = 0; turn < TURNS; turn++) {
        uint64_t start;
        uint32_t moved = 0;

        for (uint32_t vf = 0; vf < vfs; vf++)
            post(&rigs[vf], len, ~0ull);
        start = now_ns();
        for (uint32_t i = 0; i < 4; i++)
            moved += thread_round(rigs->plane);
        ns[turn] = (double)(now_ns() - start) / moved;
        for (uint32_t vf = 0; vf < vfs; vf++)
            while (reap(&rigs[vf], &sum))
                ;
    }
    qsort(ns, TURNS, sizeof(*ns), compare);
    printf("{\"device_ns_per_packet\": {\"best\": %.1f, \"median\": %.1f}}\n", ns[0],
           ns[TURNS / 2]);
    free(ns);
}

static void two_cores(struct rig *rigs, uint32_t vfs, uint32_t len, double seconds)
{
    enum { SLICES = 8192 };
    static double mpps[SLICES];
    uint64_t sum = 0, discards = 0, in_flight = 0;
    uint32_t slices = (uint32_t)(seconds * 1e9 / SLICE_NS);

    slices = slices > SLICES ? SLICES : slices < 1 ? 1 : slices;
    for (uint32_t slice = 0; slice < slices; slice++) {
        uint64_t start = now_ns(), now = start, received = 0;

        for (; now - start < SLICE_NS; now = now_ns())
            received += drive(rigs, vfs, len, &sum, &in_flight);
        mpps[slice] = (double)received * 1e3 / (double)(now - start);
    }
    qsort(mpps, slices, sizeof(*mpps), compare);
    for (uint32_t vf = 0; vf < vfs; vf++) {
        uint64_t stats[12];

        plane_lock(rigs->plane);
        plane_stats(rigs->plane, vf, stats);
        plane_unlock(rigs->plane);
        discards += stats[RX_DISCARD];
    }
    printf("{\"frame\": %u, \"ring\": %u, \"vfs\": %u, \"mpps\": {\"best\": %.2f, \"p90\": %.2f, "
           "\"median\": %.2f}, \"gbps_best\": %.2f, \"discards\": %llu}\n",
           len + 4, rigs->entries, vfs, mpps[slices - 1], mpps[slices * 9 / 10], mpps[slices / 2],
           mpps[slices - 1] * (len + 4) * 8e-3, (unsigned long long)discards);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 1.0;
    uint32_t len = (argc > 2 ? (uint32_t)atoi(argv[2]) : 64) - 4;
    uint32_t rxdid = argc > 3 ? (uint32_t)atoi(argv[3]) : RXDID_COMMS_OVS_1;
    uint32_t ring = argc > 4 ? (uint32_t)atoi(argv[4]) : 1024;
    uint32_t vfs = argc > 5 ? (uint32_t)atoi(argv[5]) : 1;
    char error[256];
    struct plane *plane = plane_new(2, &rig_card, "loopback", 1, error, sizeof(error));
    struct rig rigs[2];

    CHECK(plane && ring % GROUP == 0 && ring <= 4096 && len >= 60 && len <= 2048);
    CHECK(vfs == 1 || vfs == 2);
    for (uint32_t vf = 0; vf < vfs; vf++) {
        rig_attach(&rigs[vf], plane, vf);
        rig_open(&rigs[vf], ring, rxdid);
        uint8_t *frame = rigs[vf].memory + rig_buffer(ring * 2); /* of which all are copies */

        rig_frame(frame, len, vf, 0);
        frame[5] = (uint8_t)(rig_mac[5] + (vfs == 2 ? !vf : vf));
    }
    pin(0); /* the data thread inherits it */
    if (seconds == 0) {
        device_alone(rigs, vfs, len);
    } else {
        CHECK(plane_start(plane) == 0);
        pin(1);
        two_cores(rigs, vfs, len, seconds);
    }
    plane_free(plane);
    for (uint32_t vf = 0; vf < vfs; vf++)
        rig_detach(&rigs[vf]);
    return 0;
}
