/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_DRIVER_ISA_TABLE_H
#define IAVFIO_DRIVER_ISA_TABLE_H

#include "driver/simd/isa.h"

/* The best instruction set that this CPU has, or the one with the wanted number (enum pair_isa); NULL when
 * the CPU does not have that one. */
const struct isa *isa_choose(uint32_t wanted);

#endif
