# SPDX-License-Identifier: BSD-3-Clause
"""Events to the VF: LINK_CHANGE and RESET_IMPENDING (docs/spec/virtchnl.md 6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf.vf import Phase, Vf

if TYPE_CHECKING:
    from iavfio.softvf.pf.driver import Pf

MODES = ("auto", "enable", "disable")


def is_up(pf: Pf, vf: Vf) -> bool:
    """The link as this VF is told: the wire's, or what the administrator forced."""
    return pf.wire_up if vf.link_mode == "auto" else vf.link_mode == "enable"


def is_told_up(pf: Pf, vf: Vf) -> bool:
    """The link as events tell it: ice says down to a VF of which no queue is enabled.

    So its event after GET_VF_RESOURCES says down, and the one after ENABLE_QUEUES says up
    (docs/spec/pf-dialects.md 5).
    """
    quiet = pf.personality.is_ice and not vf.rx_enabled | vf.tx_enabled
    return is_up(pf, vf) and not quiet


def speed_bit(speed: int) -> int:
    """The one-bit form, in which nothing is faster than 40 Gb/s."""
    for at_least, bit in (
        (40000, lib.VC_LINK_40GB),
        (25000, lib.VC_LINK_25GB),
        (20000, lib.VC_LINK_20GB),
        (10000, lib.VC_LINK_10GB),
        (5000, lib.VC_LINK_5GB),
        (2500, lib.VC_LINK_2_5GB),
        (1000, lib.VC_LINK_1GB),
    ):
        if speed >= at_least:
            return int(bit)
    return int(lib.VC_LINK_100MB)


def link_change(pf: Pf, vf: Vf) -> bytes:
    """The event's payload; Mb/s for a VF that asked for ADV_LINK_SPEED, else one bit."""
    event = ffi.new("struct vc_pf_event *")
    event.event = lib.VC_EVENT_LINK_CHANGE
    event.link_status = int(is_told_up(pf, vf))
    if event.link_status:
        wide = vf.asked & lib.VC_CAP_ADV_LINK_SPEED
        event.link_speed = pf.link_speed if wide else speed_bit(pf.link_speed)
    event.severity = lib.VC_SEVERITY_INFO
    return bytes(ffi.buffer(event))


def reset_impending() -> bytes:
    """The event's payload."""
    event = ffi.new("struct vc_pf_event *")
    event.event = lib.VC_EVENT_RESET_IMPENDING
    event.severity = lib.VC_SEVERITY_CERTAIN_DOOM
    return bytes(ffi.buffer(event))


def driver_close() -> bytes:
    """The event's payload."""
    event = ffi.new("struct vc_pf_event *")
    event.event = lib.VC_EVENT_PF_DRIVER_CLOSE
    event.severity = lib.VC_SEVERITY_CERTAIN_DOOM
    return bytes(ffi.buffer(event))


def tell(pf: Pf, vf: Vf) -> None:
    """Sends LINK_CHANGE to one VF."""
    vf.hardware.send_to_vf(lib.VC_OP_EVENT, 0, link_change(pf, vf))


def changed(pf: Pf, vf: Vf) -> None:
    """The link or its policy changed: the switch learns it first, then the VF."""
    pf.publish(vf)
    if vf.phase in (Phase.INIT, Phase.ACTIVE):
        tell(pf, vf)
