// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The part of the i40e judge that is ours. It is linked with the kernel's own, untouched i40e driver into a User Mode
 * Linux kernel. The driver's i40e_alloc_vfs and everything below it run for real; what the card would answer
 * (registers, admin-queue commands) is answered here; judge_host.c has the link to the test.
 *
 * Not played: i40e_probe itself (make_pf leaves what it would leave), firmware that refuses unless JUDGE_REFUSE asks
 * for it, flow director, cloud filters, anything that takes time. */
#include <linux/etherdevice.h>
#include <linux/if_bridge.h>
#include <linux/init.h>
#include <linux/slab.h>
#include <linux/version.h>

#include "judge_i40e.h"
#include "i40e_lan_hmc.h"

#define VF_TABLES 128 /* the VFs that the card has registers for */
#define PF_QUEUES 64
#define VSIS 128
#define MAIN_SEID 0x1ff
#define KEY_WORDS 13
#define LUT_WORDS 16

int judge_vfs = VF_COUNT;
core_param(judge_vfs, judge_vfs, int, 0);

struct i40e_pf *judge_pf;
static struct net_device *netdev;
static struct pci_dev judge_pdev;

/* ---- registers ---- */

static unsigned long bar_read(void *priv, unsigned int at, int size)
{
    if (at + size > BAR_SIZE)
        return ~0ul;
    return size == 8 ? bar[at / 4] | (u64)bar[at / 4 + 1] << 32 : bar[at / 4];
}

static bool within(unsigned int at, unsigned int base, unsigned int count)
{
    return at >= base && at < base + 4 * count;
}

/* The hardware half of a VF reset: queues stop, and RSS has neither key nor table. */
static void reset_hardware(unsigned int vf)
{
    unsigned int i;

    judge_stop_queues(vf);
    for (i = 0; i < KEY_WORDS; i++)
        bar[I40E_VFQF_HKEY1(i, vf) / 4] = 0;
    for (i = 0; i < LUT_WORDS; i++)
        bar[I40E_VFQF_HLUT1(i, vf) / 4] = 0;
}

static void bar_write(void *priv, unsigned int at, int size, unsigned long val)
{
    u32 v = val;

    if (at + 4 > BAR_SIZE)
        return;
    if (within(at, I40E_QRX_ENA(0), 1536) || within(at, I40E_QTX_ENA(0), 1536))
        v = (v & ~(u32)I40E_QRX_ENA_QENA_STAT_MASK) |
            ((v & I40E_QRX_ENA_QENA_REQ_MASK) ? I40E_QRX_ENA_QENA_STAT_MASK : 0);
    if (within(at, I40E_VPGEN_VFRTRIG(0), 128) && (v & I40E_VPGEN_VFRTRIG_VFSWR_MASK)) {
        unsigned int vf = (at - I40E_VPGEN_VFRTRIG(0)) / 4;

        bar[I40E_VPGEN_VFRSTAT(vf) / 4] |= I40E_VPGEN_VFRSTAT_VFRD_MASK;
        bar[I40E_VFGEN_RSTAT1(vf) / 4] = VIRTCHNL_VFR_INPROGRESS;
        reset_hardware(vf);
        judge_put(OUT_RESET, vf, 0, 0, NULL, 0);
    }
    if (within(at, I40E_VFGEN_RSTAT1(0), 128))
        judge_put(OUT_RSTAT, (at - I40E_VFGEN_RSTAT1(0)) / 4, 0, v, NULL, 0);
    if (within(at, I40E_GLGEN_VFLRSTAT(0), 4)) /* ones clear */
        v = bar[at / 4] & ~v;
    if (at == I40E_PFHMC_SDCMD || at == I40E_PFHMC_PDINV)
        v = 0;
    bar[at / 4] = v;
}

static const struct logic_iomem_ops bar_ops = {.read = bar_read, .write = bar_write};

static void preset_registers(void)
{
    unsigned int i;

    for (i = 0; i < JUDGE_VF_QUEUES * VF_TABLES; i++)
        bar[I40E_VPLAN_QTABLE(i % JUDGE_VF_QUEUES, i / JUDGE_VF_QUEUES) / 4] = JUDGE_NO_QUEUE;
    bar[I40E_GLGEN_PCIFCNCNT / 4] = 1;
    bar[I40E_GLHMC_LANQMAX / 4] = 1536;
    bar[I40E_GLHMC_LANTXOBJSZ / 4] = 7; /* object sizes as powers of two */
    bar[I40E_GLHMC_LANRXOBJSZ / 4] = 5;
    bar[I40E_GLHMC_FCOEDDPOBJSZ / 4] = 6;
    bar[I40E_GLHMC_FCOEFOBJSZ / 4] = 6;
}

