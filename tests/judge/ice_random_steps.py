# SPDX-License-Identifier: BSD-3-Clause
"""Steps of ice's scenarios, the same a little wrong, and bytes under any opcode."""

from __future__ import annotations

from hypothesis import strategies as st

from tests.judge.ice_pair import Say, Step
from tests.judge.ice_scenarios import STEPS

LONGEST = 4096  # bytes of an admin-queue buffer
LAST_OPCODE = 140  # beyond the last one that there is
MESSAGES = tuple(step for step in STEPS if isinstance(step, Say))


@st.composite
def mangled(draw: st.DrawFn) -> Say:
    """A message with a byte changed, its end cut off or bytes added."""
    step = draw(st.sampled_from(MESSAGES))
    payload = step.payload
    match draw(st.sampled_from(("change", "cut", "add"))):
        case "change" if payload:
            at = draw(st.integers(0, len(payload) - 1))
            payload = payload[:at] + bytes([draw(st.integers(0, 255))]) + payload[at + 1 :]
        case "cut":
            payload = payload[: draw(st.integers(0, len(payload)))]
        case _:
            payload += draw(st.binary(min_size=1, max_size=8))
    return Say(step.opcode, payload[:LONGEST])


GARBAGE = st.builds(Say, st.integers(0, LAST_OPCODE), st.binary(max_size=96))
ANY_MESSAGE = st.one_of(st.sampled_from(MESSAGES), mangled(), GARBAGE)
ANY_STEP: st.SearchStrategy[Step] = st.one_of(*[st.sampled_from(STEPS)] * 4, mangled(), GARBAGE)
