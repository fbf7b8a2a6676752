/* SPDX-License-Identifier: BSD-3-Clause */
/* The VF's admin queue (mailbox): descriptor, flags, opcodes, return codes
 * (docs/spec/admin-queue.md 1, 2). */
#ifndef IAVFIO_HW_ADMINQ_H
#define IAVFIO_HW_ADMINQ_H

#include <stdint.h>

struct aq_desc {
    uint16_t flags;
    uint16_t opcode;
    uint16_t datalen;
    uint16_t retval;
    uint32_t cookie_high; /* virtchnl opcode */
    uint32_t cookie_low;  /* virtchnl status */
    uint32_t param0;
    uint32_t param1;
    uint32_t addr_high;
    uint32_t addr_low;
};

enum aq_flag {
    AQ_FLAG_DD = 0x0001,
    AQ_FLAG_CMP = 0x0002,
    AQ_FLAG_ERR = 0x0004,
    AQ_FLAG_VFE = 0x0008,
    AQ_FLAG_LB = 0x0200,
    AQ_FLAG_RD = 0x0400,
    AQ_FLAG_VFC = 0x0800,
    AQ_FLAG_BUF = 0x1000,
    AQ_FLAG_SI = 0x2000,
    AQ_FLAG_EI = 0x4000,
    AQ_FLAG_FE = 0x8000
};

enum aq_opcode {
    AQ_QUEUE_SHUTDOWN = 0x0003,
    AQ_SEND_MSG_TO_PF = 0x0801,
    AQ_SEND_MSG_TO_VF = 0x0802,
    AQ_SET_RSS_KEY = 0x0b02,
    AQ_SET_RSS_LUT = 0x0b03,
    AQ_GET_RSS_KEY = 0x0b04,
    AQ_GET_RSS_LUT = 0x0b05
};

enum aq_retval {
    AQ_RC_OK = 0,
    AQ_RC_EPERM = 1,
    AQ_RC_ENOENT = 2,
    AQ_RC_ESRCH = 3,
    AQ_RC_EIO = 5,
    AQ_RC_EAGAIN = 8,
    AQ_RC_ENOMEM = 9,
    AQ_RC_EACCES = 10,
    AQ_RC_EBUSY = 12,
    AQ_RC_EEXIST = 13,
    AQ_RC_EINVAL = 14,
    AQ_RC_ENOSPC = 16,
    AQ_RC_ENOSYS = 17,
    AQ_RC_EMODE = 21,
    AQ_RC_ENOSEC = 24,
    AQ_RC_EBADSIG = 25,
    AQ_RC_ESVN = 26,
    AQ_RC_EBADMAN = 27,
    AQ_RC_EBADBUF = 28
};

#define AQ_MAX_ENTRIES 1023
#define AQ_LARGE_BUFFER 512  /* LB is set when a buffer is larger */
#define AQ_BUFFER_SIZE 4096  /* what every driver posts; a message never exceeds it */
#define AQ_BASE_ALIGN 64

#endif
