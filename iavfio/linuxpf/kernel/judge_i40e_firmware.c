// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The part of the i40e judge that answers as the card's firmware: commands of the admin queue. */
#include "judge_i40e.h"

#define FIRST_SEID 0x200
#define FIRST_NUMBER 10 /* of a VF's VSI */
#define PERFECT_MATCH 1 /* match_method of an add-MAC element that the switch took */

static u32 refused_opcode, refusals; /* the next `refusals` commands of this opcode fail */

void judge_refuse(u32 opcode, u32 count)
{
    refused_opcode = opcode;
    refusals = count;
}

/* A VF's first VSI has the same number after each reset, as the firmware's tends to be; those of its channels come after
 * the first ones of all VFs. */
static u16 vsi_number(u8 vf)
{
    u16 number = FIRST_NUMBER + vf;
    int i;

    for (i = 0; i < judge_pf->num_alloc_vsi; i++)
        if (judge_pf->vsi[i] && judge_serves(judge_pf->vsi[i], vf) && judge_pf->vsi[i]->seid)
            number += judge_vfs;
    return number;
}

static void firmware(u16 opcode, struct i40e_aq_desc *desc, void *buff, u16 size)
{
    if (opcode == i40e_aqc_opc_add_vsi) {
        struct i40e_aqc_add_get_update_vsi *cmd = (void *)&desc->params.raw;
        struct i40e_aqc_add_get_update_vsi_completion *done = (void *)&desc->params.raw;
        struct i40e_aqc_vsi_properties_data *info = buff;
        u16 number = vsi_number(cmd->vf_id);

        done->seid = cpu_to_le16(FIRST_SEID + number);
        done->vsi_number = cpu_to_le16(number);
        info->qs_handle[0] = cpu_to_le16(4);
        info->stat_counter_idx = cpu_to_le16(number);
    } else if (opcode == i40e_aqc_opc_add_macvlan) {
        struct i40e_aqc_add_macvlan_element_data *e = buff;

        for (; (void *)(e + 1) <= buff + size; e++)
            e->match_method = PERFECT_MATCH;
    } else if (opcode == i40e_aqc_opc_rx_ctl_reg_write || opcode == i40e_aqc_opc_rx_ctl_reg_read) {
        struct i40e_aqc_rx_ctl_reg_read_write *cmd = (void *)&desc->params.raw;
        u32 at = le32_to_cpu(cmd->address);

        if (at + 4 > BAR_SIZE)
            return;
        if (opcode == i40e_aqc_opc_rx_ctl_reg_write)
            bar[at / 4] = le32_to_cpu(cmd->value);
        cmd->value = cpu_to_le32(bar[at / 4]);
    }
}

static int answer(struct i40e_hw *hw, struct i40e_aq_desc *desc, void *buff, u16 size)
{
    u16 opcode = le16_to_cpu(desc->opcode);
    u16 extra = buff ? min_t(u16, size, I40E_MAX_AQ_BUF_SIZE) : 0;
    static u8 seen[16 + I40E_MAX_AQ_BUF_SIZE];
    bool refused = refusals && opcode == refused_opcode;

    hw->aq.asq_last_status = I40E_AQ_RC_OK;
    desc->retval = 0;
    if (opcode == i40e_aqc_opc_send_msg_to_vf) {
        struct i40e_aqc_pf_vf_message *cmd = (void *)&desc->params.raw;

        judge_put(OUT_MESSAGE, le32_to_cpu(cmd->id), le32_to_cpu(desc->cookie_high),
                  le32_to_cpu(desc->cookie_low), buff, size);
        return 0;
    }
    memcpy(seen, &desc->params.raw, 16);
    if (extra)
        memcpy(seen + 16, buff, extra);
    if (refused) {
        refusals--;
        hw->aq.asq_last_status = I40E_AQ_RC_ENOSPC;
    } else {
        firmware(opcode, desc, buff, size);
        if (opcode == i40e_aqc_opc_add_vsi) /* the SEID of the new VSI, where its uplink's was */
            memcpy(seen, &desc->params.raw, sizeof(__le16));
    }
    judge_put(OUT_COMMAND, 0, opcode, refused ? -EIO : 0, seen, 16 + extra);
    return refused ? -EIO : 0;
}

int judge_asq_send_command(struct i40e_hw *hw, struct i40e_aq_desc *desc, void *buff, u16 size,
                           struct i40e_asq_cmd_details *details)
{
    return answer(hw, desc, buff, size);
}

int judge_asq_send_command_atomic(struct i40e_hw *hw, struct i40e_aq_desc *desc, void *buff,
                                  u16 size, struct i40e_asq_cmd_details *details, bool atomic)
{
    return answer(hw, desc, buff, size);
}

int judge_asq_send_command_atomic_v2(struct i40e_hw *hw, struct i40e_aq_desc *desc, void *buff,
                                     u16 size, struct i40e_asq_cmd_details *details, bool atomic,
                                     enum i40e_admin_queue_err *status)
{
    int err = answer(hw, desc, buff, size);

    if (status)
        *status = hw->aq.asq_last_status;
    return err;
}
