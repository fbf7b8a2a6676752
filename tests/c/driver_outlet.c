/* SPDX-License-Identifier: BSD-3-Clause */
/* What a handler sends while the device takes nothing: it goes out later, each packet once and in its order. */
#include "rig.h"

#define ENTRIES 128
#define BUFFERS 2048
#define ALL 400

/* Sends every packet back. */
static void answer(uint64_t n, uint8_t *const *data, const uint32_t *length,
                   const struct handler_columns *columns, uint32_t *action, void *state)
{
    (void)data;
    (void)length;
    (void)columns;
    (void)state;
    for (uint64_t i = 0; i < n; i++)
        action[i] = ACTION_TX;
}

int main(void)
{
    struct rig rig;
    struct worker *worker;
    struct worker_counters c;
    struct worker_config config = {
        .mode = WORKER_HANDLER, .pairs = 1, .burst = 32, .cpu = -1, .handler = answer, .tx = 1};
    uint32_t in = 0, out = 0;
    int error;

    rig_new(&rig, ENTRIES, BUFFERS);
    config.pair[0] = rig.pair;
    worker = worker_start(&config, &error);
    assert(worker && !error);
    while (out < ALL) {
        uint32_t tail;

        for (; in < ALL && rig_rx_room(&rig); in++) {
            memcpy(rig_rx_buffer(&rig), &in, sizeof(in));
            rig_rx(&rig, 60, RIG_EOP);
        }
        usleep(100);
        tail = __atomic_load_n(&rig.tx_tail, __ATOMIC_ACQUIRE);
        /* The device begins when its ring is full, or nothing more will come. */
        if (in < ALL && (tail + ENTRIES - rig.tx_head) % ENTRIES < ENTRIES - 1)
            continue;
        for (; rig.tx_head != tail; rig.tx_head = (rig.tx_head + 1) % ENTRIES, out++) {
            struct tx_desc *desc = &rig.tx[rig.tx_head];

            assert(!memcmp(rig.memory + (desc->addr - RIG_IOVA), &out, sizeof(out)));
            if (desc->qw1 >> 4 & 2) /* a report was asked for */
                __atomic_store_n(&desc->qw1, desc->qw1 | 0xf, __ATOMIC_RELEASE);
        }
    }
    worker_stop(worker);
    c = *worker_counters(worker);
    worker_free(worker);
    assert(c.sent == ALL && c.received == ALL && !c.refused && !c.invalid);
    assert(rig.sq->busy > 0); /* the ring was full */
    rig_end(&rig);
    puts("driver_outlet ok");
    return 0;
}