int judge_enable_sriov(struct pci_dev *dev, int count);
int judge_enable_sriov(struct pci_dev *dev, int count)
{
    return 0;
}

/* ---- a PF as i40e_probe leaves it ---- */

static int make_hardware(void)
{
    struct i40e_hw *hw = &judge_pf->hw;
    int err;

    hw->hw_addr = ioremap(BAR_BASE, BAR_SIZE);
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 8, 0)
    hw->back = judge_pf;
#endif
    hw->mac.type = I40E_MAC_XL710;
    hw->num_ports = 1;
    hw->aq.api_maj_ver =
        1; /* of firmware that reads and writes the receive registers for the driver */
    hw->aq.api_min_ver = 15;
    hw->aq.asq_buf_size = hw->aq.arq_buf_size = I40E_MAX_AQ_BUF_SIZE;
    hw->func_caps.num_msix_vectors_vf = JUDGE_VECTORS;
    hw->func_caps.num_vfs = judge_vfs;
    hw->func_caps.vf_base_id = 0;
    hw->phy.link_info.max_frame_size = 9728;
    hw->phy.link_info.link_info = I40E_AQ_LINK_UP;
    hw->phy.link_info.link_speed = I40E_LINK_SPEED_10GB;
    mutex_init(&hw->aq.asq_mutex);
    err = i40e_init_lan_hmc(hw, JUDGE_CARD_QUEUES, JUDGE_CARD_QUEUES, 0, 0);
    return err ?: i40e_configure_lan_hmc(hw, I40E_HMC_MODEL_DIRECT_ONLY);
}

static int make_main_vsi(void)
{
    struct i40e_netdev_priv *priv;
    struct i40e_vsi *vsi = kzalloc(sizeof(*vsi), GFP_KERNEL);
    struct i40e_veb *veb = kzalloc(sizeof(*veb), GFP_KERNEL);

    netdev = alloc_etherdev(sizeof(*priv));
    if (!vsi || !veb || !netdev)
        return -ENOMEM;
    vsi->type = I40E_VSI_MAIN;
    vsi->back = judge_pf;
    vsi->seid = MAIN_SEID;
    vsi->id = MAIN_SEID; /* a VF 0 that names it passes i40e_vc_isvalid_vsi_id, as on a card */
    vsi->uplink_seid = 0x100;
    vsi->flags = I40E_VSI_FLAG_VEB_OWNER;
    spin_lock_init(&vsi->mac_filter_hash_lock);
    judge_pf->vsi[0] = vsi;
    judge_pf->lan_vsi = 0;
    judge_pf->next_vsi = 1;
    veb->pf = judge_pf;
    veb->seid = MAIN_SEID; /* VFs find the VEB by the seid of the main VSI */
    veb->uplink_seid = judge_pf->mac_seid;
    veb->bridge_mode = BRIDGE_MODE_VEB;
    judge_pf->veb[0] = veb;
    priv = netdev_priv(netdev);
    priv->vsi = vsi;
    return 0;
}

/* The part of the driver's service task that VFs depend on: VLAN filters are programmed by it. It runs when the driver
 * schedules it; the timer that runs it once a second is not played. */
static void service(struct work_struct *work)
{
    int i;

    for (i = 0; i < judge_pf->num_alloc_vsi; i++)
        if (judge_pf->vsi[i] && (judge_pf->vsi[i]->flags & I40E_VSI_FLAG_FILTER_CHANGED))
            i40e_sync_vsi_filters(judge_pf->vsi[i]);
}

