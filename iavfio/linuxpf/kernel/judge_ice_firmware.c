// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The firmware that the ice judge's driver talks to: it answers admin-queue commands as a card does whose switch and
 * scheduler have room for everything, and hands messages to VFs to the host. Commands go to the host as they are after
 * the answer, with the numbers that the firmware gave to rules and lists. */
#include <linux/etherdevice.h>

#include "judge_ice.h"

#ifndef ICE_AQC_CAPS_FD
#define ICE_AQC_CAPS_FD LIBIE_AQC_CAPS_FD /* from Linux 6.17 on */
#endif
#define NODES 4096 /* scheduler nodes that are not leaves */
#define LEAF 0x100000 /* leaves have ids from here on and are remembered for a while only */
#define LEAVES 4096
#define RULES 0x8000 /* of the switch */
#define NUMBERS 0x400 /* of resources of one type */
#define CONTROL_VSI 512 /* VSIs that are of no VF have numbers from here on */
#define PROFILES 128 /* of flows */
#define TCAM 512 /* its entries, which choose a profile */
#define RATES 0x800 /* profiles of the scheduler; number 0 is no limit */
#define CLOCK_UNIT 32 /* a rate is a multiple of the scheduler's clock by this and a power of two */

static struct ice_aqc_txsched_elem_data nodes[NODES], leaves[LEAVES];
static struct ice_aqc_rl_profile_elem rates[RATES];
static DECLARE_BITMAP(rules, RULES);
static DECLARE_BITMAP(vsis, NUMBERS); /* those that are of no VF */
static unsigned long resources[ICE_AQC_RES_TYPE_M + 1][BITS_TO_LONGS(NUMBERS)]; /* by type */
static DECLARE_BITMAP(used_rates, RATES);
static u32 next_leaf;
static u32 refused_opcode, refusals;
static enum ice_aq_err refusal;

void judge_refuse(u32 opcode, u32 count, u32 code)
{
    refused_opcode = opcode;
    refusals = count;
    refusal = code ?: ICE_AQ_RC_ENOSPC;
}

/* A number that is free, or an errno. */
static int take(unsigned long *used, int first, int count)
{
    int number = find_next_zero_bit(used, count, first);

    if (number == count)
        return -EIO;
    set_bit(number, used);
    return number;
}

u32 judge_rate(u32 node, u64 clock)
{
    u16 profile = le16_to_cpu(nodes[node % NODES].data.eir_bw.bw_profile_idx) % RATES;
    const struct ice_aqc_rl_profile_elem *rate = &rates[profile];
    u64 tick = clock / ((u64)CLOCK_UNIT << le16_to_cpu(rate->rl_encode));

    return profile ? le16_to_cpu(rate->rl_multiply) * tick * 8 / 1000 : 0;
}

static u32 new_node(u32 parent, const struct ice_aqc_txsched_elem *data, u8 type)
{
    u32 id;

    for (id = 1; id < NODES && nodes[id].node_teid; id++)
        ;
    if (id == NODES)
        return 0;
    if (data)
        nodes[id].data = *data;
    nodes[id].data.elem_type = type;
    nodes[id].parent_teid = cpu_to_le32(parent);
    nodes[id].node_teid = cpu_to_le32(id);
    return id;
}

static void list_caps(struct ice_aqc_list_caps *cmd, struct ice_aqc_list_caps_elem *to, bool device)
{
    static const struct {
        u16 cap;
        u32 number, logical, physical;
    } caps[] = {
        {ICE_AQC_CAPS_VALID_FUNCTIONS, 3, 0, 0},
        {ICE_AQC_CAPS_SRIOV, 1, 0, 0},
        {ICE_AQC_CAPS_VF, 64, 0, 0},
        {ICE_AQC_CAPS_VSI, 768, 0, 0},
        {ICE_AQC_CAPS_DCB, 1, 1, 1},
        {ICE_AQC_CAPS_RSS, 2048, 11, 0},
        {ICE_AQC_CAPS_RXQS, 2048, 0, 0},
        {ICE_AQC_CAPS_TXQS, 2048, 0, 0},
        {ICE_AQC_CAPS_MSIX, 2048, 0, 0},
        {ICE_AQC_CAPS_FD, 0x4000, 0, 0},
        {ICE_AQC_CAPS_MAX_MTU, 9728, 0, 0},
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(caps); i++) {
        to[i].cap = cpu_to_le16(caps[i].cap);
        to[i].major_ver = 1;
        to[i].number = cpu_to_le32(caps[i].number);
        to[i].logical_id = cpu_to_le32(caps[i].logical);
        to[i].phys_id = cpu_to_le32(caps[i].physical);
    }
    cmd->count = cpu_to_le32(i);
}

