/* SPDX-License-Identifier: BSD-3-Clause */
/* Eventfds of clients, signalled so that no client can make the caller wait. */
#ifndef IAVFIO_SOFTVF_SIGNAL_H
#define IAVFIO_SOFTVF_SIGNAL_H

#include "softvf/plane.h"

/* 0 or a negative errno. */
int signal_open(struct signaller *signaller);
void signal_close(struct signaller *signaller);
/* Whether no signal of the VF is on its way still. */
bool signal_ready(struct signaller *signaller, uint32_t vf);
/* Adds 1 to an eventfd of a VF's client; a counter that is full stays so. The ns that it took where that was too
 * long, after which a thread of the least priority signals for this VF for a minute; else 0. */
uint64_t signal_send(struct signaller *signaller, uint32_t vf, int fd);

#endif
