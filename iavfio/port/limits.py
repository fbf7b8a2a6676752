# SPDX-License-Identifier: BSD-3-Clause
"""What a VF can have: its PF's numbers, its kind's, and what iavfio can drive."""

from __future__ import annotations

from iavfio._driver import lib
from iavfio.arguments import use
from iavfio.datapath.pair import FCS
from iavfio.errors import ConfigError, Remedy
from iavfio.port.identity import Identity
from iavfio.port.negotiation import Session
from iavfio.port.settings import ETHERNET, Limits, Settings
from iavfio.ranges import QUEUES

MOST_QUEUES = QUEUES.high  # without LARGE_NUM_QPAIRS (docs/spec/virtchnl.md 4)


def too_few_queues(wanted: int, offered: int) -> ConfigError:
    """The error for queue pairs that the PF does not give."""
    return ConfigError(
        f"the PF cannot give {wanted} queue pairs", f"it offers {offered}", use("queues", offered)
    )


def mtu_for(longest: int, settings: Settings, limits: Limits) -> int:
    """The MTU for frames of at most so many bytes without FCS, as near as the PF allows.

    It is not smaller than the present one.
    """
    return min(max(longest - ETHERNET, settings.mtu), limits.mtu)


def room_for(frame: int, port: str, limits: Limits) -> str:
    """The advice for a frame of so many bytes, without FCS, that is too long for a port's MTU."""
    most = limits.mtu + ETHERNET
    if frame > most:
        return f"make it shorter: the PF lets at most {most + FCS} bytes through, with FCS"
    mtu = frame - ETHERNET
    return Remedy(f"{port}.configure(mtu={mtu})", f"use --mtu {mtu}")


def limits_of(session: Session, identity: Identity) -> Limits:
    """The limits of a negotiated VF, with the queues that REQUEST_QUEUES may give."""
    found = session.resources
    asking = session.has(lib.VC_CAP_REQ_QUEUES)
    return Limits(
        queues=MOST_QUEUES if asking else min(found.queue_pairs, MOST_QUEUES),
        ring=identity.max_ring,
        frame=session.max_frame,
        rss_key=found.key_size,
        rss_table=found.lut_size,
        granted=session.report.granted,
    )