static void default_topology(struct ice_aqc_get_topo *cmd, struct ice_aqc_get_topo_elem *to)
{
    static const u8 types[] = {ICE_AQC_ELEM_TYPE_ROOT_PORT, ICE_AQC_ELEM_TYPE_TC,
                               ICE_AQC_ELEM_TYPE_ENTRY_POINT};
    u32 parent = 0xffffffff;
    int i;

    for (i = 0; i < ARRAY_SIZE(types); i++) {
        u32 id = new_node(parent, NULL, types[i]);

        to->generic[i] = nodes[id];
        parent = id;
    }
    to->hdr.num_elems = cpu_to_le16(i);
    cmd->num_branches = 1;
}

static void scheduler_limits(struct ice_aqc_query_txsched_res_resp *to)
{
    int i;

    to->sched_props.logical_levels = cpu_to_le16(9);
    to->sched_props.phys_levels = cpu_to_le16(9);
    for (i = 0; i < ICE_AQC_TOPO_MAX_LEVEL_NUM; i++) {
        to->layer_props[i].max_sibl_grp_sz = cpu_to_le16(i == 8 ? 8 : i < 2 ? 1 + 7 * i : 64);
        to->layer_props[i].max_cir_rl_profiles = to->layer_props[i].max_eir_rl_profiles =
            to->layer_props[i].max_srl_profiles = cpu_to_le16(RATES - 1);
    }
}

static int scheduler(u16 opcode, struct ice_aqc_sched_elem_cmd *cmd, void *buf)
{
    int i;

    switch (opcode) {
    case ice_aqc_opc_add_sched_elems: {
        struct ice_aqc_add_elem *add = buf;

        for (i = 0; i < le16_to_cpu(add->hdr.num_elems); i++) {
            u32 id = new_node(le32_to_cpu(add->hdr.parent_teid), &add->generic[i].data,
                              add->generic[i].data.elem_type);

            if (!id)
                return -EIO;
            add->generic[i].node_teid = cpu_to_le32(id);
        }
        break;
    }
    case ice_aqc_opc_get_sched_elems: {
        struct ice_aqc_txsched_elem_data *elem = buf;
        u32 id = le32_to_cpu(elem->node_teid);

        *elem = id >= LEAF ? leaves[id % LEAVES] : nodes[id % NODES];
        break;
    }
    case ice_aqc_opc_cfg_sched_elems: {
        const struct ice_aqc_txsched_elem_data *elem = buf;

        for (i = 0; i < le16_to_cpu(cmd->num_elem_req); i++)
            if (le32_to_cpu(elem[i].node_teid) < LEAF)
                nodes[le32_to_cpu(elem[i].node_teid) % NODES].data = elem[i].data;
        break;
    }
    case ice_aqc_opc_delete_sched_elems: {
        struct ice_aqc_delete_elem *del = buf;

        for (i = 0; i < le16_to_cpu(del->hdr.num_elems); i++)
            memset(&nodes[le32_to_cpu(del->teid[i]) % NODES], 0, sizeof(nodes[0]));
        break;
    }
    case ice_aqc_opc_move_sched_elems: {
        struct ice_aqc_move_elem *move = buf;

        for (i = 0; i < le16_to_cpu(move->hdr.num_elems); i++)
            nodes[le32_to_cpu(move->teid[i]) % NODES].parent_teid = move->hdr.dest_parent_teid;
        break;
    }
    }
    cmd->num_elem_resp = cmd->num_elem_req;
    return 0;
}

/* What a resource's number comes from. Both kinds of lists have one space; profiles and their TCAM entries are few,
 * and the driver has no more room for them than the card. */
