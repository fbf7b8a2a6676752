/* SPDX-License-Identifier: BSD-3-Clause */
/* Eventfds of clients, signalled so that no client can make the caller wait. */
#ifndef IAVFIO_SOFTVF_SIGNAL_H
#define IAVFIO_SOFTVF_SIGNAL_H

#include "softvf/plane.h"

/* 0 or a negative errno. */
int signal_open(struct signaller *signaller);
void signal_close(struct signaller *signaller);
/* Adds 1 to an eventfd; a counter that is full stays so. */
void signal_send(struct signaller *signaller, int fd);

#endif
