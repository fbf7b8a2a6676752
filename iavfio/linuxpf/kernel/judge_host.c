// SPDX-License-Identifier: GPL-2.0 OR BSD-3-Clause
/* The part of a judge that knows no driver. Requests come on host fd 3, what the PF sends goes out on host fd 4; the
 * frames are those of process.py. */
#include <linux/dma-mapping.h>
#include <linux/reboot.h>
#include <linux/vmalloc.h>
#include <os.h>

#include "judge_host.h"

#define FD_IN 3
#define FD_OUT 4

u8 judge_message[8192];
u32 *bar;

/* ---- registers ---- */

static const struct logic_iomem_ops *bar_ops;

static long bar_map(unsigned long offset, size_t size, const struct logic_iomem_ops **ops,
                    void **priv)
{
    *ops = bar_ops;
    return offset;
}

static const struct logic_iomem_region_ops region_ops = {.map = bar_map};
static struct resource bar_resource = {
    .name = "judge",
    .start = BAR_BASE,
    .end = BAR_BASE + BAR_SIZE - 1,
    .flags = IORESOURCE_MEM,
};

void judge_make_device(struct pci_dev *device, const char *name, void *pf)
{
    device_initialize(&device->dev);
    dev_set_name(&device->dev, "%s", name);
    device->dma_mask = DMA_BIT_MASK(64);
    device->dev.dma_mask = &device->dma_mask;
    device->dev.coherent_dma_mask = DMA_BIT_MASK(64);
    pci_set_drvdata(device, pf);
}

/* ---- the link to the host ---- */

struct out {
    u32 kind, vf, opcode, retval, len;
} __packed;

void judge_put(u32 kind, u32 vf, u32 opcode, u32 retval, const void *data, u32 len)
{
    struct out head = {kind, vf, opcode, retval, len};

    os_write_file(FD_OUT, &head, sizeof(head));
    if (len)
        os_write_file(FD_OUT, data, len);
}

static int get(void *to, int len)
{
    int done = 0;

    while (done < len) {
        int n = os_read_file(FD_IN, to + done, len - done);

        if (n == -EINTR || n == -EAGAIN)
            continue;
        if (n <= 0)
            return -EIO;
        done += n;
    }
    return 0;
}

static void serve(int (*act)(const struct judge_request *request))
{
    struct judge_request in;

    judge_put(OUT_END, 0, 0, 0, NULL, 0); /* ready */
    while (!get(&in, sizeof(in))) {
        if (in.what == JUDGE_END || in.len > sizeof(judge_message) ||
            (in.len && get(judge_message, in.len)))
            return;
        judge_put(OUT_END, in.vf, in.opcode, act(&in), NULL, 0);
    }
}

void judge_play(const struct logic_iomem_ops *registers, int (*make)(void),
                int (*act)(const struct judge_request *request))
{
    int err;

    bar_ops = registers;
    bar = vzalloc(BAR_SIZE);
    err = bar ? logic_iomem_add_region(&bar_resource, &region_ops) : -ENOMEM;
    if (!err)
        err = make();
    pr_info("judge: PF %d\n", err);
    if (!err)
        serve(act);
    kernel_power_off();
}
