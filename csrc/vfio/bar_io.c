/* SPDX-License-Identifier: BSD-3-Clause */
/* Access to one BAR: mapped areas by load and store, all else by message or pread/pwrite. */
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vfio/bus_error.h"
#include "vfio/regio.h"
#include "vfio/vu_conn.h"

#define BAR_MAX_AREAS 8
#define GONE 0xffffffffu

struct bar_area {
    uint64_t offset;
    uint64_t size;
    volatile uint8_t *address;
};

struct bar_io {
    struct vfio_regio regio; /* first: a regio pointer is a bar_io pointer */
    uint64_t size;
    uint32_t areas;
    uint32_t lost;
    struct bar_area area[BAR_MAX_AREAS];
    struct vu_conn *conn; /* NULL: by file */
    uint32_t region;
    int timeout_ms;
    int fd;
    uint64_t file_offset;
};

static volatile uint32_t *mapped(const struct bar_io *bar, uint64_t offset)
{
    for (uint32_t i = 0; i < bar->areas; i++) {
        const struct bar_area *area = &bar->area[i];

        if (offset >= area->offset && offset - area->offset <= area->size - 4)
            return (volatile uint32_t *)(uintptr_t)(area->address + (offset - area->offset));
    }
    return NULL;
}

/* Writes are posted: a register write has no result worth a round trip, and one socket keeps all accesses in
 * order. */
static int run_user(struct bar_io *bar, struct bar_access *access, int slice_ms)
{
    struct vu_call *call = &access->call;
    int result;

    if (!call->command) {
        struct vu_region_access header = {
            .offset = access->offset, .region = bar->region, .count = 4};

        memcpy(access->request, &header, sizeof(header));
        access->request[4] = access->value;
        call->command = access->write ? VU_REGION_WRITE : VU_REGION_READ;
        call->posted = access->write != 0;
        call->payload = access->request;
        call->payload_size = access->write ? 20 : 16;
        call->reply = access->reply;
        call->capacity = sizeof(access->reply);
        call->timeout_ms = bar->timeout_ms;
    }
    result = vu_call_run(bar->conn, call, slice_ms);
    if (result == 0 && !access->write) {
        result = call->size == sizeof(access->reply) ? 0 : -EPROTO;
        access->value = access->reply[4];
    }
    if (result && result != -EAGAIN && vu_conn_broken(bar->conn))
        bar_io_set_lost(bar);
    return result;
}

/* What pread or pwrite of one register came to. A device that was removed answers ENODEV or EIO. */
static int file_result(struct bar_io *bar, ssize_t moved)
{
    int error = moved < 0 ? errno : EIO;

    if (moved == 4)
        return 0;
    if (moved < 0 && (error == ENODEV || error == EIO))
        bar_io_set_lost(bar);
    return -error;
}

/* What was stored to DMA memory must be visible before the device is told to look: no such store may
 * sink below the register write. A device is outside the CPUs' own shareable domain. */
static void memory_before_register(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb oshst" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_RELEASE);
#endif
}

static int read_once(struct bar_io *bar, struct bar_access *access)
{
    volatile uint32_t *place = mapped(bar, access->offset);
    ssize_t moved;

    if (place) {
        access->value = *place;
        return 0;
    }
    moved = pread(bar->fd, &access->value, 4, (off_t)(bar->file_offset + access->offset));
    return file_result(bar, moved);
}

static int write_once(struct bar_io *bar, const struct bar_access *access)
{
    volatile uint32_t *place = mapped(bar, access->offset);
    ssize_t moved;

    if (place) {
        *place = access->value;
        return 0;
    }
    moved = pwrite(bar->fd, &access->value, 4, (off_t)(bar->file_offset + access->offset));
    return file_result(bar, moved);
}

