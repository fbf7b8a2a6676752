# SPDX-License-Identifier: BSD-3-Clause
"""What one VF says changes nothing for its neighbour, on the real i40e and on the software X710.

VF 1 says steps of the scenarios, the same with bytes changed, cut off or added, and random bytes
under any opcode, in its own name and in that of VF 0, which is in use meanwhile; then VF 0, whose
queues lie before those of VF 1.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iavfio.linuxpf.process import JudgeProcess, What
from tests.judge.i40e_pair import VERSION_1_1, JudgeSide, SoftSide, Step
from tests.judge.i40e_scenarios import FLR, SCENARIOS, mac, resources
from tests.softvf.pf.pf_rig import config_queues, irq_map, macs, pair, promisc, rig, rss_key, select

Judged = tuple[str, JudgeProcess]
LONGEST = 4096  # bytes of an admin-queue buffer
KNOWN: Sequence[Step] = sorted(
    {step for steps in SCENARIOS.values() for step in steps if step.deed is None},
    key=lambda step: (step.opcode, step.payload),
)
RANDOM = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    print_blob=False,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@st.composite
def _mangled(draw: st.DrawFn) -> Step:
    """A step of a scenario with a byte changed, its end cut off or bytes added."""
    step: Step = draw(st.sampled_from(KNOWN))
    payload = step.payload
    match draw(st.sampled_from(("change", "cut", "add"))):
        case "change" if payload:
            at = draw(st.integers(0, min(len(payload) - 1, 80)))
            payload = payload[:at] + bytes([draw(st.integers(0, 255))]) + payload[at + 1 :]
        case "cut":
            payload = payload[: draw(st.integers(0, len(payload)))]
        case _:
            payload += draw(st.binary(min_size=1, max_size=8))
    return replace(step, payload=payload[:LONGEST])


def _garbage() -> st.SearchStrategy[Step]:
    return st.builds(Step, st.integers(0, 130), st.binary(max_size=96))


STEPS = st.one_of(
    st.sampled_from((FLR, resources())), st.sampled_from(KNOWN), _mangled(), _garbage()
)


def _settled(vsi: int) -> tuple[Step, ...]:
    """What a driver in use has said to its PF."""
    return (
        Step(1, VERSION_1_1),
        resources(),
        Step(6, config_queues(vsi, *(pair(vsi, queue) for queue in range(4)))),
        Step(7, irq_map((vsi, 1, 15, 15, 0, 1))),
        Step(8, select(vsi, 15, 15)),
        Step(10, macs(vsi, mac(1))),
        Step(14, promisc(vsi, 3)),
        Step(23, rss_key(vsi, bytes(range(52)))),
    )


@st.composite
def _neighbours(draw: st.DrawFn) -> Step:
    """A step of a VF, which names its own VSI or the other's."""
    step: Step = draw(STEPS)
    other = struct.pack("<H", 11)
    if step.payload[:2] == struct.pack("<H", 10) and draw(st.booleans()):
        step = replace(step, payload=other + step.payload[2:])
    return step


SEQUENCES = given(st.lists(_neighbours(), max_size=20))


@pytest.mark.timeout(1200)
@pytest.mark.parametrize(("speaker", "silent"), [(1, 0), (0, 1)])
def test_a_neighbour_changes_nothing(i40e: Judged, speaker: int, silent: int) -> None:
    """Whatever a VF says, i40e tells another nothing and holds for it what it held.

    But for queues: those behind a VF's own it can start and stop (docs/spec/pf-dialects.md 7).
    """
    _, process = i40e
    first = JudgeSide(process)
    judge = first if silent == 0 else JudgeSide(process, silent, first.switch)
    judge.fresh(trusted=True)
    for step in _settled(10 + silent):
        assert [status for _, status, _ in judge.take(step)][:1] == [0], step
    held = judge.held()
    assert held.rx_enabled == held.tx_enabled == 15

    @RANDOM
    @SEQUENCES
    def play(steps: list[Step]) -> None:
        for step in steps:
            what = What.FLR if step.deed else What.MESSAGE
            answer = process.request(what, speaker, step.opcode, step.payload)
            assert {vf for vf, *_ in answer.messages} <= {speaker}, step
        now = judge.held()
        if speaker < silent:
            now = replace(now, rx_enabled=held.rx_enabled, tx_enabled=held.tx_enabled)
        assert now == held, "; ".join(map(str, steps))

    play()


@pytest.mark.parametrize(("speaker", "silent"), [(1, 0), (0, 1)])
def test_a_neighbour_changes_nothing_in_the_software_pf(speaker: int, silent: int) -> None:
    """The same of the software PF, and of queues too."""
    with rig("x710", vfs=2, mac="zero", trusted=True) as made:
        soft = SoftSide(made, silent)
        for step in _settled(10 + silent):
            assert [status for _, status, _ in soft.take(step)][:1] == [0], step
        held, served = soft.held(), soft.programmed()
        assert held.rx_enabled == held.tx_enabled == 15

        @RANDOM
        @SEQUENCES
        def play(steps: list[Step]) -> None:
            made.hardware[silent].take()
            for step in steps:
                if step.deed:
                    made.pf.flr(speaker)
                else:
                    made.pf.message(speaker, step.opcode, step.payload)
                made.clock.advance(500)
                assert made.hardware[silent].take() == [], step
            assert (soft.held(), soft.programmed()) == (held, served), "; ".join(map(str, steps))

        play()
