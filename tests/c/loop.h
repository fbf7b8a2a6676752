/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef TESTS_C_LOOP_H
#define TESTS_C_LOOP_H

/* A device of a rig's queue pair: a thread that loops every frame back, and can lose, repeat, swap or
 * spoil one. */
#include <pthread.h>
#include <time.h>

#include "rig.h"

enum fault { FAULT_NONE, FAULT_LOSE, FAULT_REPEAT, FAULT_SWAP, FAULT_SPOIL };

struct loop {
    struct rig *rig;
    uint32_t stop;
    uint32_t pause;
    uint64_t seen;
    uint64_t fault_at; /* every so many frames */
    enum fault fault;
    uint64_t faults;
    uint8_t frame[2][16384];
    uint32_t length[2];
    bool held;
    pthread_t thread;
};

static uint32_t sum16(const uint8_t *bytes, uint32_t length, uint32_t sum)
{
    for (uint32_t i = 0; i < length; i++)
        sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return sum;
}

/* Golden facts of a generated frame (RFC 791, RFC 768). */
static void check_frame(const uint8_t *frame, uint32_t length)
{
    uint32_t pseudo;

    assert(frame[12] == 8 && frame[13] == 0 && frame[14] == 0x45 && frame[23] == 17);
    assert((uint32_t)(frame[16] << 8 | frame[17]) == length - 14);
    assert((uint32_t)(frame[38] << 8 | frame[39]) == length - 34);
    assert(sum16(frame + 14, 20, 0) == 0xffff);
    pseudo = sum16(frame + 26, 8, 17 + length - 34);
    assert((frame[40] | frame[41]) && sum16(frame + 34, length - 34, pseudo) == 0xffff);
}

static void deliver(struct loop *loop, const uint8_t *frame, uint32_t length)
{
    struct rig *rig = loop->rig;

    while (length) {
        uint32_t size = length < rig->config.buffer_size ? length : rig->config.buffer_size;

        while (!rig_rx_room(rig))
            if (__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE))
                return;
        memcpy(rig_rx_buffer(rig), frame, size);
        length -= size;
        frame += size;
        rig_rx_raw(rig, 0, 1 | (length ? 0 : RIG_EOP) | (uint64_t)size << 38, 0, 0);
    }
}

static void *run_loop(void *argument)
{
    struct loop *loop = argument;
    struct rig *rig = loop->rig;
    uint32_t at = 0;

    while (!__atomic_load_n(&loop->stop, __ATOMIC_ACQUIRE)) {
        uint32_t tail = __atomic_load_n(&rig->tx_tail, __ATOMIC_ACQUIRE);

        if (rig->tx_head == tail || __atomic_load_n(&loop->pause, __ATOMIC_ACQUIRE)) {
            struct timespec pause = {.tv_nsec = 20000};

            nanosleep(&pause, NULL);
            continue;
        }
        while (rig->tx_head != tail) {
            struct tx_desc *desc = &rig->tx[rig->tx_head];
            uint64_t qw1 = __atomic_load_n(&desc->qw1, __ATOMIC_RELAXED);
            uint32_t size = (uint32_t)(qw1 >> 34) & 0x3fff;
            uint32_t which = loop->held ? 1 : 0;
            uint8_t *frame = loop->frame[which];

            memcpy(frame + at, rig->memory + (desc->addr - RIG_IOVA), size);
            at += size;
            if (qw1 >> 4 & 2)
                __atomic_store_n(&desc->qw1, qw1 | 0xf, __ATOMIC_RELEASE);
            rig->tx_head = (rig->tx_head + 1) % rig->config.tx_entries;
            if (!(qw1 >> 4 & 1))
                continue;
            check_frame(frame, at);
            loop->seen++;
            if (loop->held) {
                deliver(loop, frame, at);
                deliver(loop, loop->frame[0], loop->length[0]);
                loop->held = false;
            } else if (loop->fault && loop->seen % loop->fault_at == 0) {
                loop->faults++;
                switch (loop->fault) {
                case FAULT_REPEAT:
                    deliver(loop, frame, at);
                    deliver(loop, frame, at);
                    break;
                case FAULT_SWAP:
                    loop->length[0] = at;
                    loop->held = true;
                    break;
                case FAULT_SPOIL:
                    frame[at - 1] ^= 1;
                    deliver(loop, frame, at);
                    break;
                default:
                    break;
                }
            } else {
                deliver(loop, frame, at);
            }
            at = 0;
        }
    }
    return NULL;
}

static void loop_start(struct loop *loop, struct rig *rig)
{
    loop->rig = rig;
    assert(!pthread_create(&loop->thread, NULL, run_loop, loop));
}

static void loop_end(struct loop *loop)
{
    __atomic_store_n(&loop->stop, 1, __ATOMIC_RELEASE);
    pthread_join(loop->thread, NULL);
}

#endif
