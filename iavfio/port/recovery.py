# SPDX-License-Identifier: BSD-3-Clause
"""The way back from a reset: attempts until the port is rebuilt, and what the PF then gives."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from iavfio.arguments import counted
from iavfio.datapath.pair import FCS
from iavfio.errors import DeviceLost, IavfioError, ResetError, ResetUnderWay, StateError
from iavfio.port.negotiation import Session
from iavfio.port.settings import Settings
from iavfio.virtchnl.capabilities import cap_names

ATTEMPTS = 5
STORM_DEADLINE = 10.0  # seconds in which resets may interrupt the recovery from resets
SHORT = 0.002  # seconds after such an interruption
BACKOFF = 0.2  # seconds, doubled at each further attempt (docs/spec/reliability.md F10)


def come_back(
    session: Session, rebuild: Callable[[], None], halt: Callable[[], None], coming: bool
) -> int:
    """Resets the VF and rebuilds the port; returns the number of attempts.

    `coming`: a reset has begun or will, so that none is asked for (docs/spec/reliability.md F22).
    Each attempt starts from a VF that was reset: nothing of the one before may live on. A reset
    that comes in the middle is not a failed attempt; a storm of them ends at a deadline, and all
    attempts at the session's. Raises what the last attempt raised, DeviceLost, ResetError and
    StateError at once.
    """
    end = time.monotonic() + STORM_DEADLINE
    failures = 0
    while True:
        try:
            if not (session.was_reset() or (coming and session.wait_reset_begins())):
                session.force_reset()
            rebuild()
            return failures + 1
        except (DeviceLost, ResetError, StateError):
            raise
        except ResetUnderWay:
            if time.monotonic() > end or session.device.lost or session.deadline.over:
                raise
            halt()
            session.pause(SHORT)
        except IavfioError as error:
            failures += 1
            if failures == ATTEMPTS or session.device.lost or session.deadline.over:
                raise
            session.journal.note(
                f"attempt {failures} to come back failed: {error}", logging.WARNING
            )
            halt()
            session.pause(BACKOFF * 2 ** (failures - 1))
        coming = False


def check_grant(name: str, session: Session, settings: Settings) -> None:
    """Compares what the PF gives after a reset with what is configured.

    Raises ResetError when the settings cannot be in force any more (docs/spec/reliability.md F26).
    """
    pairs = session.resources.queue_pairs
    if settings.queues > pairs:
        raise ResetError(
            f"{name} came back with {counted(pairs, 'queue pair')}",
            f"{settings.queues} are configured",
            "close the port and open it again with fewer queues",
        )
    if settings.frame + FCS > session.max_frame:
        raise ResetError(
            f"{name} came back with frames of at most {session.max_frame} bytes",
            f"an MTU of {settings.mtu} is configured",
            "close the port and open it again with a smaller mtu",
        )


def taken_away(before: int, after: int) -> str:
    """The names of capabilities that a PF granted before a reset and not after it, or ""."""
    return cap_names(before & ~after) if before & ~after else ""
