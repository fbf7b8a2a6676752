# SPDX-License-Identifier: BSD-3-Clause
"""What ended programs left behind."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, HostRow


def _dead(host: Host) -> Iterator[Seen]:
    dead = [port.name for port in host.ports() if not port.alive]
    if dead:
        yield Seen(
            f"counters of dead ports are left: {', '.join(dead[:5])}{', ...' * (len(dead) > 5)}",
            "their programs ended without closing them; the memory stays taken",
            "iavfio stats --clean",
        )


ROWS: tuple[HostRow, ...] = (HostRow("port.dead", "note", _dead),)
