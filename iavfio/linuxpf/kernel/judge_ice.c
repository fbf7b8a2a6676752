// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The part of the ice judge that is ours. It is linked with the kernel's own, untouched ice driver into a User Mode
 * Linux kernel. The driver's ice_init_hw, ice_sriov_configure and everything below them run for real; what the card
 * would answer (registers, admin-queue commands) is answered here; judge_host.c has the link to the test.
 *
 * Not played: a DDP package (of which judge_ice_flows.c has the packet types), firmware that refuses unless
 * JUDGE_REFUSE asks for it, anything that takes time. */
#include <linux/etherdevice.h>
#include <linux/if_bridge.h>
#include <linux/init.h>
#include <linux/version.h>

#include "judge_ice.h"
#include "ice_lib.h"
#include "ice_vf_lib_private.h"
#if __has_include("ice_virtchnl.h")
#include "ice_virtchnl.h"
#else
#include "virt/virtchnl.h"
#endif

#define PF_VECTORS 2
#define VSIS 256
#define SEND_QUEUES 16384
#define RXDIDS (BIT(1) | BIT(2) | GENMASK(25, 16)) /* what Intel's OS default package offers */

static int vfs = VF_COUNT;
core_param(judge_vfs, vfs, int, 0);

static struct ice_pf *pf;
static struct net_device *netdev;
static struct pci_dev judge_pdev;
static bool double_vlan;

static int __init set_double_vlan(char *text)
{
    double_vlan = text && *text == '1';
    return 1;
}
__setup("judge_dvm=", set_double_vlan);

/* ---- registers ---- */

static unsigned long bar_read(void *priv, unsigned int at, int size)
{
    if (at + size > BAR_SIZE)
        return ~0ul;
    return size == 8 ? *(u64 *)((u8 *)bar + at) : bar[at / 4];
}

static bool within(unsigned int at, unsigned int base, unsigned int count)
{
    return at >= base && at < base + 4 * count;
}

static void bar_write(void *priv, unsigned int at, int size, unsigned long val)
{
    u32 v = val;

    if (at + size > BAR_SIZE)
        return;
    if (size == 8) {
        *(u64 *)((u8 *)bar + at) = val;
        return;
    }
    if (within(at, QRX_CTRL(0), 2048))
        v = (v & ~(u32)QRX_CTRL_QENA_STAT_M) |
            ((v & QRX_CTRL_QENA_REQ_M) ? QRX_CTRL_QENA_STAT_M : 0);
    if (within(at, VPGEN_VFRTRIG(0), 256) &&
        (v & VPGEN_VFRTRIG_VFSWR_M)) { /* the hardware half of a VF reset */
        unsigned int vf = (at - VPGEN_VFRTRIG(0)) / 4;

        bar[VPGEN_VFRSTAT(vf) / 4] |= VPGEN_VFRSTAT_VFRD_M;
        bar[VFGEN_RSTAT(vf) / 4] = VIRTCHNL_VFR_INPROGRESS;
        judge_forget_filters(JUDGE_VSI + vf);
        judge_put(OUT_RESET, vf, 0, 0, NULL, 0);
    }
    if (within(at, VFGEN_RSTAT(0), 256))
        judge_put(OUT_RSTAT, (at - VFGEN_RSTAT(0)) / 4, 0, v, NULL, 0);
    if (within(at, GLGEN_VFLRSTAT(0), 8)) /* ones clear */
        v = bar[at / 4] & ~v;
    if (at == PFGEN_CTRL)
        v &= ~(u32)PFGEN_CTRL_PFSWR_M;
    bar[at / 4] = v;
    if (within(at, QTX_COMM_DBELL(0), SEND_QUEUES))
        judge_doorbell(pf, (at - QTX_COMM_DBELL(0)) / 4, v);
}

static const struct logic_iomem_ops bar_ops = {.read = bar_read, .write = bar_write};

