/* SPDX-License-Identifier: BSD-3-Clause */
/* What Python sees of this room. */
#ifndef IAVFIO_VFIO_CDEF_H
#define IAVFIO_VFIO_CDEF_H

#include <stdint.h>

struct vfio_regio;
struct vu_conn;
struct bar_io;

/* vfio-user connection (docs/spec/vfio-user.md 1). The socket, the line of those who wait for it and the message
 * ids live here, because Python and C threads both write. Functions return 0, a negative errno of the transport, or a
 * positive errno that the server answered with. A deadline that is missed ends the connection: everything
 * later fails at once, and lost_command tells which request it was. */
struct vu_conn *vu_conn_new(int fd);
void vu_conn_free(struct vu_conn *conn);
int vu_conn_fd(const struct vu_conn *conn);
int vu_conn_broken(const struct vu_conn *conn);
uint16_t vu_conn_lost_command(const struct vu_conn *conn);
void vu_conn_abandon(struct vu_conn *conn);
/* How many milliseconds the request of lost_command had waited. */
int64_t vu_conn_lost_after(const struct vu_conn *conn);
/* From now on no wait of anybody lasts longer than left_ms from here; negative: no such limit. From
 * VU_GRACE_FROM_MS on the limit is one of silence: a server that answers each request within a third of
 * left_ms is slow, and not lost, until slow_ms from here; that is no less than left_ms. */
enum { VU_GRACE_FROM_MS = 1000 };
void vu_conn_limit(struct vu_conn *conn, int left_ms, int slow_ms);
/* A request that is given up half-way says something of its server: until a message comes from there, every
 * further one on that connection waits no longer than VU_GIVEN_UP_MS, so that what cleans up behind Ctrl-C
 * does not wait for a server that stands still. */
enum { VU_GIVEN_UP_MS = 500, VU_HASTE_MS = 50 };
/* The process was told to end (1) or not (0): from now on no request of any connection waits longer than
 * VU_HASTE_MS. */
void vu_hasten(int on);
int vu_request(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size,
               const int *fds, uint32_t nfds, void *reply, uint32_t capacity, uint32_t *reply_size,
               int *reply_fds, uint32_t *reply_nfds, int timeout_ms);
int vu_post(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size,
            int timeout_ms);

/* One request in slices, so that whoever waits can look after signals in between. run returns -EAGAIN when
 * slice_ms are over (negative: no slices) and is then called again; end comes last in any case, also
 * after giving up. What a call points to stays where it is until then. */
struct vu_call {
    uint16_t command;
    uint16_t posted; /* no reply is wanted */
    const void *payload;
    uint32_t payload_size;
    uint32_t send_nfds;
    const int *send_fds;
    void *reply;
    uint32_t capacity;
    int timeout_ms;
    uint32_t size; /* of the reply */
    uint32_t nfds; /* with the reply; end closes those that are still counted here */
    int fds[16];
    /* vu_conn's own */
    uint32_t phase;
    uint32_t sent;
    uint16_t id;
    int64_t deadline;
    int64_t left; /* when run last returned -EAGAIN, 0: never */
    struct vu_call *next; /* in line behind this one */
    uint32_t away; /* its caller does something else between two runs, and has no turn */
    uint64_t caller; /* its thread */
    int64_t looked; /* when run last looked at the clock */
    int64_t patient; /* it listens until then, also beyond its deadline; 0: no longer than that */
};
/* The time between two runs does not count: a caller that was held up must not miss a reply. One that did not run
 * while its deadline passed has VU_AWAKE_MS, once, to take what came meanwhile. A caller that asks in a
 * signal handler, while its thread's own request is under way, gets -EDEADLK at once: that request
 * could not end before the handler does. */
enum { VU_AWAKE_MS = 200 };
int vu_call_run(struct vu_conn *conn, struct vu_call *call, int slice_ms);
void vu_call_end(struct vu_conn *conn, struct vu_call *call);

/* Why a server's file must not be mapped up to `end`, as in "the file ..."; NULL where it may be: its pages stay
 * there and nobody can make whoever touches them wait (docs/spec/reliability.md F32). */
const char *bar_file_unfit(int fd, uint64_t end);

/* One BAR: areas that are mapped, and a way to reach the rest. */
struct bar_io *bar_io_new_user(struct vu_conn *conn, uint32_t region, uint64_t size,
                               int timeout_ms);
struct bar_io *bar_io_new_file(int fd, uint64_t file_offset, uint64_t size);
int bar_io_add_area(struct bar_io *bar, uint64_t offset, uint64_t size, void *address);
struct vfio_regio *bar_io_regio(struct bar_io *bar);
/* One access in slices, as vu_call: the result is that of run, and `value` what was read. */
struct bar_access {
    uint64_t offset;
    uint32_t value;
    uint32_t write;
    struct vu_call call;
    uint32_t request[5]; /* what goes to a server */
    uint32_t reply[5];
};
int bar_io_run(struct bar_io *bar, struct bar_access *access, int slice_ms);
void bar_io_end(struct bar_io *bar, struct bar_access *access);
uint32_t bar_io_read32(struct bar_io *bar, uint64_t offset);
int bar_io_write32(struct bar_io *bar, uint64_t offset, uint32_t value);
int bar_io_lost(const struct bar_io *bar);
void bar_io_set_lost(struct bar_io *bar);
void bar_io_set_found(struct bar_io *bar);
void bar_io_free(struct bar_io *bar);

/* Memory: each function returns 0 or a negative errno. */
int memory_prefault(void *address, uint64_t size, uint64_t page_size);
int memory_bind_node(void *address, uint64_t size, int node);
int memory_replace_with_zeros(void *address, uint64_t size);
int memory_arrange(void *address, int fd, const uint64_t *offsets, uint64_t count, uint64_t page);
int memory_give_back(int fd, uint64_t offset, uint64_t size);
int bus_error_guard(void *address, uint64_t size, uint32_t *lost, const void *kept, int pages);
int bus_error_pages(void *address, uint64_t size);
void bus_error_unguard(void *address);

#endif
