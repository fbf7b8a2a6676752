# SPDX-License-Identifier: BSD-3-Clause
"""What drivers said in tests with a software PF, said to Linux's own.

tests/journals.py chose the conversations: every request of iavfio's tests, of DPDK's and of the
guests' that a software PF has accepted is in one. A real PF accepts it too, or a row of REVIEWED
says why it does not; its replies go through the driver's decoders.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import takewhile

import pytest

from iavfio.linuxpf.process import JudgeProcess, Reply
from iavfio.softvf.personality import named
from iavfio.virtchnl.messages.events import decode_event
from iavfio.virtchnl.messages.registry import MESSAGES
from tests import journals
from tests.journals import Conversation, Request
from tests.judge.conftest import ICE_KERNELS, kernel_of
from tests.judge.i40e_pair import RESOURCES, JudgeSide
from tests.judge.i40e_pair import Step as I40eStep
from tests.judge.i40e_scenarios import V
from tests.judge.ice_pair import Host, Ice, Say, judge
from tests.softvf.pf.pf_rig import macs

VERSION, GET_VF_RESOURCES, EVENT, REQUEST_QUEUES = 1, 3, 17, 29
SETTINGS = ((False, "os"), (True, "os"), (False, "comms"))  # VLAN mode, DDP package of an ice


@dataclass(frozen=True)
class Reviewed:
    """Requests that a real PF refuses and a software PF accepted, looked at by a person."""

    at: tuple[tuple[str, str], ...]  # drivers of the PF and kernels
    opcode: int
    status: int
    reason: str


OWN_MAC = named("x710").default_mac(0).hex(":")
ICE_6_1 = (("ice", "6.1"),)
REVIEWED: tuple[Reviewed, ...] = (
    Reviewed(ICE_6_1, 18, -5, "virtchnl_vc_validate_vf_msg does not know CONFIG_RSS_HFUNC"),
    Reviewed(ICE_6_1, 25, -64, "ice_vc_process_vf_msg has no handler: nobody chooses classes"),
    Reviewed(ICE_6_1, 26, -64, "ice_vc_process_vf_msg has no handler: nobody chooses classes"),
    Reviewed(ICE_6_1, 44, -5, "virtchnl_vc_validate_vf_msg does not know the message"),
)


def told(conversation: Conversation) -> Iterator[Request | None]:
    """The requests; None for a reset, which comes before each negotiation as well.

    A function-level reset, as one program ends and the next begins, leaves no note in a journal.
    """
    steps = conversation.steps
    for number, step in enumerate(steps):
        after = next((each for each in steps[number + 1 :] if isinstance(each, Request)), None)
        if isinstance(step, str):
            yield None
            continue
        if step.opcode == VERSION and after is not None and after.opcode == GET_VF_RESOURCES:
            yield None
        yield step


def refused(
    conversation: Conversation,
    reset: Callable[[], object],
    say: Callable[[int, bytes], list[Reply]],
) -> Counter[tuple[int, int]]:
    """Opcode and status of what the software PF accepted alone, with how often."""
    found: Counter[tuple[int, int]] = Counter()
    for step in told(conversation):
        if step is None:
            reset()
            continue
        replies = say(step.opcode, step.payload)
        for opcode, status, payload in replies:
            if opcode == EVENT:
                decode_event(payload, adv_link_speed=True)
            elif status == 0:
                MESSAGES[opcode].read(payload)
        own = [status for opcode, status, _ in replies if opcode == step.opcode]
        granted = step.opcode == REQUEST_QUEUES and not own  # by a reset
        if step.status == 0 and own != [0] and not granted:
            found[step.opcode, own[0] if own else 0] += 1
    return found


def unexplained(driver: str, kernel: str, found: dict[str, Counter[tuple[int, int]]]) -> list[str]:
    """Refusals without a row, and rows that no refusal needs."""
    rows = {(row.opcode, row.status) for row in REVIEWED if (driver, kernel) in row.at}
    seen = {each for refusals in found.values() for each in refusals}
    strange = [
        f"{test}: opcode {opcode} gets {status}"
        for test, refusals in found.items()
        for opcode, status in refusals
        if (opcode, status) not in rows
    ]
    return strange + [f"no refusal of {row} is left" for row in sorted(rows - seen)]


def names_the_given_address(conversation: Conversation) -> bool:
    own = bytes.fromhex(OWN_MAC.replace(":", ""))
    requests = (step for step in conversation.steps if isinstance(step, Request))
    return any(own in step.payload for step in requests if step.opcode in journals.ADDRESSES)


def report(name: str, count: int, said: int, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n{name}: {count} conversations of drivers' tests, {said} messages")


def test_i40e_accepts_what_the_software_pf_does(
    i40e: tuple[str, JudgeProcess], capsys: pytest.CaptureFixture[str]
) -> None:
    kernel, process = i40e
    side, found, said = JudgeSide(process), {}, process.said
    conversations = journals.load("i40e")
    for number, each in enumerate(conversations):
        side.fresh(trusted=True)
        if names_the_given_address(each):
            # The software PF gave it to the VF, as i40e once did: it is the VF's own one.
            for step in (RESOURCES, I40eStep(10, macs(V, OWN_MAC, kind=1)), I40eStep(deed="flr")):
                side.take(step)
        found[f"{number}, {each.test}"] = refused(
            each,
            lambda: side.take(I40eStep(deed="flr")),
            lambda opcode, payload: side.take(I40eStep(opcode, payload)),
        )
    report(f"i40e-{kernel}", len(conversations), process.said - said, capsys)
    assert unexplained("i40e", kernel, found) == []


@pytest.mark.parametrize("kernel", ICE_KERNELS)
def test_ice_accepts_what_the_software_pf_does(
    kernel: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In one of its settings: a journal does not tell which one the software PF had."""
    found, conversations = {}, journals.load("ice")
    with ExitStack() as stack:
        settings = [
            stack.enter_context(judge(kernel, kernel_of("ice", kernel), *setting))
            for setting in SETTINGS
        ]
        for number, each in enumerate(conversations):
            tries = (_refused_by_ice(ice, each) for ice in settings)
            refusals = [*takewhile(bool, tries)]
            if len(refusals) == len(settings):
                found[f"{number}, {each.test}"] = min(refusals, key=Counter.total)
        said = sum(ice.process.said for ice in settings)
    report(f"ice-{kernel}", len(conversations), said, capsys)
    assert unexplained("ice", kernel, found) == []


def _refused_by_ice(ice: Ice, conversation: Conversation) -> Counter[tuple[int, int]]:
    ice.begin(trusted=True)
    return refused(
        conversation,
        lambda: ice.do(Host("flr")),
        lambda opcode, payload: ice.do(Say(opcode, payload)),
    )
