# SPDX-License-Identifier: BSD-3-Clause
"""What the drivers say, as docs/journals recorded it, said to the real i40e driver.

Its replies go through the decoders of iavfio's own driver: none may be malformed. What it refuses
the software PF must have refused, or a row of REVIEWED says why it did not.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from iavfio.linuxpf.process import JudgeProcess, Reply, What
from iavfio.virtchnl.journal import Entry, Journal
from iavfio.virtchnl.messages.names import opcode_name
from iavfio.virtchnl.messages.registry import MESSAGES
from tests.guest.places import REPO
from tests.judge.i40e_pair import JudgeSide

EVENT = 17
DRIVERS = ("iavfio", "linux", "dpdk")
Judged = tuple[str, JudgeProcess]


@dataclass(frozen=True)
class Reviewed:
    """A request that i40e refuses and the software PF accepted, looked at by a person."""

    driver: str
    opcode: int
    kernels: tuple[str, ...]
    function: str  # of the kernel, where it is refused
    reason: str


REVIEWED: tuple[Reviewed, ...] = ()


def recorded(driver: str) -> list[tuple[Entry, Entry | None]]:
    """The requests of a journal with the replies that the software PF gave."""
    entries = list(Journal.load(REPO / f"docs/journals/x710-{driver}.jsonl"))
    found: list[tuple[Entry, Entry | None]] = []
    for at, entry in enumerate(entries):
        if entry.direction == "out":
            later = entries[at + 1 :]
            replies = (e for e in later if e.direction == "in" and e.opcode == entry.opcode)
            found.append((entry, next(replies, None)))
    return found


def read(replies: list[Reply]) -> None:
    """Decodes what succeeded; raises MailboxError for what makes no sense."""
    for opcode, status, payload in replies:
        if status == 0:
            MESSAGES[opcode].read(payload)


@pytest.mark.parametrize("driver", DRIVERS)
def test_replies_of_the_real_pf_to_a_journal(i40e: Judged, driver: str) -> None:
    kernel, process = i40e
    JudgeSide(process).fresh(trusted=True)
    requests, surprises = recorded(driver), []
    assert len(requests) >= 10
    for request, answered in requests:
        replies = process.say(request.opcode, request.payload)
        read(replies)
        own = [status for opcode, status, _ in replies if opcode == request.opcode]
        assert len(own) == (answered is not None), opcode_name(request.opcode)
        if own and own[0] != 0 and answered is not None and answered.status == 0:
            surprises.append((driver, request.opcode))
    rows = {(row.driver, row.opcode) for row in REVIEWED if kernel in row.kernels}
    assert set(surprises) == {row for row in rows if row[0] == driver}


def test_the_judge_notices_a_reply_that_makes_no_sense(i40e: Judged) -> None:
    """The decoders do refuse: a reply to GET_VF_RESOURCES that lost its last bytes."""
    _, process = i40e
    JudgeSide(process).fresh(trusted=False)
    replies = process.say(3, b"\xff" * 4)
    read(replies)
    opcode, status, payload = replies[0]
    with pytest.raises(Exception, match="makes no sense"):
        read([(opcode, status, payload[:20])])
    assert process.replies(process.request(What.FLR), 0) == []
