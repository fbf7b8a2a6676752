/* SPDX-License-Identifier: BSD-3-Clause */
/* BAR access by message, by file and by mapping; memory that goes away (docs/spec/vfio.md 5, 9;
 * docs/spec/vfio-user.md 4). */
#include <sys/mman.h>

#include "vfio/regio.h"
#include "vfio_peer.h"

/* Registers: what is written can be read back. Checks that posted writes are marked as such. */
static void serves_registers(int fd)
{
    static uint32_t words[1024];
    struct vu_header request;
    struct {
        struct vu_region_access access;
        uint32_t value;
    } body;
    uint16_t expected = 0;

    while (take(fd, &request, &body, sizeof(body)) == 0) {
        struct vu_header reply;
        uint64_t at = body.access.offset / 4;

        CHECK(request.id == expected++);
        CHECK(body.access.count == 4 && body.access.region == 2 && at < 1024);
        if (request.command == VU_REGION_WRITE) {
            CHECK(request.flags == VU_FLAG_NO_REPLY && request.size == 36);
            words[at] = body.value;
            continue;
        }
        CHECK(request.command == VU_REGION_READ && request.flags == 0 && request.size == 32);
        body.value = words[at];
        reply = reply_to(&request, 20);
        put(fd, &reply, sizeof(reply));
        put(fd, &body, 20);
    }
}

/* ---- registers, also by two threads at once */

struct user {
    struct bar_io *bar;
    uint32_t lane;
};

static void *user_main(void *argument)
{
    const struct user *user = argument;
    struct vfio_regio *io = bar_io_regio(user->bar);

    for (uint32_t i = 0; i < 400; i++) {
        uint64_t at = (user->lane * 256 + i % 256) * 4;

        CHECK(io->write32(io, at, i ^ user->lane << 16) == 0);
        CHECK(io->read32(io, at) == (i ^ user->lane << 16)); /* posted, yet in order */
    }
    return NULL;
}

static void test_registers(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, serves_registers);
    struct bar_io *bar = bar_io_new_user(conn, 2, 4096, 2000);
    pthread_t threads[2];
    struct user users[2];

    CHECK(bar);
    for (uint32_t i = 0; i < 2; i++) {
        users[i] = (struct user){.bar = bar, .lane = i};
        CHECK(pthread_create(&threads[i], NULL, user_main, &users[i]) == 0);
    }
    for (uint32_t i = 0; i < 2; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(bar_io_read32(bar, 4096) == UINT32_MAX && bar_io_read32(bar, 2) == UINT32_MAX);
    CHECK(bar_io_read32(bar, UINT64_MAX - 3) == UINT32_MAX);
    CHECK(bar_io_write32(bar, 4096, 1) == -EINVAL && bar_io_write32(bar, 1, 1) == -EINVAL);
    CHECK(!bar_io_lost(bar));
    CHECK(bar_io_new_user(conn, 2, 3, 1) == NULL);
    bar_io_free(bar);
    stop(&peer, conn);
}

static void test_server_gone(void)
{
    struct peer peer;
    struct vu_conn *conn = start(&peer, dies_in_the_header);
    struct bar_io *bar = bar_io_new_user(conn, 2, 4096, 2000);
    uint32_t value;

    CHECK(ask(conn, &value, 4, NULL, 2000) == -ECONNRESET);
    CHECK(bar_io_read32(bar, 0) == UINT32_MAX);
    CHECK(bar_io_lost(bar));
    CHECK(bar_io_write32(bar, 0, 1) == -ENODEV);
    bar_io_free(bar);
    stop(&peer, conn);
}

static void test_file(void)
{
    int fd = memfd_create("bar", MFD_CLOEXEC);
    struct bar_io *bar = bar_io_new_file(fd, 1ull << 40, 8192);
    uint32_t value = 0;

    CHECK(fd >= 0 && bar && ftruncate(fd, (1ll << 40) + 8192) == 0);
    CHECK(bar_io_write32(bar, 4100, 0xabcd) == 0);
    CHECK(pread(fd, &value, 4, (1ll << 40) + 4100) == 4 && value == 0xabcd);
    CHECK(bar_io_read32(bar, 4100) == 0xabcd);
    CHECK(ftruncate(fd, 1ll << 40) == 0);
    CHECK(bar_io_read32(bar, 4100) == UINT32_MAX); /* a short read is no value */
    bar_io_free(bar);
    close(fd);
    bar = bar_io_new_file(-1, 0, 4096);
    CHECK(bar_io_read32(bar, 0) == UINT32_MAX && bar_io_write32(bar, 0, 1) == -EBADF);
    bar_io_free(bar);
}

/* ---- a mapped BAR whose memory goes away */

/* docs/spec/reliability.md F32 */
static void test_bus_error(void)
{
    int fd = memfd_create("bar", MFD_CLOEXEC);
    struct bar_io *bar = bar_io_new_file(fd, 0, 8192);
    volatile uint32_t *words;
    void *at;

    CHECK(fd >= 0 && bar && ftruncate(fd, 8192) == 0);
    at = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    CHECK(at != MAP_FAILED);
    CHECK(bar_io_add_area(bar, 0, 8192 + 4, at) == -EINVAL);
    CHECK(bar_io_add_area(bar, UINT64_MAX, 8, at) == -EINVAL);
    CHECK(bar_io_add_area(bar, 0, 8192, at) == 0);
    words = at;
    CHECK(bar_io_write32(bar, 0x1004, 7) == 0 && words[0x401] == 7);
    CHECK(ftruncate(fd, 4096) == 0);
    CHECK(bar_io_read32(bar, 0x1004) == UINT32_MAX);
    CHECK(bar_io_lost(bar));
    CHECK(bar_io_write32(bar, 0, 1) == -ENODEV); /* a lost device takes nothing more */
    bar_io_set_lost(bar);
    bar_io_set_found(bar); /* what took the page's place reaches no device: it is lost for good */
    CHECK(bar_io_lost(bar) && bar_io_read32(bar, 0) == UINT32_MAX);
    CHECK(ftruncate(fd, 0) == 0);
    words[5] = 1; /* C code on the hot path does not look at `lost` before each doorbell */
    CHECK(words[6] == UINT32_MAX && words[5] == 1);
    bar_io_free(bar);
    munmap(at, 8192);
    close(fd);
}

static void test_areas_have_an_end(void)
{
    static char memory[9][4096];
    struct bar_io *bar = bar_io_new_file(-1, 0, 9 * 4096);

    for (uint64_t i = 0; i < 8; i++)
        CHECK(bar_io_add_area(bar, i * 4096, 4096, memory[i]) == 0);
    CHECK(bar_io_add_area(bar, 8 * 4096, 4096, memory[8]) == -ENOSPC);
    CHECK(bar_io_write32(bar, 4096, 3) == 0 && memory[1][0] == 3);
    bar_io_free(bar);
}

int main(void)
{
    test_registers();
    test_server_gone();
    test_file();
    test_bus_error();
    test_areas_have_an_end();
    puts("vfio_bar: all passed");
    return 0;
}
