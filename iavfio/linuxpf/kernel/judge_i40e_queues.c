// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The part of the i40e judge that knows whose the card's queues are, and what the card would read to serve them. */
#include "judge_i40e.h"
#include "i40e_lan_hmc.h"

/* The VSI whose queue this is of the card's; NULL when it is nobody's. */
static struct i40e_vsi *owner(u32 queue)
{
    int i;

    for (i = 0; i < judge_pf->num_alloc_vsi; i++) {
        struct i40e_vsi *vsi = judge_pf->vsi[i];

        if (vsi && queue >= vsi->base_queue && queue < vsi->base_queue + vsi->alloc_queue_pairs)
            return vsi;
    }
    return NULL;
}

bool judge_serves(const struct i40e_vsi *vsi, unsigned int vf)
{
    return vsi->type == I40E_VSI_SRIOV && vsi->vf_id == vf;
}

u32 judge_card_queue(unsigned int vf, unsigned int i)
{
    u32 queue = bar[I40E_VPLAN_QTABLE(i, vf) / 4] & I40E_VPLAN_QTABLE_QINDEX_MASK;
    const struct i40e_vsi *vsi = owner(queue);

    return vsi && judge_serves(vsi, vf) ? queue : JUDGE_NO_QUEUE;
}

void judge_stop_queues(unsigned int vf)
{
    unsigned int i;

    for (i = 0; i < JUDGE_VF_QUEUES; i++) {
        u32 *entry = &bar[I40E_VPLAN_QTABLE(i, vf) / 4];
        const struct i40e_vsi *vsi = owner(*entry);

        /* VSIs of channels may be gone before their queues stop. */
        if (*entry < JUDGE_CARD_QUEUES && (!vsi || judge_serves(vsi, vf))) {
            bar[I40E_QRX_ENA(*entry) / 4] = 0;
            bar[I40E_QTX_ENA(*entry) / 4] = 0;
        }
        *entry = JUDGE_NO_QUEUE;
    }
}

struct queue_pair {
    u16 number; /* of the card's; JUDGE_NO_QUEUE for none, and nothing more is told */
    u32 rx_ena, tx_ena, rx_cause, tx_cause;
    u8 rx_context[32], tx_context[128];
} __packed;

struct queues {
    u16 pairs;
    u8 link_forced, link_up, trusted, spoofchk;
    u16 port_vlan;
    u8 wire_up, disabled;
    u32 caps, version; /* granted; major in the upper half */
    u32 list[JUDGE_VECTORS]; /* VPINT_LNKLST0, then VPINT_LNKLSTN */
    struct queue_pair pair[JUDGE_VF_QUEUES];
} __packed;

static void *context(enum i40e_hmc_lan_rsrc_type type, u32 queue)
{
    struct i40e_hmc_info *hmc = &judge_pf->hw.hmc;
    u64 at = hmc->hmc_obj[type].base + queue * hmc->hmc_obj[type].size;
    struct i40e_hmc_sd_entry *sd = &hmc->sd_table.sd_entry[at / I40E_HMC_DIRECT_BP_SIZE];

    /* make_hardware asked for direct pages. */
    return sd->valid && sd->entry_type == I40E_SD_TYPE_DIRECT
               ? sd->u.bp.addr.va + at % I40E_HMC_DIRECT_BP_SIZE
               : NULL;
}

static void copy_context(u8 *to, enum i40e_hmc_lan_rsrc_type type, u32 queue, size_t size)
{
    void *from = context(type, queue);

    if (from)
        memcpy(to, from, size);
}

void judge_tell_queues(struct i40e_vf *vf)
{
    static struct queues q;
    struct i40e_vsi *vsi = judge_pf->vsi[vf->lan_vsi_idx];
    int i;

    memset(&q, 0, sizeof(q));
    q.pairs = min_t(u16, vf->num_queue_pairs, JUDGE_VF_QUEUES);
    q.link_forced = vf->link_forced;
    q.link_up = vf->link_up;
    q.trusted = vf->trusted;
    q.spoofchk = vf->spoofchk;
    q.port_vlan = le16_to_cpu(vsi->info.pvid) & I40E_VLAN_MASK;
    q.wire_up = !!(judge_pf->hw.phy.link_info.link_info & I40E_AQ_LINK_UP);
    q.disabled = test_bit(I40E_VF_STATE_DISABLED, &vf->vf_states);
    q.caps = vf->driver_caps;
    q.version = vf->vf_ver.major << 16 | vf->vf_ver.minor;
    q.list[0] = bar[I40E_VPINT_LNKLST0(vf->vf_id) / 4];
    for (i = 1; i < JUDGE_VECTORS; i++)
        q.list[i] = bar[I40E_VPINT_LNKLSTN((JUDGE_VECTORS - 1) * vf->vf_id + i - 1) / 4];
    for (i = 0; i < q.pairs; i++) {
        struct queue_pair *pair = &q.pair[i];
        u32 at = judge_card_queue(vf->vf_id, i);

        pair->number = at;
        if (at == JUDGE_NO_QUEUE)
            continue;
        pair->rx_ena = bar[I40E_QRX_ENA(at) / 4];
        pair->tx_ena = bar[I40E_QTX_ENA(at) / 4];
        pair->rx_cause = bar[I40E_QINT_RQCTL(at) / 4];
        pair->tx_cause = bar[I40E_QINT_TQCTL(at) / 4];
        copy_context(pair->rx_context, I40E_HMC_LAN_RX, at, sizeof(pair->rx_context));
        copy_context(pair->tx_context, I40E_HMC_LAN_TX, at, sizeof(pair->tx_context));
    }
    judge_put(OUT_QUEUES, vf->vf_id, 0, 0, &q, sizeof(q));
}
