# SPDX-License-Identifier: BSD-3-Clause
"""Network interfaces of a PCI function, and whether somebody would miss them."""

from __future__ import annotations

import fcntl
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from iavfio.host import sysfs

IFF_UP = 0x1
RTF_UP = 0x1
SIOCGIFADDR = 0x8915


@dataclass(frozen=True)
class Interface:
    """One network interface; `uses` says in words what depends on it."""

    name: str
    mac: str
    mtu: int | None
    up: bool
    speed: int | None  # Mbit/s, None while the link is down
    uses: tuple[str, ...]

    @property
    def active(self) -> bool:
        """Whether taking it away would cut traffic: an address, a route or an upper device."""
        return bool(self.uses)


@dataclass(frozen=True)
class Routes:
    """Which interfaces carry routes or addresses in this network namespace."""

    by_interface: dict[str, tuple[str, ...]]

    @classmethod
    def load(cls, tree: sysfs.Tree) -> Routes:
        """Reads the routing tables and IPv6 addresses that /proc/net shows."""
        found: dict[str, list[str]] = {}
        for line in sysfs.text(tree.proc / "net/route").splitlines()[1:]:
            fields = line.split()
            with suppress(ValueError, struct.error):  # a line in another form is no route
                if len(fields) >= 8 and int(fields[3], 16) & RTF_UP:
                    found.setdefault(fields[0], []).append(_ipv4_route(fields[1], fields[7]))
        for line in sysfs.text(tree.proc / "net/ipv6_route").splitlines():
            fields = line.split()
            # Link-local and multicast routes come by themselves with every interface that is up.
            if len(fields) == 10 and not fields[0].startswith(("fe8", "ff")):
                with suppress(ValueError):
                    found.setdefault(fields[9], []).append(_ipv6_route(fields[0], fields[1]))
        return cls({name: tuple(dict.fromkeys(lines)) for name, lines in found.items()})


def of(tree: sysfs.Tree, function: Path, routes: Routes) -> tuple[Interface, ...]:
    """The interfaces of a function's sysfs directory, of this network namespace only."""
    return tuple(_interface(tree, function / "net" / name, routes) for name in _net(function))


def _net(function: Path) -> list[str]:
    return sysfs.names(function / "net")


def _interface(tree: sysfs.Tree, path: Path, routes: Routes) -> Interface:
    name = path.name
    speed = sysfs.number(path / "speed")
    uses = list(routes.by_interface.get(name, ()))
    if tree.is_real and not uses and (address := _ipv4_address(name)):
        uses.append(f"address {address}")  # its routes may lie in a table of their own
    master = sysfs.link(path / "master")
    if master:
        uses.append(f"member of {master}")
    for entry in sysfs.names(path):
        if entry.startswith("upper_") and entry != f"upper_{master}":
            uses.append(f"below {entry.removeprefix('upper_')}")
    return Interface(
        name=name,
        mac=sysfs.text(path / "address"),
        mtu=sysfs.number(path / "mtu"),
        up=bool((sysfs.number(path / "flags") or 0) & IFF_UP),
        speed=speed if speed and speed > 0 else None,
        uses=tuple(uses),
    )


def _ipv4_route(destination: str, mask: str) -> str:
    net, bits = int(destination, 16), int(mask, 16).bit_count()
    if not net and not bits:
        return "default route"
    return f"route {socket.inet_ntoa(struct.pack('=I', net))}/{bits}"


def _ipv6_route(destination: str, length: str) -> str:
    bits = int(length, 16)
    if not bits and not int(destination, 16):
        return "default IPv6 route"
    return f"route {socket.inet_ntop(socket.AF_INET6, bytes.fromhex(destination))}/{bits}"


def _ipv4_address(name: str) -> str:
    """First IPv4 address of an interface, "" without one."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            answer = fcntl.ioctl(sock, SIOCGIFADDR, struct.pack("40s", name.encode()[:15]))
    except OSError:
        return ""
    return socket.inet_ntoa(answer[20:24])