static unsigned int space_of(const struct ice_aqc_alloc_free_res_elem *res, int *room)
{
    u16 type = le16_to_cpu(res->res_type) & ICE_AQC_RES_TYPE_M;

    switch (type) {
    case ICE_AQC_RES_TYPE_FD_PROF_BLDR_PROFID:
    case ICE_AQC_RES_TYPE_HASH_PROF_BLDR_PROFID:
        *room = PROFILES;
        return type;
    case ICE_AQC_RES_TYPE_FD_PROF_BLDR_TCAM:
    case ICE_AQC_RES_TYPE_HASH_PROF_BLDR_TCAM:
        *room = TCAM;
        return type;
    default:
        *room = NUMBERS;
        return type == ICE_AQC_RES_TYPE_VSI_LIST_PRUNE ? ICE_AQC_RES_TYPE_VSI_LIST_REP : type;
    }
}

static int resource(u16 opcode, struct ice_aqc_alloc_free_res_elem *res, u16 size)
{
    int number, room;
    unsigned long *used;

    if (!res || size < sizeof(*res))
        return 0;
    used = resources[space_of(res, &room)];
    if (opcode == ice_aqc_opc_free_res) {
        clear_bit(le16_to_cpu(res->elem[0].e.sw_resp) % NUMBERS, used);
        return 0;
    }
    number = take(used, 0, room);
    if (number < 0)
        return number;
    res->elem[0].e.sw_resp = cpu_to_le16(number);
    return 0;
}

static int rule(u16 opcode, struct ice_sw_rule_lkup_rx_tx *rule)
{
    int number;

    if (le16_to_cpu(rule->hdr.type) > ICE_AQC_SW_RULES_T_LKUP_TX)
        return 0;
    if (opcode == ice_aqc_opc_remove_sw_rules)
        clear_bit(le16_to_cpu(rule->index) % RULES, rules);
    if (opcode != ice_aqc_opc_add_sw_rules)
        return 0;
    number = take(rules, 0, RULES);
    if (number < 0)
        return number;
    rule->index = cpu_to_le16(number);
    return 0;
}

/* One profile at a time: the driver asks for no more. */
static int rate(u16 opcode, struct ice_aqc_rl_profile_elem *profile)
{
    int number = le16_to_cpu(profile->profile_id) % RATES;

    if (opcode == ice_aqc_opc_remove_rl_profiles) {
        clear_bit(number, used_rates);
        return 0;
    }
    number = take(used_rates, 1, RATES);
    if (number < 0)
        return number;
    profile->profile_id = cpu_to_le16(number);
    rates[number] = *profile;
    return 0;
}

