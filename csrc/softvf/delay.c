/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>

#include "softvf/clock.h"
#include "softvf/delay.h"

#define ROOM (16u << 20) /* bytes of a VF's frames that are under way, at most */
#define FULL                                                                                       \
    (ROOM / 2) /* a VF whose turn begins below it finds room for all that it may send in it */
#define NS_PER_US 1000ull
#define SKIP 0xffffffffu

/* What lies before each frame. The memory is used round and round, and no frame lies over its end. */
struct held {
    uint64_t due_ns;
    uint32_t len; /* SKIP: nothing more lies before the memory's end */
};

_Static_assert((QUANTUM + FAST_PATH_BURST) * (MAX_FRAME_ROOM + sizeof(struct held) + 8) <
                   ROOM - FULL,
               "what a turn sends has room");

static uint32_t taken_by(uint32_t len)
{
    return ((uint32_t)sizeof(struct held) + len + 7) & ~7u;
}

int delay_prepare(struct vf *vf)
{
    if (!vf->delay.memory)
        vf->delay.memory = malloc(ROOM);
    return vf->delay.memory ? 0 : -ENOMEM;
}

bool delay_is_full(const struct vf *vf)
{
    return vf->delay.bytes > FULL;
}

static struct held *place(struct delay_line *line, uint32_t need)
{
    uint32_t left = ROOM - line->tail;
    struct held *held;

    if (left < need) {
        if (left >= sizeof(*held))
            ((struct held *)(line->memory + line->tail))->len = SKIP;
        line->bytes += left;
        line->tail = 0;
    }
    held = (struct held *)(line->memory + line->tail);
    line->tail += need;
    line->bytes += need;
    return held;
}

void delay_hold(struct plane *plane, struct vf *vf, const uint8_t *frame, uint32_t len)
{
    struct delay_line *line = &vf->delay;
    uint64_t due = clock_ns() + vf->config->c.delay_us * NS_PER_US;
    struct held *held = place(line, taken_by(len));

    line->due_ns = due > line->due_ns ? due : line->due_ns; /* after a longer delay, too */
    *held = (struct held){.due_ns = line->due_ns, .len = len};
    memcpy(held + 1, frame, len);
    line->frames++;
    plane->delayed |= 1ull << vf->index;
}

const uint8_t *delay_due(struct vf *vf, uint64_t now_ns, uint32_t *len)
{
    struct delay_line *line = &vf->delay;
    uint32_t left = ROOM - line->head;
    const struct held *held;

    if (!line->frames)
        return NULL;
    if (left < sizeof(*held) || ((struct held *)(line->memory + line->head))->len == SKIP) {
        line->bytes -= left;
        line->head = 0;
    }
    held = (struct held *)(line->memory + line->head);
    *len = held->len;
    return held->due_ns <= now_ns ? (const uint8_t *)(held + 1) : NULL;
}

void delay_pass(struct plane *plane, struct vf *vf, uint32_t len)
{
    struct delay_line *line = &vf->delay;

    line->head += taken_by(len);
    line->bytes -= taken_by(len);
    if (!--line->frames)
        delay_forget(plane, vf);
}

void delay_forget(struct plane *plane, struct vf *vf)
{
    vf->delay = (struct delay_line){.memory = vf->delay.memory};
    vf->sends_slowly = vf->vlan_rules || delay_holds(vf);
    plane->delayed &= ~(1ull << vf->index);
}
