/* SPDX-License-Identifier: BSD-3-Clause */
#include "driver/receive.h"

RECEIVE_ALL(scalar, SCALAR_LANES)
