/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_VFIO_VU_CONN_H
#define IAVFIO_VFIO_VU_CONN_H

/* What C code of this room and of preload needs of a connection. */
#include "hw/vfio_user.h"
#include "vfio/cdef.h"

#endif