static void preset_registers(void)
{
    int __maybe_unused i;

    bar[GLNVM_ULD / 4] = ~0u; /* every global reset is done */
    judge_preset_director();
#ifdef GLFLXP_RXDID_FLAGS
    for (i = 2; i <= 25; i++)
        if (RXDIDS & BIT(i))
            bar[GLFLXP_RXDID_FLAGS(i, 0) / 4] = 1;
#endif
}

/* ---- steps of the probe that have no card to work on ---- */

int judge_create_all_ctrlq(struct ice_hw *hw);
int judge_create_all_ctrlq(struct ice_hw *hw)
{
    return 0;
}

int judge_init_nvm(struct ice_hw *hw);
int judge_init_nvm(struct ice_hw *hw)
{
    return 0;
}

int judge_enable_sriov(struct pci_dev *dev, int count);
int judge_enable_sriov(struct pci_dev *dev, int count)
{
    return 0;
}

/* ---- a PF as ice_probe leaves it ---- */

static void make_device(void)
{
    judge_make_device(&judge_pdev, "judge-ice", pf);
    judge_pdev.vendor = PCI_VENDOR_ID_INTEL;
    judge_pdev.device = 0x1592;
    judge_pdev.error_state = pci_channel_io_perm_failure; /* its config space reads as ones */
}

static int make_hardware(void)
{
    struct ice_hw *hw = &pf->hw;
    int err;

    hw->hw_addr = ioremap(BAR_BASE, BAR_SIZE);
    hw->back = pf;
    hw->vendor_id = judge_pdev.vendor;
    hw->device_id = judge_pdev.device;
    hw->adminq.sq_buf_size = hw->mailboxq.sq_buf_size = ICE_AQ_MAX_BUF_LEN;
    err = ice_init_hw(hw);
    if (err)
        return err;
    hw->dvm_ena = double_vlan;
    judge_know_packets(hw);
    return 0;
}

static int make_main_vsi(void)
{
    struct ice_netdev_priv *priv;
    struct ice_vsi *vsi;

    pf->first_sw = kzalloc(sizeof(*pf->first_sw), GFP_KERNEL);
    vsi = kzalloc(sizeof(*vsi), GFP_KERNEL);
    netdev = alloc_etherdev(sizeof(*priv));
    if (!pf->first_sw || !vsi || !netdev)
        return -ENOMEM;
    pf->first_sw->bridge_mode = BRIDGE_MODE_VEB;
    pf->first_sw->pf = pf;
    vsi->type = ICE_VSI_PF;
    vsi->back = pf;
    vsi->vsw = pf->first_sw;
    vsi->port_info = pf->hw.port_info;
    vsi->netdev = netdev;
    pf->vsi[0] = vsi;
    pf->next_vsi = 1;
    priv = netdev_priv(netdev);
    priv->vsi = vsi;
    return 0;
}

/* What later drivers have: vectors counted in an xarray, a mutex for link aggregation, counters kept over resets. */
static int make_trackers(void)
{
    int __maybe_unused i;

#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
    xa_init_flags(&pf->irq_tracker.entries, XA_FLAGS_ALLOC);
    pf->irq_tracker.num_entries = pf->irq_tracker.num_static = PF_VECTORS;
    mutex_init(&pf->lag_mutex);
    ice_mbx_init_snapshot(&pf->hw);
    pf->vsi_stats = kcalloc(pf->num_alloc_vsi, sizeof(*pf->vsi_stats), GFP_KERNEL);
    pf->lag = kzalloc(sizeof(*pf->lag), GFP_KERNEL);
    if (!pf->vsi_stats || !pf->lag)
        return -ENOMEM;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 15, 0)
    pf->virt_irq_tracker.base = PF_VECTORS;
    pf->virt_irq_tracker.num_entries = pf->hw.func_caps.common_cap.num_msix_vectors - PF_VECTORS;
    pf->virt_irq_tracker.bm = bitmap_zalloc(pf->virt_irq_tracker.num_entries, GFP_KERNEL);
    if (!pf->virt_irq_tracker.bm)
        return -ENOMEM;
    pf->supported_rxdids = RXDIDS;
