/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "softvf/uplink.h"

struct uplink *uplink_open(const char *spec, char *error, size_t size)
{
    bool loopback = strcmp(spec, "loopback") == 0;

    if (loopback || strcmp(spec, "none") == 0) {
        struct uplink *uplink = calloc(1, sizeof(*uplink));

        if (uplink)
            uplink->loopback = loopback;
        else
            snprintf(error, size, "no memory");
        return uplink;
    }
    if (strncmp(spec, "tap:", 4) == 0)
        return uplink_open_tap(spec + 4, error, size);
    if (strncmp(spec, "pcap:", 5) == 0)
        return uplink_open_pcap(spec + 5, error, size);
    if (strcmp(spec, "gen") == 0 || strncmp(spec, "gen:", 4) == 0)
        return uplink_open_gen(spec[3] ? spec + 4 : "", error, size);
    snprintf(error, size,
             "there is no uplink \"%s\": none, loopback, tap:NAME, pcap:IN[,OUT] or "
             "gen[:size=N,flows=N]",
             spec);
    return NULL;
}
