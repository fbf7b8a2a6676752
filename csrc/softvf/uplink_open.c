/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "softvf/uplink_open.h"

struct uplink *uplink_open(const char *kind, char *error, size_t size)
{
    bool loopback = strcmp(kind, "loopback") == 0;

    if (loopback || strcmp(kind, "none") == 0) {
        struct uplink *uplink = calloc(1, sizeof(*uplink));

        if (uplink)
            uplink->loopback = loopback;
        else
            snprintf(error, size, "no memory");
        return uplink;
    }
    if (strncmp(kind, "tap:", 4) == 0)
        return uplink_open_tap(kind + 4, error, size);
    if (strncmp(kind, "pcap:", 5) == 0)
        return uplink_open_pcap(kind + 5, error, size);
    if (strcmp(kind, "gen") == 0 || strncmp(kind, "gen:", 4) == 0)
        return uplink_open_gen(kind[3] ? kind + 4 : "", error, size);
    snprintf(error, size, "there is no uplink of that name");
    return NULL;
}
