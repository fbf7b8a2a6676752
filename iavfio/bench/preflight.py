# SPDX-License-Identifier: BSD-3-Clause
"""The check before a run of the bench: one frame each way that the run will go."""

from __future__ import annotations

from collections.abc import Sequence

from iavfio.bench.plan import Plan
from iavfio.datapath.pair import FCS
from iavfio.port.port import Port
from iavfio.port.preflight import Journey, check_journey, check_link
from iavfio.port.probe import probe_frame


def preflight(plan: Plan, ports: Sequence[Port]) -> None:
    """Sends one frame each way that the run will go. Raises IavfioError for the first that fails.

    Nothing is sent where frames are only received; the link is looked at in any case.
    """
    for port in ports:
        check_link(port)
    if plan.mode == "rxdrop":
        return
    for port, peer in zip(ports, reversed(ports), strict=True):
        listen = peer if plan.mode == "loopback" else None
        for size in sorted({min(plan.sizes), max(plan.sizes)}):
            frame = probe_frame(
                plan.destination(peer), plan.src or port.mac, size - FCS, ipv6=plan.ipv6
            )
            check_journey(Journey(port, frame, listen))
