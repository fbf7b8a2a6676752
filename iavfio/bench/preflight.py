# SPDX-License-Identifier: BSD-3-Clause
"""The check before a run of the bench: one frame each way that the run will go."""

from __future__ import annotations

from collections.abc import Sequence

from iavfio.bench.arrivals import arrivals, arrived_since
from iavfio.bench.plan import Plan
from iavfio.bench.result import NOBODY_THERE
from iavfio.datapath.pair import FCS
from iavfio.errors import IavfioError
from iavfio.port.port import Port
from iavfio.port.preflight import Journey, check_journey, check_link, check_vlans
from iavfio.port.probe import probe_frame


def preflight(plan: Plan, ports: Sequence[Port]) -> None:
    """Sends one frame each way that the run will go. Raises IavfioError for the first that fails.

    Nothing is sent where frames are only received; the link is looked at in any case. Where
    they are only sent, and to an address that was asked for, somebody must get them if that can be
    seen.
    """
    for port in ports:
        check_link(port)
    if plan.mode == "rxdrop":
        return
    dst = plan.dst if plan.mode == "txonly" else None
    for port, peer in zip(ports, reversed(ports), strict=True):
        listen = peer if plan.mode == "loopback" else None
        for size in sorted({min(plan.sizes), max(plan.sizes)}):
            frame = probe_frame(
                plan.destination(peer), plan.src or port.mac, size - FCS, ipv6=plan.ipv6
            )
            before = arrivals(dst, ports)
            check_journey(Journey(port, frame, listen))
            if arrived_since(before, 1, dst, ports) == 0:
                raise _nobody(port, frame)
    if plan.mode == "forward" and plan.dst is None and len(ports) == 2:
        check_vlans(*ports)


def _nobody(port: Port, frame: bytes) -> IavfioError:
    dst = frame[:6]
    own = "a frame to its own address does not come back; " if dst == port.mac else ""
    return IavfioError(
        f"frames of {port.name} to {dst.hex(':')} get to nobody",
        f"{own}a probe frame was counted as sent by the PF, but {NOBODY_THERE}",
        "--dst with the address of another VF; leave it out to send to nobody on purpose",
    )
