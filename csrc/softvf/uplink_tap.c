/* SPDX-License-Identifier: BSD-3-Clause */
/* The wire is a TAP interface of the host. */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "softvf/uplink.h"

struct tap {
    struct uplink uplink; /* first */
    int fd;
    uint8_t frame[1 << 16]; /* longer than what the switch takes, so that nothing is cut unseen */
};

static const uint8_t *tap_next(struct uplink *uplink, uint32_t *len)
{
    struct tap *tap = (struct tap *)uplink;
    ssize_t n = read(tap->fd, tap->frame, sizeof(tap->frame));

    if (n <= 0)
        return NULL;
    *len = (uint32_t)n;
    return tap->frame;
}

static int tap_send(struct uplink *uplink, const uint8_t *frame, uint32_t len)
{
    struct tap *tap = (struct tap *)uplink;

    return write(tap->fd, frame, len) == (ssize_t)len ? 0 : -errno;
}

static void tap_close(struct uplink *uplink)
{
    close(((struct tap *)uplink)->fd);
    free(uplink);
}

static const struct uplink_ops tap_ops = {tap_next, tap_send, tap_close};

struct uplink *uplink_open_tap(const char *name, char *error, size_t size)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    struct tap *tap;
    int fd;

    if (!*name || strlen(name) >= sizeof(request.ifr_name)) {
        snprintf(error, size, "\"%s\" is no interface name (1 to %zu letters)", name,
                 sizeof(request.ifr_name) - 1);
        return NULL;
    }
    fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0) {
        snprintf(error, size,
                 "/dev/net/tun: %s; load the module tun, or run as a user who may open it",
                 strerror(errno));
        return NULL;
    }
    memcpy(request.ifr_name, name, strlen(name));
    if (ioctl(fd, TUNSETIFF, &request)) {
        snprintf(error, size,
                 "TAP %s: %s; make one for this user: ip tuntap add %s mode tap user $USER, or run "
                 "inside unshare -rn",
                 name, strerror(errno), name);
        close(fd);
        return NULL;
    }
    tap = calloc(1, sizeof(*tap));
    if (!tap) {
        snprintf(error, size, "no memory");
        close(fd);
        return NULL;
    }
    tap->uplink.ops = &tap_ops;
    tap->fd = fd;
    return &tap->uplink;
}
