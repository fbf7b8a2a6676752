# SPDX-License-Identifier: BSD-3-Clause
"""PCI addresses as users write them."""

from __future__ import annotations

import re

from iavfio.host import sysfs
from iavfio.host.errors import BadAddress, NoSuchFunction

ADDRESS = re.compile(r"(?:([0-9a-f]{4,8}):)?([0-9a-f]{2}):([01][0-9a-f])\.([0-7])", re.IGNORECASE)


def normal(written: str) -> str | None:
    """`3B:1.0`-like text as sysfs writes it, "0000:3b:01.0"; None if it is no PCI address."""
    found = ADDRESS.fullmatch(written.strip())
    if not found:
        return None
    domain, bus, slot, function = found.groups()
    return f"{domain or '0000'}:{bus}:{slot}.{function}".lower()


def resolve(tree: sysfs.Tree, written: str) -> str:
    """The BDF of an existing PCI function, given as address or as name of its interface.

    Raises BadAddress or NoSuchFunction.
    """
    bdf = normal(written)
    if bdf is None:
        bdf = _behind(tree, written)
        if bdf is None and _is_interface(tree, written):
            raise BadAddress(
                f"{written!r} is a network interface without a PCI device",
                "it is a virtual one",
                "list the VFs with: iavfio list",
            )
        if bdf is None:
            raise BadAddress(
                f"{written!r} is neither a PCI address nor an interface of a PCI device",
                "an address looks like 0000:3b:01.0 or 3b:01.0",
                "list the addresses with: iavfio list",
            )
    if not (tree.devices / bdf).exists():
        raise NoSuchFunction(
            f"there is no PCI device {bdf}",
            "the address is wrong, or the VF was not created",
            "list devices with: iavfio list; create VFs by writing their number to the PF's "
            "sriov_numvfs in sysfs",
        )
    return bdf


def interface_bdf(name: str) -> str | None:
    """The BDF behind the network interface `name`, "" for one without a PCI function.

    None when this host has no such interface.
    """
    tree = sysfs.Tree()
    return _behind(tree, name) or "" if _is_interface(tree, name) else None


def interfaces_of(tree: sysfs.Tree, bdf: str) -> list[str]:
    """The network interfaces that sit on a PCI function, also those behind another bus of it."""
    names = sysfs.names(tree.root / "sys/class/net")
    return [name for name in names if _behind(tree, name) == bdf]


def _is_interface(tree: sysfs.Tree, name: str) -> bool:
    plain = "/" not in name and name not in ("", ".", "..")
    return plain and (tree.root / "sys/class/net" / name).exists()


def _behind(tree: sysfs.Tree, interface: str) -> str | None:
    """The BDF of the PCI function that an interface sits on, e.g. with virtio in between."""
    link = tree.root / "sys/class/net" / interface / "device"
    if "/" in interface or interface in ("", ".", "..") or not link.exists():
        return None
    place = link.resolve()
    parts = (normal(part.name) for part in (place, *place.parents))
    return next((bdf for bdf in parts if bdf), None)
