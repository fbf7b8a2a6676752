# SPDX-License-Identifier: BSD-3-Clause
"""A TAP interface of the kernel: made, set up like a port, and gone when it is closed."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Interface, IPv6Interface, ip_interface
from types import TracebackType
from typing import Any

from iavfio.arguments import shown
from iavfio.errors import ConfigError, IavfioError
from iavfio.exhaustion import exhaustion
from iavfio.host.errors import HostError, KernelRefused, NotPermitted, program

NODE = "/dev/net/tun"
TUNSETIFF, TUNSETCARRIER = 0x400454CA, 0x400454E2  # linux/if_tun.h
IFF_TAP, IFF_NO_PI, IFF_TUN_EXCL = 0x0002, 0x1000, 0x8000
NAME_BYTES = 15
NAME = re.compile(r"[^\s/:%]+")
# Opened once: whichever thread reads them, they tell of the namespace in which they were opened.
GROUPS, STATISTICS = "/proc/thread-self/net/dev_mcast", "/proc/thread-self/net/dev"
DROPPED = 11  # column of an interface's tx_dropped
LEAST_IPV6_MTU = 1280

Interface = IPv4Interface | IPv6Interface


RESERVED = ("all", "default")


def tap_name(value: object) -> str:
    """A name that a new interface can have. Raises ConfigError for what cannot be one."""
    name = value if isinstance(value, str) else ""
    cause = ""
    if not name:
        cause = "a name has 1 to 15 characters"
    elif len(name.encode(errors="surrogateescape")) > NAME_BYTES:
        cause = f"it is too long: a name has at most {NAME_BYTES} characters"
    elif not NAME.fullmatch(name) or name in (".", "..") or not name.isprintable():
        cause = "a name has no blanks and none of the characters / : %"
    elif name in RESERVED:
        cause = "Linux keeps it for the settings of every interface (net.ipv4.conf)"
    if cause:
        raise ConfigError(
            f"{shown(value)} cannot name a network interface", cause, "use a name such as vf0"
        )
    return name


def tap_address(value: object) -> Interface:
    """An address with the length of its network. Raises ConfigError for what is none."""
    try:
        if "/" not in str(value):
            raise ValueError
        found: Interface = ip_interface(str(value))
    except ValueError:
        found = ip_interface("0.0.0.0/0")
    if found.ip.is_unspecified or found.ip.is_multicast:
        raise ConfigError(
            f"{shown(value)} is no address for an interface",
            "it is an IPv4 or IPv6 address with the length of its network",
            "write it as 192.0.2.1/24 or 2001:db8::1/64",
        )
    return found


class Tap:
    """A new TAP of this name, in the network namespace of the thread that makes it.

    A context manager; `fd` reads and writes its frames and does not block. Raises ConfigError for a
    name that cannot be or is taken, NotPermitted without CAP_NET_ADMIN, HostError where the kernel
    makes none.
    """

    def __init__(self, name: str) -> None:
        self.name = tap_name(name)
        self._carrier: bool | None = None
        self._mac = b""
        try:
            if self.name in (there for _, there in socket.if_nameindex()):
                raise self._taken()
            self.fd = os.open(NODE, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise self._not_made(error) from error
        flags = IFF_TAP | IFF_NO_PI | IFF_TUN_EXCL
        request = struct.pack("16sH22x", os.fsencode(self.name), flags)
        with ExitStack() as failed:
            failed.callback(os.close, self.fd)
            try:
                fcntl.ioctl(self.fd, TUNSETIFF, request)
                self._groups = _opened(GROUPS, failed)
                self._statistics = _opened(STATISTICS, failed)
            except OSError as error:
                raise self._not_made(error) from error
            failed.pop_all()
        self._last_dropped = 0

    # ---- setting up

    def set_up(self, mac: bytes, mtu: int, addresses: Sequence[str | Interface] = ()) -> None:
        """Gives it addresses and MTU, and switches it on. Raises HostError's kinds."""
        found = [tap_address(each) for each in addresses]
        with self._route("setting it up") as (route, index):
            route.link("set", index=index, address=mac.hex(":"), mtu=mtu)
            route.link("set", index=index, state="up")
        self._mac = mac
        for each in found:
            with self._route(f"giving it {each}") as (route, index):
                route.addr(
                    "add", index=index, address=str(each.ip), prefixlen=each.network.prefixlen
                )

    def set_mac(self, mac: bytes) -> None:
        """Follows a port's address. Raises HostError's kinds."""
        if mac != self._mac:
            with self._route("changing its address") as (route, index):
                route.link("set", index=index, address=mac.hex(":"))
            self._mac = mac

    def set_carrier(self, up: bool) -> None:
        """Whether the kernel sees a link; an old kernel, before Linux 5.0, always does.

        Raises HostError's kinds.
        """
        if up == self._carrier:
            return
        try:
            fcntl.ioctl(self.fd, TUNSETCARRIER, struct.pack("i", up))
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY, errno.EBADFD):
                raise _refused(f"the TAP {self.name}: showing the link failed", error) from error
        self._carrier = up

    # ---- what the kernel says

    def groups(self) -> tuple[bytes, ...] | None:
        """MAC addresses of the groups that the kernel has joined on it; None: not to be seen."""
        found = []
        for line in _lines(self._groups):
            words = line.split()
            if len(words) == 5 and words[1] == self.name:
                found.append(bytes.fromhex(words[4]))
        return tuple(dict.fromkeys(found)) or None

    @property
    def dropped(self) -> int:
        """Frames that the kernel dropped so far, because nobody took them in time."""
        for line in _lines(self._statistics):
            name, _, counts = line.rpartition(":")
            if name.strip() == self.name:
                self._last_dropped = int(counts.split()[DROPPED])
        return self._last_dropped

    def gone(self) -> HostError:
        """The error for a TAP that somebody has deleted."""
        return KernelRefused(
            f"the TAP {self.name} is gone",
            "somebody has deleted it",
            "start it again; it is removed by itself at the end",
        )

    # ---- the end

    def close(self) -> None:
        """The kernel removes it. Twice is harmless."""
        _ = self.dropped  # for the last time
        fds = self.fd, self._groups, self._statistics
        self.fd = self._groups = self._statistics = -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)

    def __enter__(self) -> Tap:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Tap {self.name}{', closed' if self.fd < 0 else ''}>"

    # ---- errors

    def _taken(self) -> ConfigError:
        return ConfigError(
            f"the TAP {self.name} cannot be made",
            f"there is a network interface {self.name}",
            "use another name",
        )

    def _not_made(self, error: OSError) -> IavfioError:
        what = f"the TAP {self.name} cannot be made"
        if error.errno in (errno.EBUSY, errno.EEXIST):
            return self._taken()
        if error.errno in (errno.EPERM, errno.EACCES):
            return NotPermitted(
                what,
                f"it needs the capability CAP_NET_ADMIN, and access to {NODE}",
                f"run: sudo {program()} punt ...; in a container: --cap-add NET_ADMIN --device "
                f"{NODE}",
            )
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            return HostError(
                what,
                f"there is no {NODE} here",
                f"load the module: sudo modprobe tun; in a container: --device {NODE}",
            )
        code = errno.errorcode.get(error.errno or 0, "no number")
        refused = HostError(what, f"the kernel refuses it: {error.strerror} ({code})")
        return exhaustion(error, what) or refused

    @contextmanager
    def _route(self, what: str) -> Iterator[tuple[Any, int]]:
        """A netlink socket and the interface's number; turns what pyroute2 raises into words."""
        from pyroute2 import IPRoute  # takes a quarter of a second

        try:
            with IPRoute() as route:
                yield route, socket.if_nametoindex(self.name)
        except Exception as error:
            raise _refused(f"the TAP {self.name}: {what} failed", error) from error


