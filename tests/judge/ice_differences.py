# SPDX-License-Identifier: BSD-3-Clause
"""Where the software PF answers otherwise than the judge, each with its reason.

A difference that no row explains fails the tests (docs/spec/pf-dialects.md 7).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from iavfio.linuxpf.process import Reply
from tests.judge.ice_pair import Say, Step

Where = Callable[[Step, Sequence[Reply], Sequence[Reply]], bool]


@dataclass(frozen=True)
class Row:
    """One kind of difference: where it shows (step, the judge's replies, the soft ones), why."""

    where: Where
    reason: str


def _status(replies: Sequence[Reply]) -> int | None:
    return replies[0][1] if replies else None


ROWS = (
    Row(
        lambda step, ice, soft: isinstance(step, Say) and 45 <= step.opcode <= 48,
        "ice serves ADD_RSS_CFG to DEL_FDIR_FILTER; the software PF does not grant them, and a "
        "judge without a DDP package cannot say what their profiles would do",
    ),
    Row(
        lambda step, ice, soft: (
            isinstance(step, Say)
            and step.opcode == 10
            and (_status(ice), _status(soft)) == (0, -53)
        ),
        "the software PF's switch holds 64 addresses of a VF; the judge's firmware has room for "
        "everything",
    ),
)


def reason(step: Step, ice: Sequence[Reply], soft: Sequence[Reply]) -> str | None:
    """Why these replies may differ; None when nobody has said."""
    return next((row.reason for row in ROWS if row.where(step, ice, soft)), None)
