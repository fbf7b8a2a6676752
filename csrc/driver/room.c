/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/cdef.h"

int iavfio_driver_abi(void)
{
    return 1;
}
