# SPDX-License-Identifier: BSD-3-Clause
"""The real ice of Linux judges the software PF's e810, and the driver's decoders.

After each step the replies are compared, and what serves the VF's frames (ice_programmed.py).
`make judge` builds the judges; without them these tests skip, or fail when $IAVFIO_JUDGE_REQUIRED
is set.
"""

from __future__ import annotations

import json
import struct
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest

from iavfio.linuxpf.process import Reply, What
from iavfio.virtchnl.messages.events import decode_event
from iavfio.virtchnl.messages.registry import MESSAGES
from tests.guest.places import REPO
from tests.judge.conftest import ICE_KERNELS, kernel_of
from tests.judge.ice_differences import RESET_VF, ROWS
from tests.judge.ice_judged import Judged
from tests.judge.ice_messages import RESOURCES, V
from tests.judge.ice_pair import CAPS, EVENT, Host, Ice, Say, judge
from tests.judge.ice_rule_scenarios import patterns
from tests.judge.ice_scenarios import SCENARIOS
from tests.softvf.pf.pf_rig import config_queues, macs, pair, select

JOURNALS = sorted((REPO / "docs/journals").glob("e810-*.jsonl"))
VERSION = Say(1, struct.pack("<II", 1, 1))


@dataclass(frozen=True)
class Reviewed:
    """What a kernel answers otherwise than the PF of the journals does, looked at by a person."""

    status: int
    reason: str


UNLIKE: Mapping[str, Mapping[int, Reviewed]] = MappingProxyType(
    {
        "6.1": MappingProxyType(
            {
                18: Reviewed(-5, "virtchnl_vc_validate_vf_msg does not know CONFIG_RSS_HFUNC"),
                25: Reviewed(-64, "ice_vc_process_vf_msg has no handler: nobody chooses classes"),
                26: Reviewed(-64, "ice_vc_process_vf_msg has no handler: nobody chooses classes"),
                44: Reviewed(-5, "virtchnl_vc_validate_vf_msg does not know the message"),
            }
        )
    }
)
DOUBLE = pytest.mark.parametrize("double_vlan", [False, True], ids=["single", "double"])


