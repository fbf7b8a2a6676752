/* SPDX-License-Identifier: BSD-3-Clause */
#ifndef IAVFIO_VFIO_VU_LINE_H
#define IAVFIO_VFIO_VU_LINE_H

/* The line of calls before one connection, first come first served: the stream is the first one's. */
#include <pthread.h>
#include <stdbool.h>

#include "vfio/cdef.h"

enum phase { CALL_NEW, CALL_WAITS, CALL_SENDS, CALL_LISTENS, CALL_OVER };

struct vu_line {
    pthread_mutex_t lock;
    pthread_cond_t turn;
    struct vu_call *head;
    struct vu_call *tail;
};

/* An empty line, also in the place of one that a fork has left in any state. */
void vu_line_begin(struct vu_line *line);
void vu_line_end(struct vu_line *line);

/* The call stands behind all others. 1, or -EDEADLK: the thread's own request is under way. */
int vu_line_join(struct vu_line *line, struct vu_call *call);
void vu_line_leave(struct vu_line *line, struct vu_call *call);

/* Between two runs a caller answers signals, for as long as it likes: who stands behind it goes first then. */
void vu_line_set_away(struct vu_line *line, struct vu_call *call, bool away);

/* Whether all before the call are away, or have said what they have to say and listen. The line stands still then
 * until vu_line_go_on: nobody begins to send meanwhile. */
bool vu_line_halt(struct vu_line *line, const struct vu_call *call);
void vu_line_go_on(struct vu_line *line);

/* Whether it is the call's turn; waits for that no longer than `ms`. */
bool vu_line_wait(struct vu_line *line, struct vu_call *call, int ms);

#endif
