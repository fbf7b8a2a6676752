# SPDX-License-Identifier: BSD-3-Clause
"""Before the first packet of a run: what would make its frames vanish, and what mends it."""

from __future__ import annotations

from dataclasses import dataclass

from iavfio.datapath.pair import FCS
from iavfio.errors import IavfioError
from iavfio.port.port import Port
from iavfio.port.probe import Probe, probe_frame, probe_send
from iavfio.port.vlan_probe import probe_vlans

ATTEMPTS = 2


@dataclass(frozen=True)
class Journey:
    """A frame of the kind that a run sends, and the way that it is to go.

    `peer`: the port at which it should arrive, None where nobody listens; `mark`: bytes by which it
    is known again there, None for one of `probe_frame`. `keep_src` and `keep_dst` say how the user
    leaves its addresses to the program.
    """

    port: Port
    frame: bytes
    peer: Port | None = None
    mark: bytes | None = None
    keep_src: str = "leave --src out"
    keep_dst: str = "leave --dst out"

    @property
    def src(self) -> bytes:
        """The frame's source address."""
        return self.frame[6:12]

    @property
    def dst(self) -> bytes:
        """The frame's destination address."""
        return self.frame[:6]

    @property
    def size(self) -> int:
        """The frame's bytes with FCS."""
        return len(self.frame) + FCS


SAME_VLAN = (
    "on the host, for both VFs: ip link set PF vf N vlan 0, or the same VLAN "
    '(a software PF: {"command": "vlan", "vf": N, "vlan": 0})'
)


def check_link(port: Port) -> None:
    """Raises IavfioError when the port's link is down."""
    if not port.link.up:
        raise IavfioError(
            f"the link of {port.name} is down: nothing can be sent or received",
            "the PF says so: no cable, the peer is down, or the VF's link state was disabled",
            "on the host: ip link set PF up; ip link set PF vf N state auto "
            '(a software PF: {"command": "link", "vf": N, "state": "auto"})',
        )


def check_journey(journey: Journey) -> None:
    """Sends the frame. Raises IavfioError when it does not leave the port, or does not arrive."""
    probe = probe_send(journey.port, journey.frame, journey.peer, journey.mark)
    _check_sent(journey, probe)
    if probe.arrived is False:
        raise _not_arrived(journey)


def check_vlans(port: Port, peer: Port) -> None:
    """Raises IavfioError when the host has put one of two ports, or both, into VLANs of their own,
    so that what one sends does not reach the other.
    """
    apart = _in_other_vlans(port, peer)
    if not apart or (_meets(port, peer) and _meets(peer, port)):
        return
    raise IavfioError(
        f"{port.name} and {peer.name} do not reach each other",
        apart,
        f"{SAME_VLAN}; or --no-preflight, where other hosts are to be on both sides",
    )


def _meets(port: Port, peer: Port) -> bool:
    """Whether a frame arrives; the peer may be flooded meanwhile, so that one does not tell."""
    frames = (probe_frame(peer.mac, port.mac) for _ in range(ATTEMPTS))
    return any(probe_send(port, frame, peer).arrived for frame in frames)


def _in_other_vlans(port: Port, peer: Port) -> str:
    """Which of two ports that do not reach each other the host has put into a VLAN; "": none."""
    inside = [each for each in (port, peer) if probe_vlans(each) == "port VLAN"]
    if len(inside) == 2:
        return "both are in port VLANs of the host's, in different ones: their PF discards tags"
    if not inside:
        return ""
    other = peer if inside[0] is port else port
    return (
        f"{inside[0].name} is in a port VLAN of the host's and {other.name} is not: the PF "
        f"discards tagged frames of {inside[0].name}"
    )


def _check_sent(journey: Journey, probe: Probe) -> None:
    port, src, dst = journey.port, journey.src, journey.dst
    if not probe.completed:
        raise IavfioError(
            f"{port.name} does not send: a probe frame was not completed",
            "the send queue stands still",
            "iavfio why PORT says more; port.reset() or opening it again resets the VF",
        )
    if probe.counted:
        return
    own = src in (port.mac, *port.settings.extra_macs)
    if probe.discarded and not own:
        raise IavfioError(
            f"frames of {port.name} from {src.hex(':')} vanish: the PF discards them",
            f"the spoof check lets this VF send from its own address {port.mac.hex(':')} only",
            f"{journey.keep_src}, or on the host: ip link set PF vf N spoofchk off "
            '(a software PF: {"command": "spoofchk", "vf": N, "on": false})',
        )
    raise IavfioError(
        f"frames of {port.name} vanish: a probe frame was completed, but the PF "
        + ("discards it" if probe.discarded else "does not count it as sent"),
        "a spoof check, a VLAN that the VF may not send, or a limit on the host",
        f"look at the VF on the host: ip link show PF; destination {dst.hex(':')}",
    )


def _not_arrived(journey: Journey) -> IavfioError:
    port, peer, dst, size = journey.port, journey.peer, journey.dst, journey.size
    assert peer is not None
    known = dst in (peer.mac, *peer.settings.extra_macs) or bool(dst[0] & 1)
    if not known and not peer.settings.promiscuous:
        return IavfioError(
            f"frames to {dst.hex(':')} do not reach {peer.name}",
            f"its addresses are {peer.mac.hex(':')} and what extra_macs names",
            journey.keep_dst,
        )
    if port is peer:
        return IavfioError(
            f"a frame of {size} bytes that {port.name} sent to itself did not come back",
            "loopback on one VF needs a wire that sends frames back",
            "loop the cable back, name a second VF of the same PF, or use --mode txonly",
        )
    what = f"a frame of {size} bytes from {port.name} did not reach {peer.name}"
    apart = _in_other_vlans(port, peer)
    if apart:
        return IavfioError(what, apart, SAME_VLAN)
    return IavfioError(
        what,
        "the two VFs are on different networks, VLANs or PFs, or a PF's MTU is smaller",
        "look at both VFs on the host: ip link show PF (vlan, link-state), or on a software PF: "
        "iavfio vf DIR",
    )