static int firmware(struct ice_aq_desc *desc, void *buf, u16 size)
{
    u16 opcode = le16_to_cpu(desc->opcode);
    void *params = desc->params.raw; /* newer descriptors do not name each command's */

    switch (opcode) {
    case ice_aqc_opc_list_func_caps:
    case ice_aqc_opc_list_dev_caps:
        list_caps(params, buf, opcode == ice_aqc_opc_list_dev_caps);
        break;
    case ice_aqc_opc_manage_mac_read: {
        struct ice_aqc_manage_mac_read *cmd = params;
        struct ice_aqc_manage_mac_read_resp *to = buf;
        static const u8 mac[ETH_ALEN] = {0x02, 0, 0, 0, 0, 0xff};

        cmd->flags = cpu_to_le16(ICE_AQC_MAN_MAC_LAN_ADDR_VALID);
        cmd->num_addr = 1;
        to->addr_type = ICE_AQC_MAN_MAC_ADDR_TYPE_LAN;
        ether_addr_copy(to->mac_addr, mac);
        break;
    }
    case ice_aqc_opc_get_sw_cfg: {
        struct ice_aqc_get_sw_cfg *cmd = params;
        struct ice_aqc_get_sw_cfg_resp_elem *to = buf;

        to->vsi_port_num =
            cpu_to_le16(ICE_AQC_GET_SW_CONF_RESP_PHYS_PORT << ICE_AQC_GET_SW_CONF_RESP_TYPE_S);
        to->swid = cpu_to_le16(1);
        cmd->element = 0;
        cmd->num_elems = cpu_to_le16(1);
        break;
    }
    case ice_aqc_opc_alloc_res:
    case ice_aqc_opc_free_res:
        return resource(opcode, buf, size);
    case ice_aqc_opc_add_vsi: {
        const struct ice_aqc_add_get_update_free_vsi *cmd = params;
        struct ice_aqc_add_update_free_vsi_resp *done = params;
        u16 type = le16_to_cpu(cmd->vsi_flags) & ICE_AQ_VSI_TYPE_M;
        int number =
            type == ICE_AQ_VSI_TYPE_VF ? JUDGE_VSI + cmd->vf_id : take(vsis, CONTROL_VSI, NUMBERS);

        if (number < 0)
            return number;
        done->vsi_num = cpu_to_le16(number);
        break;
    }
    case ice_aqc_opc_free_vsi: {
        const struct ice_aqc_add_get_update_free_vsi *cmd = params;
        u16 number = le16_to_cpu(cmd->vsi_num) & ICE_AQ_VSI_NUM_M;

        clear_bit(number % NUMBERS, vsis);
        judge_forget_filters(number);
        break;
    }
    case ice_aqc_opc_add_sw_rules:
    case ice_aqc_opc_update_sw_rules:
    case ice_aqc_opc_remove_sw_rules:
        return rule(opcode, buf);
    case ice_aqc_opc_get_dflt_topo:
        default_topology(params, buf);
        break;
    case ice_aqc_opc_query_sched_res:
        scheduler_limits(buf);
        break;
    case ice_aqc_opc_add_sched_elems:
    case ice_aqc_opc_cfg_sched_elems:
    case ice_aqc_opc_get_sched_elems:
    case ice_aqc_opc_move_sched_elems:
    case ice_aqc_opc_suspend_sched_elems:
    case ice_aqc_opc_resume_sched_elems:
    case ice_aqc_opc_delete_sched_elems:
        return scheduler(opcode, params, buf);
    case ice_aqc_opc_add_rl_profiles:
    case ice_aqc_opc_remove_rl_profiles: {
        struct ice_aqc_rl_profile *cmd = params;

        cmd->num_processed = cmd->num_profiles;
        return rate(opcode, buf);
    }
    case ice_aqc_opc_get_link_status: {
        struct ice_aqc_get_link_status_data *link = buf;

        link->link_info = ICE_AQ_LINK_UP | ICE_AQ_MEDIA_AVAILABLE;
        link->link_speed = cpu_to_le16(ICE_AQ_LINK_SPEED_100GB);
        link->max_frame_size = cpu_to_le16(9728);
        break;
    }
    case ice_aqc_opc_add_txqs: {
        struct ice_aqc_add_tx_qgrp *group = buf;
        u32 id = LEAF + next_leaf++ % LEAF;
        struct ice_aqc_txsched_elem_data *leaf = &leaves[id % LEAVES];

        leaf->parent_teid = group->parent_teid;
        leaf->node_teid = group->txqs[0].q_teid = cpu_to_le32(id);
        leaf->data = group->txqs[0].info;
        leaf->data.elem_type = ICE_AQC_ELEM_TYPE_LEAF;
        break;
    }
    default:
        break;
    }
    return 0;
}

int judge_sq_send_cmd(struct ice_hw *hw, struct ice_ctl_q_info *cq, struct ice_aq_desc *desc,
                      void *buf, u16 buf_size, struct ice_sq_cd *cd)
{
    u16 opcode = le16_to_cpu(desc->opcode);
    u16 extra = buf ? min_t(u16, buf_size, ICE_AQ_MAX_BUF_LEN) : 0;
    static u8 seen[16 + ICE_AQ_MAX_BUF_LEN];
    int err;

    cq->sq_last_status = ICE_AQ_RC_OK;
    if (opcode == ice_mbx_opc_send_msg_to_vf) {
        const struct ice_aqc_pf_vf_msg *cmd = (void *)desc->params.raw;

        judge_put(OUT_MESSAGE, le32_to_cpu(cmd->id), le32_to_cpu(desc->cookie_high),
                  le32_to_cpu(desc->cookie_low), buf, buf_size);
        return 0;
    }
    if (refusals && opcode == refused_opcode) {
        refusals--;
        err = -EIO;
        cq->sq_last_status = refusal;
    } else {
        err = firmware(desc, buf, buf_size);
        if (err)
            cq->sq_last_status = ICE_AQ_RC_ENOMEM;
    }
    memcpy(seen, &desc->params.raw, 16);
    if (extra)
        memcpy(seen + 16, buf, extra);
    judge_put(OUT_COMMAND, 0, opcode, err, seen, 16 + extra);
    return err;
}