static int make_pf(void)
{
    int i, err;

    preset_registers();
    judge_pf = kzalloc(sizeof(*judge_pf), GFP_KERNEL);
    if (!judge_pf)
        return -ENOMEM;
    judge_pf->pdev = &judge_pdev;
    judge_make_device(&judge_pdev, "judge-i40e", judge_pf);
    mutex_init(&judge_pf->switch_mutex);
    INIT_WORK(&judge_pf->service_task, service);
    judge_pf->num_alloc_vsi = VSIS;
    judge_pf->vsi = kcalloc(VSIS, sizeof(*judge_pf->vsi), GFP_KERNEL);
    judge_pf->qp_pile =
        kzalloc(sizeof(*judge_pf->qp_pile) + JUDGE_CARD_QUEUES * sizeof(u16), GFP_KERNEL);
    if (!judge_pf->vsi || !judge_pf->qp_pile)
        return -ENOMEM;
    judge_pf->qp_pile->num_entries = JUDGE_CARD_QUEUES;
    for (i = 0; i < PF_QUEUES; i++)
        judge_pf->qp_pile->list[i] = I40E_PILE_VALID_BIT;
    judge_pf->queues_left = 256;
    judge_pf->num_vf_qps = 4;
    judge_pf->mac_seid = 2;
    judge_pf->main_vsi_seid = MAIN_SEID;
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
    set_bit(I40E_FLAG_SRIOV_ENA, judge_pf->flags);
    set_bit(I40E_FLAG_VEB_MODE_ENA, judge_pf->flags);
#else
    judge_pf->flags = I40E_FLAG_SRIOV_ENABLED | I40E_FLAG_VEB_MODE_ENABLED;
#endif
    err = make_hardware();
    if (!err)
        err = make_main_vsi();
    if (!err)
        err = i40e_alloc_vfs(judge_pf, judge_vfs);
    return err;
}

/* ---- requests ---- */

struct held_filter {
    u8 mac[ETH_ALEN];
    s16 vlan;
} __packed;

struct held {
    u8 mac[ETH_ALEN];
    u16 pairs, vlans, filters;
    u16 rx_enabled, tx_enabled, unicast, multicast;
    u32 key[KEY_WORDS], lut[LUT_WORDS], hena[2];
    struct held_filter filter[256];
} __packed;

static void tell_state(struct i40e_vf *vf) /* what the PF holds for a VF */
{
    static struct held held;
    struct i40e_vsi *vsi = judge_pf->vsi[vf->lan_vsi_idx];
    struct i40e_mac_filter *f;
    struct hlist_node *h;
    int bucket, i;

    ether_addr_copy(held.mac, vf->default_lan_addr.addr);
    held.pairs = vf->num_queue_pairs;
    held.vlans = vf->num_vlan;
    held.rx_enabled = held.tx_enabled = 0;
    for (i = 0; i < JUDGE_VF_QUEUES; i++) {
        u32 at = judge_card_queue(vf->vf_id, i);

        if (at == JUDGE_NO_QUEUE)
            continue;
        held.rx_enabled |= !!(bar[I40E_QRX_ENA(at) / 4] & I40E_QRX_ENA_QENA_STAT_MASK) << i;
        held.tx_enabled |= !!(bar[I40E_QTX_ENA(at) / 4] & I40E_QRX_ENA_QENA_STAT_MASK) << i;
    }
    held.unicast = test_bit(I40E_VF_STATE_UC_PROMISC, &vf->vf_states);
    held.multicast = test_bit(I40E_VF_STATE_MC_PROMISC, &vf->vf_states);
    for (i = 0; i < KEY_WORDS; i++)
        held.key[i] = bar[I40E_VFQF_HKEY1(i, vf->vf_id) / 4];
    for (i = 0; i < LUT_WORDS; i++)
        held.lut[i] = bar[I40E_VFQF_HLUT1(i, vf->vf_id) / 4];
    for (i = 0; i < 2; i++)
        held.hena[i] = bar[I40E_VFQF_HENA1(i, vf->vf_id) / 4];
    held.filters = 0;
    hash_for_each_safe(vsi->mac_filter_hash, bucket, h, f, hlist)
    {
        if (f->state == I40E_FILTER_REMOVE || held.filters == ARRAY_SIZE(held.filter))
            continue;
        ether_addr_copy(held.filter[held.filters].mac, f->macaddr);
        held.filter[held.filters++].vlan = f->vlan;
    }
    judge_put(OUT_STATE, vf->vf_id, 0, 0, &held,
              offsetof(struct held, filter) + held.filters * sizeof(*held.filter));
}

static void count(u32 low, u64 value)
{
    bar[low / 4] = value;
    bar[low / 4 + 1] = value >> 32 & 0xffff;
}

