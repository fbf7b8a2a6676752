/* SPDX-License-Identifier: BSD-3-Clause */
/* What the data thread has to say. */
#ifndef IAVFIO_SOFTVF_REPORT_H
#define IAVFIO_SOFTVF_REPORT_H

#include "softvf/plane.h"

/* Tells the software VF's process what a client did wrong. `rule`: the page of docs/spec and its section
 * that have the rule; `vf`: NULL for what is of no VF (SOFTVF_UPLINK only); `format` and what follows: the rule and how it was broken, in words. Many reports of one
 * format are held back; the next one that is let through counts for them. */
void report(struct plane *plane, struct vf *vf, uint32_t kind, const char *rule, const char *format,
            ...) __attribute__((format(printf, 5, 6)));

/* Makes the process look at what there is, also when a report was held back. */
void report_wake(struct plane *plane);

#endif
