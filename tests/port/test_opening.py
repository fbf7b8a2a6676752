# SPDX-License-Identifier: BSD-3-Clause
"""Opening with a private software VF, which starts while the driver's modules load."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.errors import ConfigError
from iavfio.port.footprint import Footprint
from iavfio.softvf import launch

IMPORTS = """
import sys
import iavfio
assert not {"numpy", "iavfio.port.port", "iavfio.pyvfio"} & set(sys.modules)
from iavfio import opening
assert not {"numpy", "iavfio.port.port", "iavfio.pyvfio"} & set(sys.modules)
with iavfio.open("softvf") as port:
    port.start(wait_link=5)
    print(port.state)
"""


def test_driver_is_imported_while_the_software_vf_starts() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("running\n", 0), done.stderr


@pytest.fixture
def children(monkeypatch: pytest.MonkeyPatch) -> list[subprocess.Popen[bytes]]:
    """The processes that are started from now on."""
    started: list[subprocess.Popen[bytes]] = []

    class Recorded(subprocess.Popen[bytes]):
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    return started


def test_start_that_is_abandoned_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, children: list[subprocess.Popen[bytes]]
) -> None:
    monkeypatch.setattr(launch, "new_directory", lambda: tmp_path / "vf")
    (tmp_path / "vf").mkdir(mode=0o700)
    starting = launch.begin()
    starting.abandon()
    assert [child.poll() is not None for child in children] == [True]
    assert not (tmp_path / "vf").exists()


def test_settings_that_cannot_work_are_told_by_ready(
    children: list[subprocess.Popen[bytes]],
) -> None:
    starting = launch.begin(uplink="carrier-pigeon")
    with pytest.raises(ConfigError, match="carrier-pigeon"):
        starting.ready()
    assert [child.poll() is not None for child in children] == [True]


def test_memory_is_what_was_configured() -> None:
    pool = iavfio.Pool(4096)
    with iavfio.softvf(vfs=2) as pf, pf.open(0, pool=pool) as a, pf.open(1, pool=pool) as b:
        for port in (a, b):
            port.configure(queues=2, rx_ring=512, tx_ring=256)
            port.start()
        held = Footprint.of([a, b])
        assert held.buffers == 4096
        assert held.pool >= 4096 * 2176  # whole pages
        assert held.rings >= 2 * 2 * (512 * 32 + 256 * 16)
        assert held.dma < 4096 * 2176 + 2 * 2 * (512 * 32 + 256 * 16) + 5 * 4096
        assert str(held).startswith("4096 buffers of 2176 bytes")


def test_fields_have_short_names() -> None:
    with iavfio.open("softvf") as port:
        port.start(wait_link=5)
        frame = bytes(range(64))
        with port.tx[0].build([frame, frame[::-1]]) as burst:
            assert burst.u16(off=12).tolist() == burst.u16be(12).tolist() == [0x0C0D, 0x3332]
            assert burst.u32(off=12).tolist() == burst.u32be(12).tolist()
            assert burst.u64(off=12).tolist() == burst.u64be(12).tolist()
