/* SPDX-License-Identifier: BSD-3-Clause */
/* Bus errors in a client's memory, which a thread survives between sigbus_enter and sigbus_leave. */
#ifndef IAVFIO_SOFTVF_SIGBUS_H
#define IAVFIO_SOFTVF_SIGBUS_H

#include "softvf/plane.h"

/* 0 or a negative errno. */
int sigbus_install(void);
void sigbus_enter(struct plane *plane);
/* Condemns the clients whose memory went away meanwhile. */
void sigbus_leave(struct plane *plane);

#endif
