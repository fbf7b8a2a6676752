/* SPDX-License-Identifier: BSD-3-Clause */
/* When each frame of a capture comes from the wire: as it was captured, faster or slower, or at a rate. */
#ifndef IAVFIO_SOFTVF_UPLINK_PACE_H
#define IAVFIO_SOFTVF_UPLINK_PACE_H

#include <stdbool.h>
#include <stdint.h>

#define PACE_NEVER (1ull << 62) /* ns, 146 years: whatever is due later is due then */

struct pace {
    double speed; /* times as fast as captured; 0: not by the times of the capture */
    double gap; /* ns from frame to frame, where speed is 0; 0: at once */
    uint64_t begun; /* the first frame's time, by CLOCK_MONOTONIC; 0: it has not come */
    uint64_t frames; /* of all rounds, at a rate */
    uint64_t base; /* where this round begins, ns after the first one */
    uint64_t first,
        latest; /* this round's: when the first frame was captured, when the last was due */
    uint64_t in_round; /* frames */
};

/* "original", "xF", "max", or frames a second such as 1000 or 10kpps; -1 for anything else. */
int pace_parse(struct pace *pace, const char *text);
/* When the next frame is due, in ns after the first one; `captured`: its time in the capture, in ns. Frames
 * whose times go backwards are due with the one before. */
uint64_t pace_due(struct pace *pace, uint64_t captured);
/* A round is over: the next one begins a mean gap after its last frame. */
void pace_round(struct pace *pace);

static inline bool pace_is_set(const struct pace *pace)
{
    return pace->speed > 0 || pace->gap > 0;
}

#endif
