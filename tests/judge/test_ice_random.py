# SPDX-License-Identifier: BSD-3-Clause
"""Random valid, nearly valid and invalid messages, said to ice and to the software E810.

Deeds of the host's administrator and function-level resets stand in between. The sequences are the
same in each run; $IAVFIO_JUDGE_EXAMPLES makes more of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.judge.conftest import ICE_KERNELS, kernel_of
from tests.judge.examples import so_many, wanted
from tests.judge.ice_judged import Judged
from tests.judge.ice_messages import RESOURCES
from tests.judge.ice_pair import Ice, Step, judge
from tests.judge.ice_random_steps import ANY_STEP

EXAMPLES = wanted(60)  # with each of the settings below
SETTINGS = {"single": (False, "os"), "double": (True, "os"), "comms": (False, "comms")}


@pytest.fixture(scope="module", params=ICE_KERNELS)
def kernel(request: pytest.FixtureRequest) -> tuple[str, Path]:
    """The version of a kernel, and its judge."""
    return request.param, kernel_of("ice", request.param)


@pytest.fixture(params=SETTINGS)
def setting(request: pytest.FixtureRequest) -> tuple[bool, str]:
    """Whether the VLAN mode is double, and the DDP package."""
    return SETTINGS[request.param]


@pytest.fixture
def ice(kernel: tuple[str, Path], setting: tuple[bool, str]) -> Iterator[Ice]:
    with judge(*kernel, *setting) as made:
        yield made


@pytest.mark.timeout(900)
def test_any_sequence_has_the_same_answers_and_effects(ice: Ice, setting: tuple[bool, str]) -> None:
    judged = Judged()

    @so_many(EXAMPLES)
    @given(steps=st.lists(ANY_STEP, min_size=4, max_size=25), trusted=st.booleans())
    def run(steps: list[Step], trusted: bool) -> None:
        judged.unexplained.clear()  # of the example before, while a shorter one is looked for
        judged.play(ice, (RESOURCES, *steps), trusted, *setting)
        assert judged.unexplained == []

    run()
    print(f"\nice-{ice.kernel}: random steps equal {judged.equal}, by a row {judged.rows.total()}")
    assert judged.equal > EXAMPLES
