/* SPDX-License-Identifier: BSD-3-Clause */
#include "vfio/cdef.h"

int iavfio_vfio_abi(void)
{
    return 1;
}
