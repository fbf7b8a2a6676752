// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* What the parts of the ice judge share. */
#ifndef JUDGE_ICE_H
#define JUDGE_ICE_H

#include "judge_host.h"
#include "ice.h"

#define JUDGE_VSI 16 /* of VF 0, in the card; the next VF's is the next */

enum {
    JUDGE_RATE = JUDGE_RESET + 1
}; /* requests that no other judge knows, as process.py numbers them */

/* What the host is told as commands, beside those of the firmware's: a filter of the flow director, as its descriptor
 * and its packet; the VSI whose filters are gone. */
enum { JUDGE_PROGRAMS = 0x10000, JUDGE_FORGETS };

/* The next `count` admin-queue commands of this opcode fail with a code of the firmware's, 0 for ENOSPC. */
void judge_refuse(u32 opcode, u32 count, u32 code);

/* The most that a node of the scheduler lets through, in kbit/s, by its clock in Hz; 0: no limit. */
u32 judge_rate(u32 node, u64 clock);

/* Has the card know the packet types of its DDP package. */
void judge_know_packets(struct ice_hw *hw);

/* Tells the host which profiles of flows serve a VF, newest first. */
void judge_tell_flows(struct ice_hw *hw, u32 vf, const struct ice_vsi *vsi);

/* Has the card's registers tell how many filters its flow director has room for. */
void judge_preset_director(void);

/* A send queue's tail was written: one of a control VSI programs filters. */
void judge_doorbell(struct ice_pf *pf, u16 queue, u16 tail);

/* A VSI's function was reset, or it is no more. */
void judge_forget_filters(u16 vsi);

/* The number of a vector of the PF's, as of an interrupt that the kernel does not know. */
int judge_irq_vector(struct pci_dev *dev, unsigned int number);

int judge_sq_send_cmd(struct ice_hw *hw, struct ice_ctl_q_info *cq, struct ice_aq_desc *desc,
                      void *buf, u16 buf_size, struct ice_sq_cd *cd);

#endif