#endif
    pf->lag->pf = pf;
    pf->lag->active_port = ICE_LAG_INVALID_PORT;
    return 0;
#else
    pf->irq_tracker = kzalloc(struct_size(pf->irq_tracker, list, PF_VECTORS), GFP_KERNEL);
    if (!pf->irq_tracker)
        return -ENOMEM;
    pf->irq_tracker->num_entries = pf->irq_tracker->end = PF_VECTORS;
    pf->msix_entries = kcalloc(PF_VECTORS, sizeof(*pf->msix_entries), GFP_KERNEL);
    if (!pf->msix_entries)
        return -ENOMEM;
    for (i = 0; i < PF_VECTORS; i++)
        pf->msix_entries[i].vector = judge_irq_vector(&judge_pdev, i);
    return 0;
#endif
}

static int make_pf(void)
{
    struct ice_hw_func_caps *caps;
    int err;

    preset_registers();
    pf = kzalloc(sizeof(*pf), GFP_KERNEL);
    if (!pf)
        return -ENOMEM;
    pf->pdev = &judge_pdev;
    make_device();
    err = make_hardware();
    if (err)
        return err;
    caps = &pf->hw.func_caps;
    mutex_init(&pf->sw_mutex);
    mutex_init(&pf->tc_mutex);
    mutex_init(&pf->adev_mutex);
    mutex_init(&pf->avail_q_mutex);
    mutex_init(&pf->vfs.table_lock);
    hash_init(pf->vfs.table);
    pf->vfs.num_supported = caps->num_allocd_vfs;
    pf->max_pf_txqs = caps->common_cap.num_txq;
    pf->max_pf_rxqs = caps->common_cap.num_rxq;
    pf->avail_txqs = bitmap_zalloc(pf->max_pf_txqs, GFP_KERNEL);
    pf->avail_rxqs = bitmap_zalloc(pf->max_pf_rxqs, GFP_KERNEL);
    pf->num_alloc_vsi = VSIS;
    pf->vsi = kcalloc(pf->num_alloc_vsi, sizeof(*pf->vsi), GFP_KERNEL);
    if (!pf->avail_txqs || !pf->avail_rxqs || !pf->vsi)
        return -ENOMEM;
    err = make_trackers();
    if (err)
        return err;
    set_bit(ICE_FLAG_SRIOV_CAPABLE, pf->flags);
    set_bit(ICE_FLAG_RSS_ENA, pf->flags);
    set_bit(ICE_FLAG_FD_ENA, pf->flags);
    set_bit(ICE_SERVICE_DIS, pf->state); /* no task of its own: see say() */
    set_bit(ICE_FLAG_ADV_FEATURES, pf->flags); /* as if a package had been loaded */
    pf->ctrl_vsi_idx = ICE_NO_VSI;
    err = make_main_vsi();
    if (err)
        return err;
    err = ice_sriov_configure(&judge_pdev, vfs);
    return err < 0 ? err : 0;
}

/* ---- what the card would read to serve a VF ---- */

struct queue_pair {
    u16 rx, tx; /* numbers in the card */
    u32 rx_ctrl, rx_cause, tx_cause, rx_format;
    u32 rx_context[8];
} __packed;

struct queues {
    u16 pairs, vsi;
    u8 mac[ETH_ALEN];
    u32 rate; /* kbit/s */
    u8 link_up, trusted, spoofchk, disabled;
    u32 version; /* major in the upper half */
    struct queue_pair pair[ICE_MAX_RSS_QS_PER_VF];
} __packed;

static u32 rate_of(const struct ice_vsi *vsi)
{
    struct ice_vsi_ctx *context = ice_get_vsi_ctx(&pf->hw, vsi->idx);
    struct ice_sched_node *node = context ? context->sched.vsi_node[0] : NULL;

    return node ? judge_rate(le32_to_cpu(node->info.node_teid), pf->hw.psm_clk_freq) : 0;
}

