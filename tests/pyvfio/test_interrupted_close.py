# SPDX-License-Identifier: BSD-3-Clause
"""A close that a signal ends at any moment, made again: the space's other device keeps it."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory
from tests.moments import Signals
from tests.pyvfio.fake_kernel import FakeKernel

FIRST, SECOND = "0000:3b:02.0", "0000:3b:02.1"


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What a signal left to the collector shall not close its descriptors in another test."""
    yield
    gc.collect()


def close_with(device: pyvfio.Device, signals: Signals) -> bool:
    """Closes it, again where the signal ended that; whether it came."""
    try:
        sys.setprofile(signals)
        device.close()
    except KeyboardInterrupt:
        return True
    finally:
        sys.setprofile(None)
        device.close()
    return False


# docs/spec/reliability.md F66
@pytest.mark.parametrize("mode", ["cdev", "group"])
def test_the_other_device_of_a_space_keeps_it(
    mode: Literal["cdev", "group"], tmp_path: Path
) -> None:
    moment, came = 1, True
    while came:
        root = tmp_path / str(moment)
        root.mkdir()
        kernel = FakeKernel(root)
        kernel.add(FIRST, 17)
        kernel.add(SECOND, 18)
        first = pyvfio.open(FIRST, mode=mode, kernel=kernel)
        second = pyvfio.open(SECOND, mode=mode, space=first.space, kernel=kernel)
        memory = DmaMemory.allocate(4096, huge="never")
        iova = second.space.map(memory)
        came = close_with(first, Signals(moment, within="/iavfio/pyvfio/"))
        assert [each.iova for each in second.space.mappings] == [iova], moment
        second.space.unmap(iova, memory.size)
        second.close()
        memory.close()
        moment += 1
    assert moment > 20
