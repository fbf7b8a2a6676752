/* SPDX-License-Identifier: BSD-3-Clause */
/* What Python sees of this room. */
#ifndef IAVFIO_VFIO_CDEF_H
#define IAVFIO_VFIO_CDEF_H

#include <stdint.h>

struct vfio_regio;
struct vu_conn;
struct bar_io;

/* vfio-user connection (docs/spec/vfio-user.md 1). The socket, its lock and the message ids live here,
 * because Python and C threads both write. Functions return 0, a negative errno of the transport, or a
 * positive errno that the server answered with. */
struct vu_conn *vu_conn_new(int fd);
void vu_conn_free(struct vu_conn *conn);
int vu_conn_fd(const struct vu_conn *conn);
int vu_conn_broken(const struct vu_conn *conn);
void vu_conn_abandon(struct vu_conn *conn);
int vu_request(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size,
               const int *fds, uint32_t nfds, void *reply, uint32_t capacity, uint32_t *reply_size,
               int *reply_fds, uint32_t *reply_nfds, int timeout_ms);
int vu_post(struct vu_conn *conn, uint16_t command, const void *payload, uint32_t size);

/* One BAR: areas that are mapped, and a way to reach the rest. */
struct bar_io *bar_io_new_user(struct vu_conn *conn, uint32_t region, uint64_t size,
                               int timeout_ms);
struct bar_io *bar_io_new_file(int fd, uint64_t file_offset, uint64_t size);
int bar_io_add_area(struct bar_io *bar, uint64_t offset, uint64_t size, void *address);
struct vfio_regio *bar_io_regio(struct bar_io *bar);
uint32_t bar_io_read32(struct bar_io *bar, uint64_t offset);
int bar_io_write32(struct bar_io *bar, uint64_t offset, uint32_t value);
int bar_io_lost(const struct bar_io *bar);
void bar_io_set_lost(struct bar_io *bar);
void bar_io_free(struct bar_io *bar);

/* Memory: each function returns 0 or a negative errno. */
int memory_prefault(void *address, uint64_t size, uint64_t page_size);
int memory_bind_node(void *address, uint64_t size, int node);
int memory_replace_with_zeros(void *address, uint64_t size);
int memory_arrange(void *address, int fd, const uint64_t *offsets, uint64_t count, uint64_t page);
int memory_give_back(int fd, uint64_t offset, uint64_t size);
int bus_error_guard(void *address, uint64_t size, uint32_t *lost);
void bus_error_unguard(void *address);

#endif
