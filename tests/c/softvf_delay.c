/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames that wait for their time: each comes out whole, in order and never early, however often their memory is
 * used anew; and the VF is told to wait before it is full. */
#include "softvf/clock.h"
#include "softvf/delay.h"

#include "softvf_rig.h"

#define FRAMES 20000u
#define NEVER 0ull
#define EVER UINT64_MAX

static struct plane plane;
static struct vf_config config;
static uint8_t frame[MAX_FRAME_ROOM];

static uint32_t length_of(uint32_t number)
{
    return 60 + (number * 2654435761u >> 8) % (MAX_FRAME_ROOM - 60);
}

static void hold(struct vf *vf, uint32_t number)
{
    uint32_t len = length_of(number);

    memset(frame, (int)number, len);
    memcpy(frame, &number, sizeof(number));
    delay_hold(&plane, vf, frame, len);
}

static void take(struct vf *vf, uint32_t number)
{
    uint32_t len = 0, told;
    const uint8_t *found;

    CHECK(!delay_due(vf, NEVER, &len));
    found = delay_due(vf, EVER, &len);
    CHECK(found && len == length_of(number));
    memcpy(&told, found, sizeof(told));
    CHECK(told == number && found[len - 1] == (uint8_t)number);
    delay_pass(&plane, vf, len);
}

static struct vf opened(void)
{
    struct vf vf = {.index = 3, .config = &config};

    config.c.delay_us = 1000;
    CHECK(!delay_prepare(&vf) && !delay_prepare(&vf));
    return vf;
}

/* Between 1 frame and all that a turn finds room for are under way. */
static void all_come_out_whole_and_in_order(void)
{
    static struct vf vf;
    uint32_t in = 0, out = 0;

    vf = opened();
    while (out < FRAMES) {
        while (!delay_is_full(&vf) && in < FRAMES)
            hold(&vf, in++);
        CHECK(plane.delayed == 1u << 3);
        for (uint32_t i = 0; i < 300 && out < in - (in < FRAMES); i++)
            take(&vf, out++);
    }
    CHECK(!vf.delay.frames && !vf.delay.bytes && !plane.delayed);
    free(vf.delay.memory);
}

/* What a turn may send beyond it has room: nothing lies over what waits. */
static void a_turn_that_began_before_it_was_full_has_room(void)
{
    static struct vf vf;
    uint32_t in = 0, out = 0;

    vf = opened();
    for (uint32_t round = 0; round < 40; round++) {
        while (!delay_is_full(&vf))
            hold(&vf, in++);
        for (uint32_t i = 0; i < QUANTUM + FAST_PATH_BURST; i++)
            hold(&vf, in++);
        while (out < in - 1)
            take(&vf, out++);
    }
    take(&vf, out++);
    CHECK(out == in);
    free(vf.delay.memory);
}

static void a_shorter_delay_overtakes_nothing(void)
{
    static struct vf vf;
    uint64_t before = clock_ns();
    uint32_t len;

    vf = opened();
    config.c.delay_us = 1000000;
    hold(&vf, 0);
    config.c.delay_us = 0;
    CHECK(delay_holds(&vf)); /* for the one before it */
    hold(&vf, 1);
    CHECK(!delay_due(&vf, before + 999999999, &len));
    take(&vf, 0);
    CHECK(!delay_due(&vf, before + 999999999, &len));
    take(&vf, 1);
    CHECK(!delay_holds(&vf));
    free(vf.delay.memory);
}

static void what_is_forgotten_is_gone(void)
{
    static struct vf vf;
    uint32_t len;

    vf = opened();
    vf.vlan_rules = true;
    hold(&vf, 0);
    delay_forget(&plane, &vf);
    CHECK(!delay_due(&vf, EVER, &len) && !plane.delayed && vf.sends_slowly);
    config.c.delay_us = 0;
    vf.vlan_rules = false;
    delay_forget(&plane, &vf);
    CHECK(!vf.sends_slowly);
    free(vf.delay.memory);
}

int main(void)
{
    all_come_out_whole_and_in_order();
    a_turn_that_began_before_it_was_full_has_room();
    a_shorter_delay_overtakes_nothing();
    what_is_forgotten_is_gone();
    return 0;
}
