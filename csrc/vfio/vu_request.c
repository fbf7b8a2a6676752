/* SPDX-License-Identifier: BSD-3-Clause */
/* Requests of callers that wait for the whole of one call. */
#include <string.h>

#include "vfio/vu_conn.h"

int vu_request(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size,
               const int *fds, uint32_t nfds, void *reply, uint32_t capacity, uint32_t *reply_size,
               int *reply_fds, uint32_t *reply_nfds, int timeout_ms)
{
    struct vu_call call = {.command = command,
                           .payload = payload,
                           .payload_size = size,
                           .send_fds = fds,
                           .send_nfds = nfds,
                           .reply = reply,
                           .capacity = capacity,
                           .timeout_ms = timeout_ms};
    int result = vu_call_run(conn, &call, -1);

    if (result == 0 && reply_size)
        *reply_size = call.size;
    if (result == 0 && reply_fds) {
        memcpy(reply_fds, call.fds, call.nfds * sizeof(int));
        *reply_nfds = call.nfds;
        call.nfds = 0;
    }
    vu_call_end(conn, &call);
    return result;
}

int vu_post(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size,
            int timeout_ms)
{
    struct vu_call call = {.command = command,
                           .payload = payload,
                           .payload_size = size,
                           .posted = 1,
                           .timeout_ms = timeout_ms};
    int result = vu_call_run(conn, &call, -1);

    vu_call_end(conn, &call);
    return result;
}
