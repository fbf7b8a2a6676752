# SPDX-License-Identifier: BSD-3-Clause
"""What a VF can have: its PF's numbers, its kind's, and what iavfio can drive."""

from __future__ import annotations

from iavfio._driver import lib
from iavfio.arguments import use
from iavfio.errors import ConfigError
from iavfio.port.identity import Identity
from iavfio.port.negotiation import Session
from iavfio.port.settings import Limits
from iavfio.ranges import QUEUES

MOST_QUEUES = QUEUES.high  # without LARGE_NUM_QPAIRS (docs/spec/virtchnl.md 4)


def too_few_queues(wanted: int, offered: int) -> ConfigError:
    """The error for queue pairs that the PF does not give."""
    return ConfigError(
        f"the PF cannot give {wanted} queue pairs", f"it offers {offered}", use("queues", offered)
    )


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
