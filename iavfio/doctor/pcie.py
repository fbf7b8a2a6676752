# SPDX-License-Identifier: BSD-3-Clause
"""PCIe: whether the slot carries what the card and its wire could."""

from __future__ import annotations

import re
from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Vf, VfRow

# The share of data in a lane's transfers: 8b/10b up to 5 GT/s, 128b/130b up to 32 GT/s.
ENCODING = {2.5: 0.8, 5.0: 0.8}
PACKETS = 0.85  # what headers and acknowledgements leave of the data, with payloads of 256 bytes


def _link(vf: Vf, which: str) -> tuple[float, int] | None:
    """Transfers a second in 10^9 and lanes; None where sysfs does not tell."""
    path = vf.host.tree.devices / (vf.function.physfn or vf.bdf)
    speed = re.match(r"([\d.]+) GT/s", vf.host.text(path / f"{which}_link_speed"))
    width = vf.host.number(path / f"{which}_link_width")
    return (float(speed[1]), width) if speed and width else None


def _degraded(vf: Vf) -> Iterator[Seen]:
    now, most = _link(vf, "current"), _link(vf, "max")
    if now and most and now < most and (now[0] < most[0] or now[1] < most[1]):
        yield Seen(
            f"its card runs at {now[0]:g} GT/s x{now[1]} and could do {most[0]:g} GT/s x{most[1]}",
            "the slot has fewer lanes or an older PCIe, a riser is between, or the card sits badly",
            "move it to another slot; sudo lspci -vv -s "
            f"{vf.function.physfn or vf.bdf} | grep LnkSta",
        )


def _rate(vf: Vf) -> Iterator[Seen]:
    now = _link(vf, "current")
    speeds = [each.speed for each in vf.pf.interfaces if each.speed] if vf.pf else []
    wanted = vf.host.wanted_gbit or max(speeds, default=0) / 1000
    if not now or not wanted:
        return
    carried = now[0] * ENCODING.get(now[0], 128 / 130) * now[1] * PACKETS
    if carried < wanted:
        yield Seen(
            f"its slot carries about {carried:.0f} Gbit/s each way, below the {wanted:g} wanted",
            f"{now[0]:g} GT/s x{now[1]}, less encoding and packet headers",
            "use a slot with more lanes or a newer PCIe",
        )


VF_ROWS: tuple[VfRow, ...] = (
    VfRow("pcie.degraded", "warning", _degraded),
    VfRow("pcie.rate", "warning", _rate),
)
