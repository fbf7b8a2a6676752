# SPDX-License-Identifier: BSD-3-Clause
"""An opening that fails gives back what it had taken; a private software PF ends with its port."""

from __future__ import annotations

import gc
import os
import subprocess
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, PfRefused
from iavfio.port.negotiation import Session
from iavfio.resources import resolved


def descriptors() -> int:
    """Open files of this process."""
    gc.collect()
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - a path object would open one more


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


def test_a_private_software_pf_ends_with_its_port(children: list[subprocess.Popen[bytes]]) -> None:
    port = iavfio.open("softvf")
    assert [child.poll() for child in children] == [None]
    port.close()
    assert [child.poll() is not None for child in children] == [True]


def test_a_private_software_pf_ends_when_its_vf_cannot_be_opened(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(session: Session, **options: Any) -> None:
        raise PfRefused("the PF refused GET_VF_RESOURCES", -5, "", "", 3)

    monkeypatch.setattr(Session, "negotiate", refused)
    with pytest.raises(PfRefused) as told:
        iavfio.open("softvf")
    assert told.tb is not None  # which keeps the opening's frame, so that nobody else ends it
    assert [child.poll() is not None for child in children] == [True]


def test_a_vf_that_could_not_be_opened_is_free_for_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("iavfio.port.negotiation.NEGOTIATE_DEADLINE", 0.05)
    pool = Pool(256, huge="never")
    with iavfio.softvf(options={"reset_ms": 1}) as pf:
        pf.open(0, pool=pool).close()
        before = descriptors()
        opcode = lib.VC_OP_GET_VF_RESOURCES
        pf.control("fault", vf=0, kind="retval", opcode=opcode, value=-5, count=100_000)
        with pytest.raises(PfRefused) as refused:
            pf.open(0, pool=pool)
        refused.value.with_traceback(None)
        del refused
        assert descriptors() == before
        pf.control("fault", vf=0, kind="clear")
        pf.open(0, pool=pool).close()


def test_a_resource_of_kubernetes_names_its_devices_in_order(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PCIDEVICE_INTEL_VF", "0000:3b:02.0,0000:3b:02.1")
    assert resolved("PCIDEVICE_INTEL_VF") == "0000:3b:02.0"
    assert resolved("PCIDEVICE_INTEL_VF:0") == "0000:3b:02.0"
    assert resolved("PCIDEVICE_INTEL_VF:1") == "0000:3b:02.1"
    with pytest.raises(ConfigError, match="has no device 2"):
        resolved("PCIDEVICE_INTEL_VF:2")
    assert resolved("0000:3b:02.7") == "0000:3b:02.7"
