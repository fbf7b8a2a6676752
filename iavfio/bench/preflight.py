# SPDX-License-Identifier: BSD-3-Clause
"""Before the first packet: what would make the frames of a run vanish, and what mends it."""

from __future__ import annotations

from collections.abc import Sequence

from iavfio.bench.plan import FCS, Plan
from iavfio.errors import IavfioError
from iavfio.port.port import Port
from iavfio.port.probe import Probe, probe_frame, probe_send


def preflight(plan: Plan, ports: Sequence[Port]) -> None:
    """Sends one frame each way that the run will go. Raises IavfioError for the first that fails.

    Nothing is sent where frames are only received; the link is looked at in any case.
    """
    for port in ports:
        _check_link(port)
    if plan.mode == "rxdrop":
        return
    for port, peer in zip(ports, reversed(ports), strict=True):
        src = plan.src or port.mac
        listen = peer if plan.mode == "loopback" else None
        for size in sorted({min(plan.sizes), max(plan.sizes)}):
            probe = probe_send(port, probe_frame(plan.destination(peer), src, size - FCS), listen)
            _check_sent(plan, port, src, probe)
            if probe.arrived is False:
                raise _not_arrived(plan, port, peer, size)


def _check_link(port: Port) -> None:
    if not port.link.up:
        raise IavfioError(
            f"the link of {port.name} is down: nothing can be sent or received",
            "the PF says so: no cable, the peer is down, or the VF's link state was disabled",
            "on the host: ip link set PF up; ip link set PF vf N state auto "
            '(a software PF: {"command": "link", "vf": N, "state": "auto"})',
        )


def _check_sent(plan: Plan, port: Port, src: bytes, probe: Probe) -> None:
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
            "leave --src out, or on the host: ip link set PF vf N spoofchk off "
            '(a software PF: {"command": "spoofchk", "vf": N, "on": false})',
        )
    raise IavfioError(
        f"frames of {port.name} vanish: a probe frame was completed, but the PF "
        + ("discards it" if probe.discarded else "does not count it as sent"),
        "a spoof check, a VLAN that the VF may not send, or a limit on the host",
        f"look at the VF on the host: ip link show PF; destination {plan.dst and plan.dst.hex(':')}"
        if plan.dst
        else "look at the VF on the host: ip link show PF",
    )


def _not_arrived(plan: Plan, port: Port, peer: Port, size: int) -> IavfioError:
    if plan.dst is not None and plan.dst not in (peer.mac, *peer.settings.extra_macs):
        return IavfioError(
            f"frames to {plan.dst.hex(':')} do not reach {peer.name}",
            f"its addresses are {peer.mac.hex(':')} and what extra_macs names",
            "leave --dst out",
        )
    if port is peer:
        return IavfioError(
            f"a frame of {size} bytes that {port.name} sent to itself did not come back",
            "loopback on one VF needs a wire that sends frames back",
            "loop the cable back, name a second VF of the same PF, or use --mode txonly",
        )
    return IavfioError(
        f"a frame of {size} bytes from {port.name} did not reach {peer.name}",
        "the two VFs are on different networks, VLANs or PFs, or a PF's MTU is smaller",
        "look at both VFs on the host: ip link show PF (vlan, link-state)",
    )
