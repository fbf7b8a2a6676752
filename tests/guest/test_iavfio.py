# SPDX-License-Identifier: BSD-3-Clause
"""iavfio itself in a guest: its CLI and driver over the kernel's own VFIO, on software VFs.

Nothing of vfio-user is seen by the driver here: QEMU turns the software VF into a PCI device.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from tests.guest.machine import Guest, Iommu, KernelName, Result
from tests.guest.softvf import SoftVf

BDF = "0000:01:00.0"
PROBES = 1  # frames that `iavfio bench` sends on a port before its run, to see whether they arrive
CLI = 'cd /tmp; export PYTHONPATH=/repo; iavfio() { python3 -m iavfio.cli "$@"; }\n'
LAX = "vfio_iommu_type1.allow_unsafe_interrupts=1"
BARE = "vfio.enable_unsafe_noiommu_mode=1 hugepages=64"  # 17 in a row for the pool, 1 for each ring


@dataclass(frozen=True)
class Setting:
    """A way into VFIO on a card."""

    kernel: KernelName
    iommu: Iommu
    transport: str
    personality: str
    doorbells: str
    append: str = ""

    def __str__(self) -> str:
        return f"{self.kernel}-{self.iommu}-{self.transport}-{self.personality}-{self.doorbells}"


SETTINGS = [
    pytest.param(Setting("small", "intel", "cdev", "e810", "trapped")),
    pytest.param(
        Setting("newest", "virtio", "group", "x710", "shared", LAX), marks=pytest.mark.full
    ),
    pytest.param(Setting("small", "none", "noiommu", "e810", "shared", BARE)),
    pytest.param(Setting("older", "intel", "group", "x722", "shared"), marks=pytest.mark.full),
    pytest.param(Setting("small", "intel", "cdev", "x710", "shared"), marks=pytest.mark.full),
]


@dataclass
class Bench:
    """A guest with one VF bound to vfio-pci."""

    setting: Setting
    pf: SoftVf
    guest: Guest

    @property
    def word(self) -> str:
        """What `info` and `bench` must be told."""
        return "--unsafe-noiommu" if self.setting.transport == "noiommu" else ""

    def iavfio(self, words: str, timeout: float = 90.0) -> Result:
        """The CLI as root."""
        return self.guest.run(f"{CLI}iavfio {words}", timeout)

    def measure(self, words: str) -> dict[str, Any]:
        """`iavfio bench`, which must succeed."""
        result = self.iavfio(f"bench {BDF} --json {self.word} {words}")
        assert result.status == 0, result.output
        found: dict[str, Any] = json.loads(result.output)
        return found


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def bench(request: pytest.FixtureRequest, lab: None) -> Iterator[Bench]:
    """One software PF, one guest, one bound VF for all tests of a setting."""
    setting = request.param
    assert isinstance(setting, Setting)
    words = ("--personality", setting.personality, "--doorbells", setting.doorbells)
    with (
        SoftVf(*words, "--uplink", "loopback") as pf,
        Guest(
            kernel=setting.kernel,
            iommu=setting.iommu,
            sockets=pf.sockets,
            append=setting.append,
        ) as guest,
    ):
        guest.check(f"{CLI}modprobe vfio-pci 2>/dev/null; iavfio bind {BDF}")
        pf.control("log", clear=True)  # what a kernel driver did at boot is not ours
        yield Bench(setting, pf, guest)


def test_info_through_the_kernel(bench: Bench) -> None:
    result = bench.iavfio(f"info {BDF} --json {bench.word}")
    assert result.status == 0, result.output
    assert f'"{bench.setting.transport}"' in result.output
    assert BDF in result.output


@pytest.mark.parametrize("words", ["--size 64", "--size 1500 --queues 2", "--size 9000"])
def test_every_packet_comes_back(bench: Bench, words: str) -> None:
    before = bench.pf.counters()
    found = bench.measure(f"--duration 1 --verify {words}")
    after = bench.pf.counters()
    assert found["sound"] is True
    assert found["lost"] == 0
    assert found["sent"] == found["received"] > 100
    assert [found["verify"][key] for key in ("lost", "duplicated", "reordered", "corrupted")] == (
        [0, 0, 0, 0]
    )
    assert after["tx_unicast"] - before["tx_unicast"] == found["sent"] + PROBES
    assert after["rx_unicast"] - before["rx_unicast"] == found["received"] + PROBES


# docs/spec/reliability.md F61, P1
def test_an_ordinary_user_within_memlock(bench: Bench) -> None:
    """He owns the nodes: it works with enough memlock, and else says what is missing."""
    if bench.setting.transport == "noiommu":
        pytest.skip("nothing is pinned without an IOMMU, and an ordinary user may not")
    nodes = "/dev/vfio/[0-9]*"
    if bench.setting.transport == "cdev":
        nodes = "/dev/iommu /dev/vfio/devices/*"
    user = "setpriv --reuid=1000 --regid=1000 --clear-groups --inh-caps=-all"
    command = f"python3 -m iavfio.cli bench {BDF} --json --duration 1"
    bench.guest.check(f"chown 1000 {nodes}")
    enough = bench.guest.run(f"{CLI}prlimit --memlock=268435456 {user} {command}", 90)
    short = bench.guest.run(f"{CLI}prlimit --memlock=65536 {user} {command}", 90)
    assert enough.status == 0, enough.output
    assert json.loads(enough.output)["lost"] == 0
    assert short.status != 0
    assert "RLIMIT_MEMLOCK" in short.output
    assert "Traceback" not in short.output


def test_without_an_iommu_it_takes_a_word_and_two_capabilities(bench: Bench) -> None:
    if bench.setting.transport != "noiommu":
        pytest.skip("this way has an IOMMU")
    plain = bench.iavfio(f"bench {BDF} --duration 1")
    assert plain.status != 0
    assert "use --unsafe-noiommu" in plain.output
    assert "Traceback" not in plain.output
    for missing in ("sys_rawio", "sys_admin"):
        drop = f"setpriv --bounding-set=-{missing} --inh-caps=-{missing}"
        command = f"{CLI}{drop} python3 -m iavfio.cli info {BDF} --unsafe-noiommu"
        refused = bench.guest.run(command, 90)
        assert refused.status != 0
        assert f"CAP_{missing.upper()}" in refused.output
        assert "Traceback" not in refused.output


def test_a_pool_that_is_too_large_says_what_to_reserve(bench: Bench) -> None:
    if bench.setting.transport != "noiommu":
        pytest.skip("this way has an IOMMU")
    result = bench.iavfio(f"bench {BDF} --unsafe-noiommu --pool 200000")
    assert result.status != 0
    assert "hugepages=" in result.output
    assert "Traceback" not in result.output


def test_the_software_vf_has_no_complaint(bench: Bench) -> None:
    assert bench.pf.violations() == []
    assert bench.guest.qemu_log() == ""
    text = bench.guest.check("dmesg")
    for word in ("DMAR: [DMA", "fault addr", "WARNING:", "BUG:", "Oops"):
        assert word not in text
