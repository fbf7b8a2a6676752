// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* What the parts of the i40e judge share. */
#ifndef JUDGE_I40E_H
#define JUDGE_I40E_H

#include "judge_host.h"
#include "i40e.h"
#include "i40e_prototype.h"
#include "i40e_virtchnl_pf.h"

#define JUDGE_CARD_QUEUES 768 /* of the card */
#define JUDGE_VF_QUEUES 16 /* most of one VF */
#define JUDGE_VECTORS 5 /* of one VF */
#define JUDGE_NO_QUEUE I40E_QUEUE_END_OF_LIST

extern struct i40e_pf *judge_pf;
extern int judge_vfs;

/* The next `count` admin-queue commands of this opcode fail. */
void judge_refuse(u32 opcode, u32 count);

/* Whether this is one of the VF's VSIs: its first, or one of its channels'. */
bool judge_serves(const struct i40e_vsi *vsi, unsigned int vf);

/* The card's queue that is the VF's queue i, in whichever of its VSIs; JUDGE_NO_QUEUE when it has none, or when the
 * PF's driver has put another's there. */
u32 judge_card_queue(unsigned int vf, unsigned int i);

/* Queues stop, and the VF has none until the PF's driver maps them again. */
void judge_stop_queues(unsigned int vf);

/* Tells the host what the card would read to serve a VF. */
void judge_tell_queues(struct i40e_vf *vf);

/* In the place of the driver's own. */
int judge_asq_send_command(struct i40e_hw *hw, struct i40e_aq_desc *desc, void *buff, u16 size,
                           struct i40e_asq_cmd_details *details);
int judge_asq_send_command_atomic(struct i40e_hw *hw, struct i40e_aq_desc *desc, void *buff,
                                  u16 size, struct i40e_asq_cmd_details *details, bool atomic);
int judge_asq_send_command_atomic_v2(struct i40e_hw *hw, struct i40e_aq_desc *desc, void *buff,
                                     u16 size, struct i40e_asq_cmd_details *details, bool atomic,
                                     enum i40e_admin_queue_err *status);

#endif
