# SPDX-License-Identifier: BSD-3-Clause
"""The MTU that a run's frames need is the least one, so that every size of --size has one."""

from __future__ import annotations

import pytest

from iavfio.bench.plan import least_mtu
from iavfio.datapath.pair import FCS
from iavfio.port.settings import Settings
from iavfio.ranges import FRAME, MTU


@pytest.mark.parametrize("size", [1526, 1527, 9018, 9720, 9721, FRAME.high])
def test_the_mtu_of_a_frame_size_is_the_least_that_lets_it_through(size: int) -> None:
    mtu = least_mtu([64, size])
    assert MTU("mtu", mtu) == mtu
    assert Settings(mtu=mtu).frame + FCS == size
