// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The part of the ice judge that knows flows: which packet types the card's parser would know of its DDP package, and
 * which profiles the driver has set up for a VF. Kernels number headers and fields each their own way, so both go to
 * the host as bits by their places in the tables below, which flows.py has as well. */
#include <linux/version.h>

#include "judge_ice.h"
#include "ice_flow.h"

static bool comms;

static int __init set_package(char *text)
{
    comms = text && !strcmp(text, "comms");
    return 1;
}
__setup("judge_ddp=", set_package);

/* ---- packet types ---- */

void judge_know_packets(struct ice_hw *hw)
{
    static const u16 os[] = {
        ICE_PTYPE_MAC_PAY,      ICE_PTYPE_IPV4_PAY,      ICE_PTYPE_IPV4_UDP_PAY,
        ICE_PTYPE_IPV4_TCP_PAY, ICE_PTYPE_IPV4_SCTP_PAY, ICE_PTYPE_IPV6_PAY,
        ICE_PTYPE_IPV6_UDP_PAY, ICE_PTYPE_IPV6_TCP_PAY,  ICE_PTYPE_IPV6_SCTP_PAY,
    };
    static const u16 more[] = {
        ICE_MAC_IPV4_GTPU,      ICE_MAC_IPV6_GTPU,         ICE_MAC_IPV4_L2TPV3,
        ICE_MAC_IPV6_L2TPV3,    ICE_MAC_IPV4_ESP,          ICE_MAC_IPV6_ESP,
        ICE_MAC_IPV4_AH,        ICE_MAC_IPV6_AH,           ICE_MAC_IPV4_NAT_T_ESP,
        ICE_MAC_IPV6_NAT_T_ESP, ICE_MAC_IPV4_PFCP_SESSION, ICE_MAC_IPV6_PFCP_SESSION,
    };
    int i;

    for (i = 0; i < ARRAY_SIZE(os); i++)
        set_bit(os[i], hw->hw_ptype);
    for (i = 0; comms && i < ARRAY_SIZE(more); i++)
        set_bit(more[i], hw->hw_ptype);
}

/* ---- profiles ---- */

static const u32 headers[] = {
    ICE_FLOW_SEG_HDR_ETH,       ICE_FLOW_SEG_HDR_VLAN,         ICE_FLOW_SEG_HDR_IPV4,
    ICE_FLOW_SEG_HDR_IPV6,      ICE_FLOW_SEG_HDR_IPV_OTHER,    ICE_FLOW_SEG_HDR_TCP,
    ICE_FLOW_SEG_HDR_UDP,       ICE_FLOW_SEG_HDR_SCTP,         ICE_FLOW_SEG_HDR_PPPOE,
    ICE_FLOW_SEG_HDR_GTPU_IP,   ICE_FLOW_SEG_HDR_GTPU_EH,      ICE_FLOW_SEG_HDR_GTPU_DWN,
    ICE_FLOW_SEG_HDR_GTPU_UP,   ICE_FLOW_SEG_HDR_L2TPV3,       ICE_FLOW_SEG_HDR_ESP,
    ICE_FLOW_SEG_HDR_AH,        ICE_FLOW_SEG_HDR_PFCP_SESSION, ICE_FLOW_SEG_HDR_NAT_T_ESP,
    ICE_FLOW_SEG_HDR_PFCP_NODE, ICE_FLOW_SEG_HDR_ETH_NON_IP,
};

