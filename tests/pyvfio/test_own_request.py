# SPDX-License-Identifier: BSD-3-Clause
"""A signal handler that asks the device for which its thread waits (docs/spec/vfio-user.md 1)."""

from __future__ import annotations

import errno
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import Bar, Device
from iavfio.pyvfio.device import CONFIG_REGION
from tests.pyvfio.vfio_user_peer import REGION_READ, Peer

REGISTER = 0x1000  # BAR0 does not map it
ASKS: dict[str, Callable[[Device, Bar], object]] = {
    "read32": lambda device, bar: bar.read32(REGISTER),
    "write32": lambda device, bar: bar.write32(REGISTER, 1),
    "read": lambda device, bar: device.read(CONFIG_REGION, 0, 4),
    "config": lambda device, bar: device.config.read16(0),
}


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "vf0.sock")
    yield peer
    peer.hang_up()


@pytest.fixture
def alarms() -> Iterator[Callable[[Callable[[], object]], None]]:
    before = signal.getsignal(signal.SIGUSR1)

    def answered_by(act: Callable[[], object]) -> None:
        signal.signal(signal.SIGUSR1, lambda *_: act())

    yield answered_by
    signal.signal(signal.SIGUSR1, before)


# docs/spec/reliability.md F66
@pytest.mark.parametrize("name", list(ASKS))
def test_the_handler_is_told_and_nothing_is_lost(
    name: str, peer: Peer, alarms: Callable[[Callable[[], object]], None]
) -> None:
    answer, waiting = threading.Event(), threading.Event()
    main = threading.get_ident()
    errors: list[pyvfio.VfioError] = []
    with pyvfio.open(f"vfio-user:{peer.path}") as device:
        bar = device.map_bar(0)

        def ask() -> None:
            try:
                ASKS[name](device, bar)
            except pyvfio.VfioError as error:
                errors.append(error)
            finally:
                answer.set()

        def late(payload: bytes, fds: list[int]) -> tuple[bytes, list[int]]:
            waiting.set()
            signal.pthread_kill(main, signal.SIGUSR1)
            assert answer.wait(60)
            return payload + bytes([0x55] * 4), []

        alarms(ask)
        override: Any = peer.override
        override[REGION_READ] = late
        assert bar.read32(REGISTER) == 0x55555555
        override.clear()
        assert waiting.is_set()
        assert [error.errno for error in errors] == [errno.EDEADLK]
        assert "signal handler" in str(errors[0])
        assert not device.lost
        ASKS[name](device, bar)  # when the handler has returned it may ask again
