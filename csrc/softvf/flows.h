/* SPDX-License-Identifier: BSD-3-Clause */
/* The flow director: which rule a frame fits (docs/spec/descriptors.md 14). */
#ifndef IAVFIO_SOFTVF_FLOWS_H
#define IAVFIO_SOFTVF_FLOWS_H

#include "softvf/cdef.h"
#include "softvf/packet.h"

/* What a rule does with its frames. */
struct flow_verdict {
    enum softvf_flow_action action;
    uint32_t queue, mask; /* mask: of the hash, which queue of the region */
    uint32_t mark;
    bool marked;
};

/* The rules of a VF, in a form that takes a frame about the same time however many they are. */
struct flow_table;

/* Sets *table, NULL for no rules. Returns 0, -EINVAL, -ENOSPC (plane_publish in cdef.h) or -ENOMEM. */
int flows_compile(const struct softvf_config *config, const struct pkt_tunnels *tunnels,
                  struct flow_table **table);
void flows_free(struct flow_table *table);
/* What the first rule that fits says, NULL when none does. */
const struct flow_verdict *flows_match(const struct flow_table *table, const uint8_t *frame,
                                       uint32_t len, const struct pkt_info *info);
/* How many patterns a frame is compared with: what a look costs. */
uint32_t flows_patterns(const struct flow_table *table);

#endif
