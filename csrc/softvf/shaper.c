/* SPDX-License-Identifier: BSD-3-Clause */
#include "softvf/shaper.h"

/* What a VF that sends nothing does not use within so much time is gone: the longest burst above the rate. The
 * last frame of a burst may overdraw it, and is paid back before the next one. */
#define DEPTH_NS 2000000ull
#define LONGEST_NS 1000000000ull /* that the thread is away, at most */
#define NS_PER_BIT 1000 /* at 1 Mbit/s */

bool shaper_open(struct vf *vf, uint64_t now_ns)
{
    struct shaper *shaper = &vf->shaper;
    uint64_t rate = vf->config->c.rate;
    uint64_t since = now_ns - shaper->filled_ns;
    int64_t most = (int64_t)((shaper->backlog ? LONGEST_NS : DEPTH_NS) * rate / NS_PER_BIT);
    uint64_t bits = (since < LONGEST_NS ? since : LONGEST_NS) * rate / NS_PER_BIT;

    if (bits) { /* what is left of the time adds up to the next bit */
        shaper->filled_ns =
            since < LONGEST_NS ? shaper->filled_ns + bits * NS_PER_BIT / rate : now_ns;
        shaper->bits += (int64_t)bits;
        if (shaper->bits > most)
            shaper->bits = most;
    }
    return shaper->bits > 0;
}

bool shaper_waits(const struct vf *vf)
{
    return vf->config->c.rate && vf->shaper.bits <= 0;
}

uint64_t shaper_sent(const struct tx_queue *queue)
{
    return 8 * (queue->bytes + ETHER_FCS * queue->packets);
}

void shaper_charge(struct vf *vf, uint64_t bits)
{
    if (vf->config->c.rate)
        vf->shaper.bits -= (int64_t)bits;
}
