// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* What the two halves of the ice judge share. */
#ifndef JUDGE_ICE_H
#define JUDGE_ICE_H

#include "ice.h"

enum { OUT_MESSAGE = 1, OUT_COMMAND, OUT_END, OUT_REGISTER };

/* Writes one frame to the host. */
void judge_put(u32 kind, u32 vf, u32 opcode, u32 retval, const void *data, u32 len);

/* The next `count` admin-queue commands of this opcode fail. */
void judge_refuse(u32 opcode, u32 count);

int judge_sq_send_cmd(struct ice_hw *hw, struct ice_ctl_q_info *cq, struct ice_aq_desc *desc,
                      void *buf, u16 buf_size, struct ice_sq_cd *cd);

#endif