int bar_io_run(struct bar_io *bar, struct bar_access *access, int slice_ms)
{
    int result;

    if (bar_io_lost(bar))
        result = -ENODEV;
    else if (access->offset > bar->size - 4 || (access->offset & 3))
        result = -EINVAL;
    else {
        if (access->write)
            memory_before_register();
        if (bar->conn && !mapped(bar, access->offset))
            result = run_user(bar, access, slice_ms);
        else
            result = access->write ? write_once(bar, access) : read_once(bar, access);
    }
    if (result && result != -EAGAIN && !access->write)
        access->value = GONE;
    return result;
}

void bar_io_end(struct bar_io *bar, struct bar_access *access)
{
    if (bar->conn)
        vu_call_end(bar->conn, &access->call);
}

uint32_t bar_io_read32(struct bar_io *bar, uint64_t offset)
{
    struct bar_access access = {.offset = offset};

    bar_io_run(bar, &access, -1);
    bar_io_end(bar, &access);
    return access.value;
}

int bar_io_write32(struct bar_io *bar, uint64_t offset, uint32_t value)
{
    struct bar_access access = {.offset = offset, .value = value, .write = 1};
    int result = bar_io_run(bar, &access, -1);

    bar_io_end(bar, &access);
    return result;
}

static uint32_t regio_read32(struct vfio_regio *io, uint64_t offset)
{
    return bar_io_read32((struct bar_io *)(void *)io, offset);
}

static int regio_write32(struct vfio_regio *io, uint64_t offset, uint32_t value)
{
    return bar_io_write32((struct bar_io *)(void *)io, offset, value);
}

static struct bar_io *bar_io_new(uint64_t size)
{
    struct bar_io *bar = size < 4 ? NULL : calloc(1, sizeof(*bar));

    if (bar) {
        bar->regio.read32 = regio_read32;
        bar->regio.write32 = regio_write32;
        bar->size = size;
        bar->fd = -1;
    }
    return bar;
}

struct bar_io *bar_io_new_user(struct vu_conn *conn, uint32_t region, uint64_t size, int timeout_ms)
{
    struct bar_io *bar = bar_io_new(size);

    if (bar) {
        bar->conn = conn;
        bar->region = region;
        bar->timeout_ms = timeout_ms;
    }
    return bar;
}

struct bar_io *bar_io_new_file(int fd, uint64_t file_offset, uint64_t size)
{
    struct bar_io *bar = bar_io_new(size);

    if (bar) {
        bar->fd = fd;
        bar->file_offset = file_offset;
    }
    return bar;
}

int bar_io_add_area(struct bar_io *bar, uint64_t offset, uint64_t size, void *address)
{
    struct bar_area *area = &bar->area[bar->areas];
    int result;

    if (bar->areas == BAR_MAX_AREAS)
        return -ENOSPC;
    if (size < 4 || offset > bar->size || size > bar->size - offset)
        return -EINVAL;
    result = bus_error_guard(address, size, &bar->lost, NULL, -1);
    if (result)
        return result;
    area->offset = offset;
    area->size = size;
    area->address = address;
    bar->areas++;
    return 0;
}

struct vfio_regio *bar_io_regio(struct bar_io *bar)
{
    return &bar->regio;
}

int bar_io_lost(const struct bar_io *bar)
{
    return (int)__atomic_load_n(&bar->lost, __ATOMIC_RELAXED);
}

void bar_io_set_lost(struct bar_io *bar)
{
    uint32_t there = 0;

    __atomic_compare_exchange_n(&bar->lost, &there, 1, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void bar_io_set_found(struct bar_io *bar)
{
    uint32_t once = 1; /* BUS_ERROR_LOST stays: what is stored there would reach no device */

    __atomic_compare_exchange_n(&bar->lost, &once, 0, 0, __ATOMIC_RELAXED, __ATOMIC_RELAXED);
}

void bar_io_free(struct bar_io *bar)
{
    if (!bar)
        return;
    for (uint32_t i = 0; i < bar->areas; i++)
        bus_error_unguard((void *)(uintptr_t)bar->area[i].address);
    free(bar);
}