static const u8 fields[] = {
    ICE_FLOW_FIELD_IDX_ETH_SA,         ICE_FLOW_FIELD_IDX_ETH_DA,
    ICE_FLOW_FIELD_IDX_ETH_TYPE,       ICE_FLOW_FIELD_IDX_S_VLAN,
    ICE_FLOW_FIELD_IDX_C_VLAN,         ICE_FLOW_FIELD_IDX_IPV4_SA,
    ICE_FLOW_FIELD_IDX_IPV4_DA,        ICE_FLOW_FIELD_IDX_IPV4_PROT,
    ICE_FLOW_FIELD_IDX_IPV4_DSCP,      ICE_FLOW_FIELD_IDX_IPV4_TTL,
    ICE_FLOW_FIELD_IDX_IPV6_SA,        ICE_FLOW_FIELD_IDX_IPV6_DA,
    ICE_FLOW_FIELD_IDX_IPV6_PROT,      ICE_FLOW_FIELD_IDX_IPV6_DSCP,
    ICE_FLOW_FIELD_IDX_IPV6_TTL,       ICE_FLOW_FIELD_IDX_TCP_SRC_PORT,
    ICE_FLOW_FIELD_IDX_TCP_DST_PORT,   ICE_FLOW_FIELD_IDX_UDP_SRC_PORT,
    ICE_FLOW_FIELD_IDX_UDP_DST_PORT,   ICE_FLOW_FIELD_IDX_SCTP_SRC_PORT,
    ICE_FLOW_FIELD_IDX_SCTP_DST_PORT,  ICE_FLOW_FIELD_IDX_GTPU_IP_TEID,
    ICE_FLOW_FIELD_IDX_GTPU_EH_TEID,   ICE_FLOW_FIELD_IDX_GTPU_UP_TEID,
    ICE_FLOW_FIELD_IDX_GTPU_DWN_TEID,  ICE_FLOW_FIELD_IDX_GTPU_EH_QFI,
    ICE_FLOW_FIELD_IDX_PPPOE_SESS_ID,  ICE_FLOW_FIELD_IDX_PFCP_SEID,
    ICE_FLOW_FIELD_IDX_L2TPV3_SESS_ID, ICE_FLOW_FIELD_IDX_ESP_SPI,
    ICE_FLOW_FIELD_IDX_AH_SPI,         ICE_FLOW_FIELD_IDX_NAT_T_ESP_SPI,
};

#define OTHER BIT(31) /* a header, or a field, that has no place in its table */
#define PROFILES 512

struct segment {
    u32 headers;
    u64 fields;
} __packed;

struct profile {
    u8 director; /* or of RSS */
    u8 segments, symmetric, attributes; /* it wants flags of the packet's, beside its type */
    struct segment segment[ICE_FLOW_SEG_MAX];
} __packed;

struct profiles {
    u32 count;
    struct profile profile[PROFILES];
} __packed;

static void tell_segment(const struct ice_flow_seg_info *from, struct segment *to)
{
    u32 hdrs = from->hdrs;
    u64 match = from->match;
    int i;

    for (i = 0; i < ARRAY_SIZE(headers); i++)
        if (hdrs & headers[i]) {
            to->headers |= BIT(i);
            hdrs &= ~headers[i];
        }
    for (i = 0; i < ARRAY_SIZE(fields); i++)
        if (match & BIT_ULL(fields[i])) {
            to->fields |= BIT_ULL(i);
            match &= ~BIT_ULL(fields[i]);
        }
    if (hdrs)
        to->headers |= OTHER;
    if (match || from->raws_cnt)
        to->fields |= BIT_ULL(63);
}

static void tell_profile(struct ice_hw *hw, enum ice_block block, const struct ice_vsig_prof *of,
                         struct profiles *all)
{
    struct ice_flow_prof *from;
    struct profile *to;
    int i;

    list_for_each_entry(from, &hw->fl_profs[block], l_entry)
    {
        if (from->id != of->profile_cookie)
            continue;
        if (all->count == PROFILES) { /* then the last one says that it is not all */
            all->profile[PROFILES - 1].segment[0].headers |= OTHER;
            continue;
        }
        to = &all->profile[all->count++];
        to->director = block == ICE_BLK_FD;
        to->segments = from->segs_cnt;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
        to->symmetric = from->symm;
#endif
        to->attributes = of->tcam_count && of->tcam[0].attr.mask;
        for (i = 0; i < from->segs_cnt; i++)
            tell_segment(&from->segs[i], &to->segment[i]);
    }
}

/* A VSI's profiles stand in its group's list from the newest to the oldest: of those that fit a packet the first one
 * has it. */
static void tell_block(struct ice_hw *hw, enum ice_block block, u16 vsi, struct profiles *all)
{
    struct ice_xlt2 *groups = &hw->blk[block].xlt2;
    u16 group = groups->vsis[vsi].vsig & ICE_VSIG_IDX_M;
    struct ice_vsig_prof *each;

    if (!group)
        return;
    list_for_each_entry(each, &groups->vsig_tbl[group].prop_lst, list)
        tell_profile(hw, block, each, all);
}

void judge_tell_flows(struct ice_hw *hw, u32 vf, const struct ice_vsi *vsi)
{
    static struct profiles all;

    memset(&all, 0, sizeof(all));
    tell_block(hw, ICE_BLK_RSS, vsi->vsi_num, &all);
    tell_block(hw, ICE_BLK_FD, vsi->vsi_num, &all);
    judge_put(OUT_STATE, vf, 0, 0, &all, 4 + all.count * sizeof(all.profile[0]));
}
