/* SPDX-License-Identifier: BSD-3-Clause */
/* Headers and fields of a frame as rules know them: for RSS (rules.c) and the flow director (flows.c). */
#ifndef IAVFIO_SOFTVF_HEADERS_H
#define IAVFIO_SOFTVF_HEADERS_H

#include "softvf/cdef.h"
#include "softvf/packet.h"

#define NOWHERE 0xffffffff

/* Where the headers of a frame are, NOWHERE for those that it lacks. */
struct headers {
    uint32_t has;
    uint32_t s_vlan, c_vlan, type, pppoe;
    uint32_t l3;
    uint8_t version;
    uint32_t l4; /* TCP, UDP or SCTP, the innermost */
    uint32_t id; /* of the tunnel that `has` names: TEID, session, SPI or SEID */
    uint32_t qfi;
};

/* A field in the frame, NOWHERE when the frame lacks its header. A mask other than 0 says which bits of it
 * count; it is then no longer than two bytes. */
struct place {
    uint32_t at, size;
    uint16_t mask;
};

/* Frames of any length; `comms`: the parser knows the protocols of the comms package. */
void headers_find(const uint8_t *frame, uint32_t len, bool comms, const struct pkt_info *info,
                  struct headers *found);
/* Whether the frame is of those that a rule for `wanted` (SOFTVF_HAS_*) is of. */
bool headers_fit(const struct headers *found, uint32_t wanted);
/* As headers_fit, for a template: one of GTP-U stands for all its kinds. */
bool headers_promised(const struct headers *found, uint32_t wanted);
/* Of one SOFTVF_OF_*. That the field ends inside the frame is the caller's to see. */
struct place headers_place(const struct headers *found, uint32_t field);

#endif