static int tell_queues(u32 number)
{
    static struct queues q;
    struct ice_vf *vf = ice_get_vf_by_id(pf, number);
    struct ice_vsi *vsi = vf ? ice_get_vf_vsi(vf) : NULL;
    int i, word;

    if (!vsi)
        return -EINVAL;
    memset(&q, 0, sizeof(q));
    q.pairs = min_t(u16, vsi->alloc_txq, ICE_MAX_RSS_QS_PER_VF);
    q.vsi = vsi->vsi_num;
    memcpy(q.mac, &vf->hw_lan_addr, ETH_ALEN); /* an array, or the first part of a structure */
    q.rate = rate_of(vsi);
    q.link_up = ice_is_vf_link_up(vf);
    q.trusted = vf->trusted;
    q.spoofchk = vf->spoofchk;
    q.disabled = test_bit(ICE_VF_STATE_DIS, vf->vf_states);
    q.version = vf->vf_ver.major << 16 | vf->vf_ver.minor;
    for (i = 0; i < q.pairs; i++) {
        struct queue_pair *pair = &q.pair[i];

        pair->rx = vsi->rxq_map[i];
        pair->tx = vsi->txq_map[i];
        pair->rx_ctrl = bar[QRX_CTRL(pair->rx) / 4];
        pair->rx_cause = bar[QINT_RQCTL(pair->rx) / 4];
        pair->tx_cause = bar[QINT_TQCTL(pair->tx) / 4];
        pair->rx_format = bar[QRXFLXP_CNTXT(pair->rx) / 4];
        for (word = 0; word < ARRAY_SIZE(pair->rx_context); word++)
            pair->rx_context[word] = bar[QRX_CONTEXT(word, pair->rx) / 4];
    }
    judge_tell_flows(&pf->hw, number, vsi);
    ice_put_vf(vf);
    judge_put(OUT_QUEUES, number, 0, 0, &q, sizeof(q));
    return 0;
}

/* ---- for a software VF that this PF drives ---- */

/* A counter of the card's, which has 40 bits. */
static void count(u32 at, u64 value)
{
    *(u64 *)&bar[at / 4] = value & GENMASK_ULL(39, 0);
}

/* Puts 12 counters, in the order of GET_STATS, where the card keeps those of a VF's VSI. */
static int count_all(const struct ice_vsi *vsi, const u64 *c)
{
    u16 i = vsi->vsi_num;

    count(GLV_GORCL(i), c[0]);
    count(GLV_UPRCL(i), c[1]);
    count(GLV_MPRCL(i), c[2]);
    count(GLV_BPRCL(i), c[3]);
    bar[GLV_RDPC(i) / 4] = c[4];
    count(GLV_GOTCL(i), c[6]);
    count(GLV_UPTCL(i), c[7]);
    count(GLV_MPTCL(i), c[8]);
    count(GLV_BPTCL(i), c[9]);
    bar[GLV_TEPC(i) / 4] = c[11];
    return 0;
}

static int set_wire(bool up, u32 speed)
{
    struct ice_link_status *link = &pf->hw.port_info->phy.link_info;

    link->link_info = up ? ICE_AQ_LINK_UP | ICE_AQ_MEDIA_AVAILABLE : 0;
    link->link_speed = speed;
    ice_vc_notify_link_state(pf);
    return 0;
}

/* What needs the VF itself. */
static int act_on(struct ice_vf *vf, const struct judge_request *in)
{
    switch (in->what) {
    case JUDGE_COUNT:
        return in->len == 12 * sizeof(u64) && ice_get_vf_vsi(vf)
                   ? count_all(ice_get_vf_vsi(vf), (const u64 *)judge_message)
                   : -EINVAL;
    case JUDGE_RESET:
        return ice_reset_vf(vf, ICE_VF_RESET_LOCK | (in->opcode ? ICE_VF_RESET_NOTIFY : 0));
    default:
        return -EINVAL;
    }
}

