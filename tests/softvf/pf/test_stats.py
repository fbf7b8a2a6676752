# SPDX-License-Identifier: BSD-3-Clause
"""GET_STATS as i40e and ice answer it (docs/spec/pf-dialects.md 1)."""

from __future__ import annotations

import struct

import pytest

from tests.softvf.pf.pf_rig import CARDS, PARAM, Rig, rig, select

WORDS = {"e810": 12, "x710": 13, "x722": 13}
each_card = pytest.mark.parametrize("card", CARDS)


def told(pf: Rig) -> tuple[int, ...]:
    status, payload = pf.ask(15, select(pf.vsi, 0, 0))
    assert status == 0
    return struct.unpack(f"<{len(payload) // 8}Q", payload)


@each_card
def test_i40e_answers_with_a_13th_word(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert told(pf) == (0,) * WORDS[card]


@each_card
def test_a_refusal_carries_as_many_zeros(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        assert pf.ask(15, select(99, 0, 0)) == (PARAM[card], bytes(8 * WORDS[card]))
        assert pf.ask(15, bytes(11)) == (PARAM[card], b"")  # it does not get so far


@each_card
def test_counting_begins_with_the_first_question_and_on_i40e_anew_after_a_reset(
    card: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with rig(card) as pf:
        now = [1000] * 12
        monkeypatch.setattr(pf.plane, "stats", lambda vf: tuple(now))
        pf.negotiate()
        assert told(pf)[:12] == (0,) * 12
        now[:] = range(1000, 1012)
        assert told(pf)[:12] == tuple(range(12))
        for reset in (lambda: pf.say(2), lambda: pf.pf.flr(0)):
            before = told(pf)[:12]
            reset()
            pf.clock.advance(1000)
            now[:] = [count + 7 for count in now]
            pf.negotiate()
            on = tuple(count + 7 for count in before) if card == "e810" else (0,) * 12
            assert told(pf)[:12] == on
            now[0] += 5
            assert told(pf)[0] == on[0] + 5


@each_card
def test_counters_wrap_as_the_registers_do(card: str) -> None:
    with rig(card) as pf:
        pf.negotiate()
        base = [(1 << 60) + n for n in range(12)]
        pf.pf.control({"command": "stats_base", "vf": 0, "values": base})
        assert told(pf)[:12] == (tuple(base) if card == "e810" else tuple(range(12)))
        pf.pf.control({"command": "stats_base", "vf": 0, "values": [(1 << 48) - 1] * 12})
        narrow = () if card == "e810" else (4, 5, 10, 11)  # discards, unknown, errors
        widths = [32 if n in narrow else 48 for n in range(12)]
        assert told(pf)[:12] == tuple((1 << width) - 1 for width in widths)
