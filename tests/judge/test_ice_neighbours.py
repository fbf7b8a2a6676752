# SPDX-License-Identifier: BSD-3-Clause
"""What one VF says changes nothing for its neighbour, on the real ice and on the software E810.

VF 1 says messages of the scenarios, the same with bytes changed, cut off or added, and random bytes
under any opcode, while VF 0 is in use. Its VSI has the number that VF 0's has: ice tells each VF of
VSI 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.judge.conftest import ICE_KERNELS, kernel_of
from tests.judge.examples import so_many
from tests.judge.ice_messages import RESOURCES, V, add, tags, unicast
from tests.judge.ice_pair import DIALECTS, Host, Ice, Say, Soft, Step, judge
from tests.judge.ice_programmed import unlike
from tests.judge.ice_queue_scenarios import configure, enable
from tests.judge.ice_random_steps import ANY_MESSAGE
from tests.softvf.pf.pf_rig import irq_map, promisc, rig, rss_key

RANDOM = settings(so_many(100), print_blob=False)
FLR = Host("flr")
# What a driver in use has said to its PF.
SETTLED: tuple[Say, ...] = (
    RESOURCES,
    Say(51),
    configure(0, 1, 2, 3),
    Say(7, irq_map((V, 1, 15, 15, 0, 1))),
    enable(15, 15),
    add(unicast(1)),
    tags((5, 0x8100)),
    Say(14, promisc(V, 3)),
    Say(23, rss_key(V, bytes(range(52)))),
)
SEQUENCES_OF_VF_1 = given(
    st.lists(st.one_of(st.sampled_from((FLR, RESOURCES)), ANY_MESSAGE, ANY_MESSAGE), max_size=20)
)


@pytest.fixture(scope="module", params=ICE_KERNELS)
def ice(request: pytest.FixtureRequest) -> Iterator[Ice]:
    kernel: tuple[str, Path] = (request.param, kernel_of("ice", request.param))
    with judge(*kernel) as made:
        yield made


@pytest.mark.timeout(1200)
def test_a_neighbour_changes_nothing(ice: Ice) -> None:
    """Whatever VF 1 says, ice tells VF 0 nothing and its card serves VF 0 as it did."""
    ice.begin(trusted=True)
    for step in SETTLED:
        assert [status for _, status, _ in ice.do(step)][:1] == [0], step
    held = ice.programmed()
    assert {*held.rx} == {*held.tx} == {0, 1, 2, 3}

    @RANDOM
    @SEQUENCES_OF_VF_1
    def play(steps: list[Step]) -> None:
        for step in steps:
            assert ice.neighbour(step) <= {1}, step
        assert unlike(ice.programmed(), held) == {}, "; ".join(map(str, steps))

    play()


@pytest.mark.parametrize("kernel", DIALECTS)
def test_a_neighbour_changes_nothing_in_the_software_pf(kernel: str) -> None:
    """The same of the software PF, where VF 1 is trusted as well."""
    with rig("e810", vfs=2, trusted=True, **DIALECTS[kernel]) as made:
        soft = Soft(made)
        for step in SETTLED:
            assert [status for _, status, _ in soft.do(step)][:1] == [0], step
        held = soft.programmed()
        assert {*held.rx} == {*held.tx} == {0, 1, 2, 3}

        @RANDOM
        @SEQUENCES_OF_VF_1
        def play(steps: list[Step]) -> None:
            for step in steps:
                assert soft.neighbour(step) <= {1}, step
            assert unlike(soft.programmed(), held) == {}, "; ".join(map(str, steps))

        play()
