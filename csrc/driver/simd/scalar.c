/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/simd/rx_loop.h"

RECEIVE_ALL(scalar, SCALAR_LANES)
