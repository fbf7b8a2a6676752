/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_SOFTVF_UPLINK_OPEN_H
#define IAVFIO_SOFTVF_UPLINK_OPEN_H

#include "softvf/uplink.h"

/* kind: none | loopback | tap:NAME | pcap:IN[,OUT][,start=,loop=,pace=] | gen[:size=N,flows=N]. NULL with a reason in
 * error[size]. */
struct uplink *uplink_open(const char *kind, char *error, size_t size);

#endif