/* The card has reset a function of its own accord, as for an FLR. */
static void function_reset(u32 vf)
{
    bar[VPGEN_VFRSTAT(vf) / 4] |= VPGEN_VFRSTAT_VFRD_M;
    bar[GLGEN_VFLRSTAT(vf / 32) / 4] |= BIT(vf % 32);
    judge_forget_filters(JUDGE_VSI + vf);
}

static void tell_of_function_resets(void)
{
    set_bit(ICE_VFLR_EVENT_PENDING, pf->state);
    ice_process_vflr_event(pf);
}

/* A reset of the PF as its VFs see it: what the driver rebuilds of the card beside them is not played. */
static void reset_all(void)
{
    int vf;

    for (vf = 0; vf < vfs; vf++)
        function_reset(vf);
    tell_of_function_resets();
}

/* ---- requests ---- */

static void say(u32 vf, u32 opcode, u32 len)
{
    struct ice_rq_event_info event = {
        .msg_len = len, .buf_len = sizeof(judge_message), .msg_buf = judge_message};

    event.desc.retval = cpu_to_le16(vf);
    event.desc.cookie_high = cpu_to_le32(opcode);
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 5, 0)
    ice_vc_process_vf_msg(pf, &event, NULL);
#else
    ice_vc_process_vf_msg(pf, &event);
#endif
    ice_flush_fdir_ctx(pf); /* as the service task does */
}

static int act(const struct judge_request *in)
{
    switch (in->what) {
    case JUDGE_MESSAGE:
        say(in->vf, in->opcode, in->len);
        return 0;
    case JUDGE_TRUST:
        return ice_set_vf_trust(netdev, in->vf, in->opcode);
    case JUDGE_MAC:
        return ice_set_vf_mac(netdev, in->vf, judge_message);
    case JUDGE_FLR:
        if (in->vf >= vfs)
            return -EINVAL;
        function_reset(in->vf);
        tell_of_function_resets();
        return 0;
    case JUDGE_READ:
        judge_put(OUT_REGISTER, 0, in->opcode, bar_read(NULL, in->opcode, 4), NULL, 0);
        return 0;
    case JUDGE_WRITE:
        bar_write(NULL, in->opcode, 4, in->vf);
        return 0;
    case JUDGE_PORT_VLAN:
        return ice_set_vf_port_vlan(netdev, in->vf, in->opcode & 0xfff, 0,
                                    htons(in->opcode >> 16 ?: ETH_P_8021Q));
    case JUDGE_FLAG: /* the private flags of ethtool: 0 vf-true-promisc-support, 1 vf-vlan-pruning */
        assign_bit(in->vf ? ICE_FLAG_VF_VLAN_PRUNING : ICE_FLAG_VF_TRUE_PROMISC_ENA, pf->flags,
                   in->opcode);
        return 0;
    case JUDGE_LINK:
        return ice_set_vf_link_state(netdev, in->vf, in->opcode);
    case JUDGE_SPOOFCHK:
        return ice_set_vf_spoofchk(netdev, in->vf, in->opcode);
    case JUDGE_REFUSE: /* a count, and a code of the firmware's above it */
        judge_refuse(in->opcode, in->vf & 0xffff, in->vf >> 16);
        return 0;
    case JUDGE_RATE:
        return ice_set_vf_bw(netdev, in->vf, 0, in->opcode);
    case JUDGE_QUEUES:
        return tell_queues(in->vf);
    case JUDGE_RESET_ALL:
        if (in->opcode) /* tell the VFs of it, no more */
            ice_vc_notify_reset(pf);
        else
            reset_all();
        return 0;
    case JUDGE_WIRE:
        return set_wire(in->opcode & 1, in->opcode >> 8);
    default: {
        struct ice_vf *vf = ice_get_vf_by_id(pf, in->vf);
        int done = vf ? act_on(vf, in) : -EINVAL;

        if (vf)
            ice_put_vf(vf);
        return done;
    }
    }
}

static int __init judge(void)
{
    judge_play(&bar_ops, make_pf, act);
    return 0;
}
late_initcall(judge);
