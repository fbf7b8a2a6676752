// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* What the two halves of the ice judge share. */
#ifndef JUDGE_ICE_H
#define JUDGE_ICE_H

#include "judge_host.h"
#include "ice.h"

enum {
    JUDGE_RATE = JUDGE_RESET + 1
}; /* requests that no other judge knows, as process.py numbers them */

/* The next `count` admin-queue commands of this opcode fail with a code of the firmware's, 0 for ENOSPC. */
void judge_refuse(u32 opcode, u32 count, u32 code);

/* The most that a node of the scheduler lets through, in kbit/s, by its clock in Hz; 0: no limit. */
u32 judge_rate(u32 node, u64 clock);

int judge_sq_send_cmd(struct ice_hw *hw, struct ice_ctl_q_info *cq, struct ice_aq_desc *desc,
                      void *buf, u16 buf_size, struct ice_sq_cd *cd);

#endif