def _opened(path: str, stack: ExitStack) -> int:
    """A file of the kernel's, -1 in a sandbox without /proc; `stack` closes it. Raises OSError."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except (FileNotFoundError, PermissionError):
        return -1
    stack.callback(os.close, fd)
    return fd


def _lines(fd: int) -> list[str]:
    """What such a file says now; nothing where there is none."""
    text = b""
    with contextlib.suppress(OSError):
        while part := os.pread(fd, 1 << 16, len(text)):
            text += part
    return text.decode(errors="replace").splitlines()


def _refused(what: str, error: Exception) -> IavfioError:
    number = getattr(error, "code", None) or getattr(error, "errno", None) or 0
    if number in (errno.EPERM, errno.EACCES):
        return NotPermitted(
            what, "it needs the capability CAP_NET_ADMIN", f"run: sudo {program()} punt ..."
        )
    short = exhaustion(error, what)
    if short is not None:
        return short
    if not number:
        return KernelRefused(what, f"{type(error).__name__}: {error}")
    code = errno.errorcode.get(number, f"error {number}")
    remedy = (
        ""
        if number == errno.EIO
        else "for an IPv6 address IPv6 has to be on, sysctl net.ipv6.conf.all.disable_ipv6, and "
        f"the MTU {LEAST_IPV6_MTU} or more"
    )
    return KernelRefused(what, f"the kernel refuses it: {os.strerror(number)} ({code})", remedy)
