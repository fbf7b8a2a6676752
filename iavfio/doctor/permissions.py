# SPDX-License-Identifier: BSD-3-Clause
"""Whether this user may open a VF's nodes, and whether that lasts over a boot."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, Vf, VfRow

RULES = ("etc/udev/rules.d", "run/udev/rules.d")
RULE = 'SUBSYSTEM=="vfio", GROUP="vfio", MODE="0660"'


def _may_open(host: Host, path: Path) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    if host.uid == 0:
        return True
    if found.st_uid == host.uid:
        wanted = stat.S_IRUSR | stat.S_IWUSR
    elif found.st_gid in host.gids:
        wanted = stat.S_IRGRP | stat.S_IWGRP
    else:
        wanted = stat.S_IROTH | stat.S_IWOTH
    return found.st_mode & wanted == wanted


def _ways(vf: Vf) -> list[tuple[Path, Path]]:
    """The pairs of nodes by which it can be opened: its own, and what maps memory."""
    ways = []
    for text in vf.function.nodes:
        node = Path(text)
        by_itself = node.parent.name == "devices"
        ways.append((node, vf.host.path("dev/iommu" if by_itself else "dev/vfio/vfio")))
    return [way for way in ways if way[1].exists()]


def _openable(vf: Vf) -> bool:
    return any(all(_may_open(vf.host, path) for path in way) for way in _ways(vf))


def _node(vf: Vf) -> Iterator[Seen]:
    ways = _ways(vf)
    if not ways or _openable(vf):
        return
    denied = sorted({str(p) for way in ways[:1] for p in way if not _may_open(vf.host, p)})
    yield Seen(
        "may not be opened by this user",
        f"user {vf.host.uid} may not read and write {', '.join(denied)}",
        f"sudo chown $USER {' '.join(denied)}; for good: echo '{RULE}' | sudo tee "
        "/etc/udev/rules.d/60-vfio.rules",
    )


def _rule(vf: Vf) -> Iterator[Seen]:
    host = vf.host
    if host.uid == 0 or not _openable(vf):
        return
    for place in RULES:
        for name in host.names(place):
            if name.endswith(".rules") and "vfio" in host.text(f"{place}/{name}"):
                return
    yield Seen(
        "may be opened by this user until the next boot only",
        "no udev rule says so: somebody changed the node's owner by hand",
        f"echo '{RULE}' | sudo tee /etc/udev/rules.d/60-vfio.rules",
    )


ROWS: tuple[VfRow, ...] = (
    VfRow("permission.node", "error", _node),
    VfRow("permission.udev", "note", _rule),
)
