// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* What every judge has: registers at an address of their own, and the link to the test that asks it. */
#ifndef JUDGE_HOST_H
#define JUDGE_HOST_H

#include <linux/logic_iomem.h>
#include <linux/pci.h>
#include <linux/types.h>

#define BAR_SIZE 0x800000
#define BAR_BASE 0x4000000000ul
#define VF_COUNT 4

/* Frames to the host, and requests from it, as process.py numbers them. */
enum {
    OUT_MESSAGE = 1,
    OUT_COMMAND,
    OUT_END,
    OUT_REGISTER,
    OUT_STATE,
    OUT_RESET, /* the hardware half of a VF's reset is asked for */
    OUT_RSTAT, /* the PF writes a VF's VFGEN_RSTAT */
    OUT_QUEUES
};
enum {
    JUDGE_MESSAGE = 1,
    JUDGE_TRUST,
    JUDGE_MAC,
    JUDGE_FLR,
    JUDGE_READ,
    JUDGE_WRITE,
    JUDGE_PORT_VLAN,
    JUDGE_FLAG,
    JUDGE_END,
    JUDGE_LINK,
    JUDGE_SPOOFCHK,
    JUDGE_REFUSE,
    JUDGE_RESET_ALL,
    JUDGE_STATE,
    JUDGE_QUEUES,
    JUDGE_COUNT,
    JUDGE_WIRE,
    JUDGE_RESET
};

struct judge_request {
    u32 what, vf, opcode, len;
} __packed;

extern u8 judge_message[8192]; /* the len bytes that came with the request in hand */
extern u32 *bar; /* the registers */

/* Writes one frame to the host. */
void judge_put(u32 kind, u32 vf, u32 opcode, u32 retval, const void *data, u32 len);

/* Gives the device what a driver's DMA needs, and `pf` as its driver's data. */
void judge_make_device(struct pci_dev *device, const char *name, void *pf);

/* Plays a card: makes its registers, then the PF, then answers requests until the host goes. `act` carries out one
 * request and returns 0 or an errno. */
void judge_play(const struct logic_iomem_ops *registers, int (*make)(void),
                int (*act)(const struct judge_request *request));

#endif
