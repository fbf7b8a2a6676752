/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_SOFTVF_RULES_H
#define IAVFIO_SOFTVF_RULES_H

#include "softvf/cdef.h"
#include "softvf/packet.h"

/* Toeplitz hash of what the first rule that fits the frame names; of its packet class without one. */
uint32_t rules_hash(const struct softvf_config *config, const struct rss_conf *rss,
                    const uint8_t *frame, uint32_t len, const struct pkt_info *info, bool *valid);

#endif
