// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* What the two halves of the ice judge share. */
#ifndef JUDGE_ICE_H
#define JUDGE_ICE_H

#include "judge_host.h"
#include "ice.h"

/* The next `count` admin-queue commands of this opcode fail. */
void judge_refuse(u32 opcode, u32 count);

int judge_sq_send_cmd(struct ice_hw *hw, struct ice_ctl_q_info *cq, struct ice_aq_desc *desc,
                      void *buf, u16 buf_size, struct ice_sq_cd *cd);

#endif
