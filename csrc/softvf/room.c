/* SPDX-License-Identifier: BSD-3-Clause */
#include "softvf/cdef.h"

int iavfio_softvf_abi(void)
{
    return 1;
}
