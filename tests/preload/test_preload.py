# SPDX-License-Identifier: BSD-3-Clause
"""Programs under `iavfio preload`: our own kernel-group code, judged through real ioctls."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.preload import Preload, prepare
from iavfio.softvf.launch import SoftPf
from tests.sanitizer import no_preload

ROOT = Path(__file__).parents[2]

pytestmark = no_preload


def inside(preload: Preload, job: str, *arguments: Any) -> Any:
    """Runs a job of preload_inside under the shim and returns what it found."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.preload.inside", job, *map(json.dumps, arguments)],
        env=preload.environment(),
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2) as pf:
        yield pf
        assert pf.violations() == []


@pytest.fixture(scope="module")
def preload(pf: SoftPf) -> Iterator[Preload]:
    with prepare(pf.sockets) as preload:
        yield preload


@pytest.mark.parametrize(
    ("personality", "options"),
    [
        ("e810", {}),
        ("x710", {}),
        ("x722", {}),
        ("e810", {"sparse": True}),
        ("e810", {"iova_bits": 39}),
    ],
    ids=["e810", "x710", "x722", "sparse", "39 bits"],
)
def test_driver_moves_packets_through_group_and_container(
    personality: str, options: dict[str, Any]
) -> None:
    with iavfio.softvf(personality=personality) as pf, prepare(pf.sockets, **options) as preload:
        found = inside(preload, "traffic", "group", 200)
        assert found == {"same": True, "drained": True, "transport": "group"}
        assert pf.violations() == []


def test_auto_mode_finds_the_group(preload: Preload) -> None:
    assert inside(preload, "traffic", "auto", 10)["transport"] == "group"


def test_refusals_are_the_kernels(preload: Preload) -> None:
    assert inside(preload, "rules") == {
        "type1v2": 1,
        "noiommu": 0,
        "iommu before a group": -errno.EINVAL,
        "group twice": -errno.EBUSY,
        "other device": -errno.ENODEV,
        "leave while open": -errno.EBUSY,
        "map": 0,
        "map again": -errno.EEXIST,
        "overlap": -errno.EEXIST,
        "below a neighbour": 0,
        "above a neighbour": 0,
        "misaligned": -errno.EINVAL,
        "no rights": -errno.EINVAL,
        "MSI window": -errno.EINVAL,
        "beyond the width": -errno.EINVAL,
        "no memory there": -errno.EFAULT,
        "split": -errno.EINVAL,
        "split at its end": -errno.EINVAL,
        "split at its start": -errno.EINVAL,
        "unmap": 4 * 4096,
        "unmap nothing": 0,
        "other memory in its place": 0,
        "unmap all three": 3 * 4096,
        "unknown": -errno.ENOTTY,
        "vector out of range": -errno.EINVAL,
        "config beyond": -errno.EINVAL,
        "poll": 1,
    }


def test_bus_master_is_off_at_open_and_kept_over_resets(preload: Preload) -> None:
    assert inside(preload, "command_register") == {
        "opened": 0,
        "reset": 0,
        "after reset": 4,
        "after FLR": 4,
        "opened again": 0,
    }


def test_registers_that_cannot_be_mapped_are_trapped(preload: Preload) -> None:
    assert inside(preload, "registers") == {
        "rstat": 2,
        "read back": 0x12345600,
        "pread": 0x12345600,
        "doorbell": 0,
        "doorbell page": "rw-s",
        "dup": "86808918",
    }


def test_private_memory_becomes_shared_without_losing_a_write(preload: Preload) -> None:
    assert inside(preload, "private_memory") == {
        "result": 0,
        "kept": True,
        "shared": True,
        "current": True,
        "files": 1,
        "files left": 0,
    }


def test_program_sees_these_devices_and_no_others(preload: Preload) -> None:
    assert inside(preload, "sysfs") == {
        "devices": ["0000:b0:00.0", "0000:b0:01.0"],
        "driver": "vfio-pci",
        "device": "0x1889",
        "nodes": ["100", "101", "vfio"],
        "iommu": False,
        "other": True,
    }


def test_forked_child_leaves_the_parents_device_alone(preload: Preload) -> None:
    assert inside(preload, "child") == {"child": 0, "parent": "8680"}


def test_started_program_leaves_the_parents_device_alone(preload: Preload) -> None:
    assert inside(preload, "spawned") == {"child": 0, "parent": "8680"}


def test_daemon_opens_devices_after_its_fork(preload: Preload) -> None:
    assert inside(preload, "daemon") == {"child": 0}


def test_everything_goes_with_the_last_close(preload: Preload) -> None:
    assert inside(preload, "closing_ends_all") == {"results": [0, 0, 0]}


def test_dead_server_reads_as_ones_and_is_told() -> None:
    with iavfio.softvf() as pf, prepare(pf.sockets) as preload:
        code = (
            "import os, sys, struct\n"
            "from tests.preload.inside import _open\n"
            "_, _, device = _open()\n"
            f"os.kill({pf.pid}, 9)\n"
            "import time; time.sleep(0.2)\n"
            "try:\n    os.pread(device, 4, 7 << 40)\n"
            "except OSError as error:\n    print(error.errno)\n"
        )
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=preload.environment(),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.stdout.strip() == str(errno.EIO)
        assert (
            f"the software VF at {pf.sockets[0].removeprefix('vfio-user:')} is gone" in done.stderr
        )
