# SPDX-License-Identifier: BSD-3-Clause
"""What the PF does with tagged frames of a VF: no message tells it, frames sent on purpose do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from iavfio.port.probe import NOBODY, probe_frame, probe_send

if TYPE_CHECKING:
    from iavfio.port.port import Port

VlanRule = Literal["free", "port VLAN", "filter", "unknown"]
TPID = bytes.fromhex("8100")
STRANGE = 4093  # a VLAN that a VF without filters has no filter for
PRIORITY = 0  # of a tag that has a priority and no VLAN: filters let it pass, a port VLAN does not


def probe_vlans(port: Port) -> VlanRule:
    """Sends one or two tagged frames from the port's own address to nobody.

    "free": they leave; "port VLAN": none does, the host gives this VF its tag; "filter": none does
    but those of VLANs that the VF has filters for; "unknown": the PF's counters do not say, or
    others sent meanwhile. Frames from the own address without a tag must leave. Raises as
    `probe_send` does.
    """
    strange = probe_send(port, tagged(probe_frame(NOBODY, port.mac), STRANGE))
    if strange.passed:
        return "free"
    if strange.passed is None or not strange.discarded:
        return "unknown"
    untied = probe_send(port, tagged(probe_frame(NOBODY, port.mac), PRIORITY))
    if untied.passed:
        return "filter"
    return "port VLAN" if untied.passed is False and untied.discarded else "unknown"


def tagged(frame: bytes, vlan: int) -> bytes:
    """The frame with a tag of 802.1Q."""
    return frame[:12] + TPID + vlan.to_bytes(2, "big") + frame[12:]
