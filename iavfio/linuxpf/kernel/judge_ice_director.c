// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The flow director of the ice judge's card. The driver programs it through the queues of a control VSI that it makes
 * for a VF: a descriptor and the packet to look for go out through the one, what came of it returns through the other,
 * with an interrupt. Filters go to the host as the driver wrote them; the card remembers which ones it has. */
#include <linux/interrupt.h>
#include <linux/io.h>
#include <linux/list.h>
#include <linux/slab.h>

#include "judge_ice.h"
#include "ice_fdir.h"
#include "ice_lib.h"

#define GUARANTEED 0x800 /* filters that the functions divide among themselves */
#define BEST_EFFORT 0x3800 /* filters for whoever comes first */
#define PACKET                                                                                     \
    256 /* bytes of one that the host is told and that tell filters apart: no header is beyond them */
#define STATUS_FORMAT 0x40 /* the descriptor of a programming status */
#define FIRST_IRQ 1000 /* numbers that the kernel has no interrupt for */

struct filter {
    struct list_head list;
    u16 vsi;
    u8 packet[PACKET];
};

struct programmed {
    struct ice_fltr_desc how;
    u8 packet[PACKET];
} __packed;

static LIST_HEAD(filters);

static void count_filters(int change)
{
    bar[GLQF_FD_CNT / 4] += change * (1 << GLQF_FD_CNT_FD_BCNT_S);
}

void judge_preset_director(void)
{
    bar[GLQF_FD_SIZE / 4] = BEST_EFFORT << GLQF_FD_SIZE_FD_BSIZE_S | GUARANTEED
                                                                         << GLQF_FD_SIZE_FD_GSIZE_S;
}

void judge_forget_filters(u16 vsi)
{
    struct filter *each, *next;

    list_for_each_entry_safe(each, next, &filters, list)
    {
        if (each->vsi != vsi)
            continue;
        list_del(&each->list);
        kfree(each);
        count_filters(-1);
    }
    judge_put(OUT_COMMAND, 0, JUDGE_FORGETS, 0, &vsi, sizeof(vsi));
}

static struct filter *find(u16 vsi, const u8 *packet)
{
    struct filter *each;

    list_for_each_entry(each, &filters, list)
    {
        if (each->vsi == vsi && !memcmp(each->packet, packet, PACKET))
            return each;
    }
    return NULL;
}

/* Adds or removes a filter; false when there is no room for it, or no such filter. */
static bool program(u64 how, const u8 *packet)
{
    u16 vsi = (how & ICE_FXD_FLTR_QW1_FD_VSI_M) >> ICE_FXD_FLTR_QW1_FD_VSI_S;
    struct filter *known = find(vsi, packet);

    if (how & ICE_FXD_FLTR_QW1_PCMD_M) {
        if (!known)
            return false;
        list_del(&known->list);
        kfree(known);
        count_filters(-1);
        return true;
    }
    if (known)
        return true;
    if (bar[GLQF_FD_CNT / 4] >> GLQF_FD_CNT_FD_BCNT_S >= BEST_EFFORT)
        return false;
    known = kzalloc(sizeof(*known), GFP_ATOMIC);
    if (!known)
        return false;
    known->vsi = vsi;
    memcpy(known->packet, packet, PACKET);
    list_add(&known->list, &filters);
    count_filters(1);
    return true;
}

/* What came of it, as the card writes it into the queue that the control VSI receives by. */
static void answer(struct ice_vsi *control, bool removal, bool done)
{
    struct ice_rx_ring *ring = control->rx_rings[0];
    union ice_32b_rx_flex_desc *status = ICE_RX_DESC(ring, ring->next_to_clean);

    memset(status, 0, sizeof(*status));
    status->wb.rxdid = STATUS_FORMAT;
    status->wb.status_error0 =
        cpu_to_le16(ICE_FXD_FLTR_WB_QW1_DD_YES << ICE_FXD_FLTR_WB_QW1_DD_S |
                    (removal ? ICE_FXD_FLTR_WB_QW1_PROG_DEL << ICE_FXD_FLTR_WB_QW1_PROG_ID_S : 0) |
                    (done ? 0 : ICE_FXD_FLTR_WB_QW1_FAIL_YES << ICE_FXD_FLTR_WB_QW1_FAIL_S));
}

static struct ice_vsi *control_of(struct ice_pf *pf, u16 queue)
{
    int i;

    for (i = 0; i < pf->num_alloc_vsi; i++) {
        struct ice_vsi *vsi = pf->vsi[i];

        if (vsi && vsi->type == ICE_VSI_CTRL && vsi->vf && vsi->tx_rings && vsi->tx_rings[0] &&
            vsi->tx_rings[0]->reg_idx == queue)
            return vsi;
    }
    return NULL;
}

void judge_doorbell(struct ice_pf *pf, u16 queue, u16 tail)
{
    struct ice_vsi *control = control_of(pf, queue);
    struct ice_tx_ring *ring = control ? control->tx_rings[0] : NULL;
    static struct programmed out;
    u16 at, pairs;

    if (!ring || !ring->desc || tail >= ring->count)
        return;
    at = ring->next_to_clean;
    pairs = (tail + ring->count - at) % ring->count / 2;
    for (; pairs; pairs--, at = (at + 2) % ring->count) {
        struct ice_tx_desc *packet = ICE_TX_DESC(ring, (at + 1) % ring->count);
        u64 how;
        bool done;

        out.how = *ICE_TX_FDIRDESC(ring, at);
        memcpy(out.packet, phys_to_virt(le64_to_cpu(packet->buf_addr)), PACKET);
        how = le64_to_cpu(out.how.dtype_cmd_vsi_fdid);
        done = program(how, out.packet);
        judge_put(OUT_COMMAND, 0, JUDGE_PROGRAMS, done ? 0 : -EIO, &out, sizeof(out));
        packet->cmd_type_offset_bsz |= cpu_to_le64(ICE_TX_DESC_DTYPE_DESC_DONE);
        answer(control, how & ICE_FXD_FLTR_QW1_PCMD_M, done);
        control->irq_handler(FIRST_IRQ, control->q_vectors[0]);
    }
}

/* A pattern of raw bytes is parsed by the package's parse graph, which the judge does not have. Where it is missing the
 * driver frees an error pointer; a card whose package is loaded never comes there. */
struct ice_parser;
struct ice_parser *judge_parser_create(struct ice_hw *hw);
struct ice_parser *judge_parser_create(struct ice_hw *hw)
{
    return ERR_PTR(-EOPNOTSUPP);
}

/* ---- interrupts: the judge raises a control VSI's itself, so the kernel need not know them */

int judge_irq_vector(struct pci_dev *dev, unsigned int number)
{
    return FIRST_IRQ + number;
}

int judge_request_irq(struct device *dev, unsigned int irq, irq_handler_t handler,
                      irq_handler_t thread, unsigned long flags, const char *name, void *of);
int judge_request_irq(struct device *dev, unsigned int irq, irq_handler_t handler,
                      irq_handler_t thread, unsigned long flags, const char *name, void *of)
{
    return 0;
}

void judge_free_irq(struct device *dev, unsigned int irq, void *of);
void judge_free_irq(struct device *dev, unsigned int irq, void *of)
{
}