@pytest.fixture(scope="module", params=ICE_KERNELS)
def kernel(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The version of a kernel, and its judge."""
    return request.param, kernel_of("ice", request.param)


@pytest.fixture(scope="module")
def ice(kernel: tuple[str, Path]) -> Iterator[Ice]:
    with judge(*kernel) as made:
        yield made


@DOUBLE
def test_every_scenario_has_the_same_answers_and_effects(
    kernel: tuple[str, Path], double_vlan: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = Judged()
    with judge(*kernel, double_vlan) as made:
        for trusted in (False, True):
            for name, steps in SCENARIOS.items():
                known = len(judged.unexplained)
                judged.play(made, steps, trusted, double_vlan)
                judged.unexplained[known:] = [
                    f"{name}, trusted {trusted}: {each}" for each in judged.unexplained[known:]
                ]
        said = made.process.said
    with capsys.disabled():
        print(
            f"\nice-{kernel[0]}: {len(SCENARIOS)} scenarios, {said} messages, {judged.equal} steps "
            f"equal, {len(judged.unexplained)} unexplained, rows: {dict(judged.rows)}"
        )
    assert judged.unexplained == []
    rows = [row for row in ROWS if double_vlan in row.modes and kernel[0] in row.kernels]
    stale = [row.name for row in rows if not judged.rows[row.name]]
    assert not stale, f"rows that explain nothing: {stale}"


@pytest.mark.parametrize("ddp", ["os", "comms"])
def test_rules_of_every_pattern_have_the_same_answers_and_effects(
    kernel: tuple[str, Path], ddp: str
) -> None:
    judged = Judged()
    with judge(*kernel, ddp=ddp) as made:
        for name, steps in patterns():
            known = len(judged.unexplained)
            judged.play(made, (RESOURCES, *steps), False, False, ddp)
            judged.unexplained[known:] = [f"{name}: {each}" for each in judged.unexplained[known:]]
    assert judged.unexplained == []
    assert judged.equal > 3 * len(list(patterns()))


def _said(journal: Path) -> list[tuple[int, bytes, int]]:
    """Requests of a journal, each with the status of its reply."""
    lines = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
    found = []
    for number, line in enumerate(lines):
        if line["direction"] == "out":
            replies = (
                each["status"]
                for each in lines[number + 1 :]
                if each["direction"] == "in" and each["opcode"] == line["opcode"]
            )
            found.append((line["opcode"], bytes.fromhex(line["hex"]), next(replies, 0)))
    return found


def told_apart(sent: list[Reply]) -> tuple[list[bytes], list[Reply]]:
    """Events and replies."""
    events = [payload for opcode, _, payload in sent if opcode == EVENT]
    return events, [reply for reply in sent if reply[0] != EVENT]


@pytest.mark.parametrize("journal", JOURNALS, ids=lambda path: path.stem)
def test_what_drivers_say_is_taken_and_its_answers_make_sense(ice: Ice, journal: Path) -> None:
    ice.begin(trusted=False)
    counts: Counter[str] = Counter()
    for opcode, payload, recorded in _said(journal):
        events, replies = told_apart(ice.process.say(opcode, payload))
        for event in events:
            decode_event(event, adv_link_speed=True)
        unlike = UNLIKE.get(ice.kernel, {}).get(opcode)
        expected = [] if opcode == RESET_VF else [(opcode, unlike.status if unlike else recorded)]
        got = [(answered, status) for answered, status, _ in replies]
        assert got == expected, f"opcode {opcode} {payload.hex()}"
        for answered, status, reply in replies:
            if status == 0:
                MESSAGES[answered].read(reply)
            counts["replies"] += 1
    assert counts["replies"] > 10


# ---- what the software PF cannot be compared with, and the rest of the list of issue 11


def test_no_rxdid_before_get_supported_rxdids(kernel: tuple[str, Path]) -> None:
    """Before 6.14 ice knows no descriptor format until a VF has asked; 6.1 has no choice of one."""
    with judge(*kernel) as made:
        queue = Say(6, config_queues(V, pair(V, 0, rxdid=1)))
        made.do(VERSION)
        made.do(RESOURCES)
        assert made.do(queue) == [(6, -5 if kernel[0] == "6.12" else 0, b"")]
        made.do(Say(44))
        assert made.do(queue) == [(6, 0, b"")]


def test_counters_over_a_reset(kernel: tuple[str, Path]) -> None:
    """They begin at the first question, on 6.1 anew after a reset."""
    with judge(*kernel) as made:

        def told(received: int) -> int:
            made.process.request(What.COUNT, 0, 0, struct.pack("<12Q", received, *[0] * 11))
            ((_, status, payload),) = made.do(Say(15, select(V, 0, 0)))
            assert status == 0
            return int(struct.unpack_from("<Q", payload)[0])

        for number, reset in enumerate((Host("flr"), Say(2), None)):
            made.do(VERSION)
            made.do(RESOURCES)
            so_far = 0 if kernel[0] == "6.1" else 5 * number
            at = 1000 + 5 * number
            assert [told(at), told(at + 5)] == [so_far, so_far + 5]
            if reset:
                made.do(reset)


def test_vfs_do_not_disturb_each_other(ice: Ice) -> None:
    ice.begin(trusted=False)
    for vf in (1, 2, 3):
        ice.process.say(1, struct.pack("<II", 1, 1), vf)
        ((opcode, status, reply), _) = ice.process.say(3, struct.pack("<I", CAPS), vf)
        assert (opcode, status) == (3, 0)
        assert MESSAGES[3].read(reply) is not None
    ice.do(RESOURCES)
    assert ice.process.say(10, macs(V, "02:00:00:00:00:01"), 1) == [(10, 0, b"")]
    assert ice.do(Say(10, macs(V, "02:00:00:00:00:01"))) == [(10, 0, b"")]  # both may have it
    ice.do(Host("flr"))
    assert ice.process.say(11, macs(V, "02:00:00:00:00:01"), 1) == [(11, 0, b"")]