/* Puts 12 counters, in the order of GET_STATS, where the card keeps those of a VF's VSI. */
static int count_all(const struct i40e_vf *vf, const u64 *c)
{
    u32 i = le16_to_cpu(judge_pf->vsi[vf->lan_vsi_idx]->info.stat_counter_idx);

    count(I40E_GLV_GORCL(i), c[0]);
    count(I40E_GLV_UPRCL(i), c[1]);
    count(I40E_GLV_MPRCL(i), c[2]);
    count(I40E_GLV_BPRCL(i), c[3]);
    bar[I40E_GLV_RDPC(i) / 4] = c[4];
    bar[I40E_GLV_RUPP(i) / 4] = c[5];
    count(I40E_GLV_GOTCL(i), c[6]);
    count(I40E_GLV_UPTCL(i), c[7]);
    count(I40E_GLV_MPTCL(i), c[8]);
    count(I40E_GLV_BPTCL(i), c[9]);
    bar[I40E_GLV_TEPC(i) / 4] = c[11];
    return 0;
}

static int set_wire(bool up, u32 speed)
{
    struct i40e_link_status *link = &judge_pf->hw.phy.link_info;

    link->link_info = up ? I40E_AQ_LINK_UP : 0;
    link->link_speed = speed;
    i40e_vc_notify_link_state(judge_pf);
    return 0;
}

static int act(const struct judge_request *in)
{
    if (in->vf >= judge_vfs && in->what != JUDGE_WRITE && in->what != JUDGE_REFUSE)
        return -EINVAL;
    switch (in->what) {
    case JUDGE_MESSAGE:
        return i40e_vc_process_vf_msg(judge_pf, in->vf, in->opcode, 0, judge_message, in->len);
    case JUDGE_TRUST:
        return i40e_ndo_set_vf_trust(netdev, in->vf, in->opcode);
    case JUDGE_MAC:
        return i40e_ndo_set_vf_mac(netdev, in->vf, judge_message);
    case JUDGE_FLR:
        reset_hardware(in->vf);
        bar[I40E_GLGEN_VFLRSTAT(in->vf / 32) / 4] |= BIT(in->vf % 32);
        set_bit(__I40E_VFLR_EVENT_PENDING, judge_pf->state);
        return i40e_vc_process_vflr_event(judge_pf);
    case JUDGE_READ:
        judge_put(OUT_REGISTER, 0, in->opcode, bar_read(NULL, in->opcode, 4), NULL, 0);
        return 0;
    case JUDGE_WRITE:
        bar_write(NULL, in->opcode, 4, in->vf);
        return 0;
    case JUDGE_PORT_VLAN:
        return i40e_ndo_set_vf_port_vlan(netdev, in->vf, in->opcode & 0xfff, 0, htons(ETH_P_8021Q));
    case JUDGE_LINK:
        return i40e_ndo_set_vf_link_state(netdev, in->vf, in->opcode);
    case JUDGE_SPOOFCHK:
        return i40e_ndo_set_vf_spoofchk(netdev, in->vf, in->opcode);
    case JUDGE_REFUSE:
        judge_refuse(in->opcode, in->vf);
        return 0;
    case JUDGE_RESET_ALL:
        if (in->opcode) { /* tell the VFs of it, no more */
            i40e_vc_notify_reset(judge_pf);
            return 0;
        }
        return i40e_reset_all_vfs(judge_pf, true) ? 0 : -EIO;
    case JUDGE_STATE:
        tell_state(&judge_pf->vf[in->vf]);
        return 0;
    case JUDGE_QUEUES:
        judge_tell_queues(&judge_pf->vf[in->vf]);
        return 0;
    case JUDGE_COUNT:
        return in->len == 12 * sizeof(u64)
                   ? count_all(&judge_pf->vf[in->vf], (const u64 *)judge_message)
                   : -EINVAL;
    case JUDGE_RESET:
        if (in->opcode)
            i40e_vc_notify_vf_reset(&judge_pf->vf[in->vf]);
        return i40e_reset_vf(&judge_pf->vf[in->vf], false) ? 0 : -EBUSY;
    case JUDGE_WIRE:
        return set_wire(in->opcode & 1, in->opcode >> 8);
    default:
        return -EINVAL;
    }
}

static int act_wholly(const struct judge_request *in)
{
    int done = act(in);

    flush_work(&judge_pf->service_task);
    return done;
}

static int __init judge(void)
{
    judge_play(&bar_ops, make_pf, act_wholly);
    return 0;
}
late_initcall(judge);
