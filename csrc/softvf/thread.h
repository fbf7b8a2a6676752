/* SPDX-License-Identifier: BSD-3-Clause */
/* The data thread. Harnesses run its rounds without it. */
#ifndef IAVFIO_SOFTVF_THREAD_H
#define IAVFIO_SOFTVF_THREAD_H

#include "softvf/plane.h"

/* One round over everything; returns about how many packets were moved. */
uint32_t thread_round(struct plane *plane);

#endif
