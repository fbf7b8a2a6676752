/* SPDX-License-Identifier: BSD-3-Clause */
/* What the data thread reports, in words, and not more often than somebody can read it. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "softvf/clock.h"
#include "softvf/report.h"

#define REPORTS_PER_WINDOW 8
#define WINDOW_NS 1000000000ull

/* A driver that breaks a rule with each packet must not cost a message each. Returns how many
 * occurrences this message stands for, 0 when it is held back. */
static uint32_t admit(struct limiter *limiters, const char *format)
{
    uint64_t now = clock_ns();
    struct limiter *limiter = NULL;
    uint32_t count;

    for (uint32_t i = 0; i < LIMITERS && !limiter; i++)
        if (limiters[i].format == format || !limiters[i].format)
            limiter = &limiters[i];
    if (!limiter)
        return 1;
    if (limiter->format != format || now - limiter->since_ns > WINDOW_NS) {
        limiter->format = format;
        limiter->since_ns = now;
        limiter->reported = 0;
    }
    if (limiter->reported == REPORTS_PER_WINDOW) {
        limiter->held_back++;
        return 0;
    }
    limiter->reported++;
    count = limiter->held_back + 1;
    limiter->held_back = 0;
    return count;
}

void report_wake(struct plane *plane)
{
    uint64_t one = 1;

    if (write(plane->event_fd, &one, sizeof(one)) < 0)
        return; /* already readable */
}

void report(struct plane *plane, struct vf *vf, uint32_t kind, const char *rule, const char *format,
            ...)
{
    uint32_t next = (plane->event_tail + 1) % SOFTVF_EVENTS;
    struct softvf_event *event = &plane->events[plane->event_tail];
    uint32_t count;
    va_list args;

    if (kind == SOFTVF_VIOLATION || kind == SOFTVF_MDD)
        vf->violations++;
    count = admit(vf ? vf->limiter : plane->limiter, format);
    if (!count)
        return;
    if (next == plane->event_head) {
        plane->events_lost += count;
        return;
    }
    event->vf = vf ? vf->index : SOFTVF_NO_VF;
    event->kind = kind;
    event->count = count;
    snprintf(event->rule, sizeof(event->rule), "%s", rule);
    va_start(args, format);
    vsnprintf(event->text, sizeof(event->text), format, args);
    va_end(args);
    plane->event_tail = next;
    report_wake(plane);
}

int plane_next_event(struct plane *plane, struct softvf_event *event)
{
    if (plane->event_head == plane->event_tail)
        return 0;
    *event = plane->events[plane->event_head];
    plane->event_head = (plane->event_head + 1) % SOFTVF_EVENTS;
    return 1;
}

uint32_t plane_events_lost(struct plane *plane)
{
    return plane->events_lost;
}

uint64_t plane_violations(struct plane *plane, uint32_t vf)
{
    return plane->vf[vf].violations;
}

int plane_event_fd(const struct plane *plane)
{
    return plane->event_fd;
}
