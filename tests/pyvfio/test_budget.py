# SPDX-License-Identifier: BSD-3-Clause
"""The requests of one call to a device behind a socket share its time (docs/spec/reliability.md 7).

A clock that goes on by half a second with each request takes the place of a slow server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import Device, budget, connection
from iavfio.pyvfio._vfio import lib
from iavfio.pyvfio.device import CONFIG_REGION, IRQ_MSIX
from iavfio.softvf import softvf
from iavfio.softvf.launch import SoftPf
from tests.port.rig import until

EACH = 0.5  # seconds
WHOLE = 5000  # ms


class SlowLib:
    """The C library; writes down how long each request may wait."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.timeouts: list[int] = []
        self._now = 100.0
        monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: self._now))
        monkeypatch.setattr(connection, "lib", self)

    def __getattr__(self, name: str) -> Any:
        return getattr(lib, name)

    def vu_call_run(self, conn: Any, call: Any, slice_ms: int) -> int:
        result = int(lib.vu_call_run(conn, call, slice_ms))
        if not result:
            self.timeouts.append(int(call.timeout_ms))
            self._now += EACH
        return result


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with softvf(vfs=1) as soft:
        yield soft


@pytest.fixture
def target(pf: SoftPf) -> str:
    """A socket whose client before has gone."""
    assert until(lambda: not pf.control("info")["vfs"][0]["connected"], 60)
    return pf.sockets[0]


def _holes(device: Device) -> None:
    fd = os.eventfd(0)
    try:
        device.set_irqs(IRQ_MSIX, 0, [fd, None, fd])
    finally:
        os.close(fd)


def _bus_master(device: Device) -> None:
    device.config.bus_master = True


CALLS: dict[str, Callable[[Device], object]] = {
    "config.read16": lambda device: device.config.read16(0),
    "capability": lambda device: device.config.capability(0x11),
    "msix_count": lambda device: device.config.msix_count,
    "bus_master": _bus_master,
    "read": lambda device: device.read(CONFIG_REGION, 0, 64),
    "write": lambda device: device.write(CONFIG_REGION, 4, bytes(2)),
    "map_bar": lambda device: device.map_bar(0),
    "set_irqs": _holes,
    "enable_msix": lambda device: device.enable_msix(17),
    "request_event": lambda device: device.request_event(),
}


# docs/spec/reliability.md I3
@pytest.mark.parametrize("name", list(CALLS))
def test_the_requests_of_a_call_share_its_time(
    name: str, target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pyvfio.open(target) as device:
        slow = SlowLib(monkeypatch)
        CALLS[name](device)
        assert slow.timeouts[0] == WHOLE
        assert len(slow.timeouts) > 1
        for before, after in pairwise(slow.timeouts):
            assert after == max(1, before - int(EACH * 1e3))
        slow.timeouts.clear()
        device.region(0)
        assert slow.timeouts == [WHOLE]  # the next call has its own
        monkeypatch.undo()


def test_opening_and_closing_share_theirs(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = SlowLib(monkeypatch)
    device = pyvfio.open(target)
    assert slow.timeouts == [WHOLE, WHOLE - 500]
    device.enable_msix(2)
    slow.timeouts.clear()
    device.close()
    assert slow.timeouts == [WHOLE, WHOLE - 500]
    monkeypatch.undo()


def test_a_limit_of_the_callers_counts_instead(
    target: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port gives its calls more time than one call of pyvfio's has."""
    with pyvfio.open(target) as device:
        slow = SlowLib(monkeypatch)
        device.limit(60)
        _ = device.config.msix_count
        assert set(slow.timeouts) == {5000}
        slow.timeouts.clear()
        device.limit(float("inf"))
        _ = device.config.msix_count
        assert slow.timeouts[:2] == [WHOLE, WHOLE - 500]
        monkeypatch.undo()


def test_a_call_that_raises_leaves_no_budget_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    @budget.one_call
    def fails() -> None:
        assert budget.left() <= budget.SECONDS
        raise ValueError

    now = [1.0]
    monkeypatch.setattr(budget, "time", SimpleNamespace(monotonic=lambda: now[0]))
    with pytest.raises(ValueError):
        fails()
    now[0] += 60
    assert budget.left() == budget.SECONDS
