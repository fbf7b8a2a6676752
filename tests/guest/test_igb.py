# SPDX-License-Identifier: BSD-3-Clause
"""pyvfio and SR-IOV on devices and kernels that nobody here wrote: QEMU's igb, real VFIO.

One boot for each way into VFIO runs the scripts of inside/; the tests judge the facts they report.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from iavfio.linuxpf.cache import Unavailable
from tests.guest.machine import Guest, Iommu, KernelName

INSIDE = Path(__file__).parent / "inside"
PF, VF0, VF1 = "0000:01:00.0", "0000:01:10.0", "0000:01:10.2"
TWIN0, TWIN1 = "0000:02:00.0", "0000:02:00.1"  # two functions of one IOMMU group
DEVICES = (
    "pcie-root-port,id=rp0,chassis=1",
    "igb,bus=rp0,netdev=n0,mac=52:54:00:00:00:01",
    "pcie-root-port,id=rp1,chassis=2",
    "e1000e,bus=rp1,addr=0.0,multifunction=on,mac=52:54:00:00:00:02",
    "e1000e,bus=rp1,addr=0.1,mac=52:54:00:00:00:03",
)
Facts = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Way:
    """One way into VFIO: a kernel, an IOMMU, a mode of pyvfio."""

    kernel: KernelName
    iommu: Iommu
    mode: str
    append: str = ""

    def __str__(self) -> str:
        return f"{self.kernel}-{self.iommu}-{self.mode}"


HUGE = 2 << 20
UNSAFE = "vfio.enable_unsafe_noiommu_mode=1 hugepages=8"
LAX = "vfio_iommu_type1.allow_unsafe_interrupts=1"
WAYS = [
    pytest.param(Way("newest", "intel", "group")),
    pytest.param(Way("small", "intel", "cdev")),
    pytest.param(Way("small", "none", "noiommu", UNSAFE)),
    pytest.param(Way("older", "intel", "group"), marks=pytest.mark.full),
    pytest.param(Way("small", "intel", "group"), marks=pytest.mark.full),
    pytest.param(Way("newest", "virtio", "group", LAX), marks=pytest.mark.full),
]


@pytest.fixture(scope="module", params=WAYS, ids=str)
def way(request: pytest.FixtureRequest) -> Way:
    """The way under test."""
    chosen = request.param
    assert isinstance(chosen, Way)
    return chosen


@pytest.fixture(scope="module")
def facts(lab: None, way: Way) -> Iterator[Facts]:
    """Everything that one boot found out, by name."""
    try:
        guest = Guest(
            kernel=way.kernel,
            iommu=way.iommu,
            devices=DEVICES,
            extra=["-netdev", "hubport,id=n0,hubid=0"],
            append=way.append,
        )
    except Unavailable as error:
        if os.environ.get("IAVFIO_GUEST_REQUIRED"):
            raise
        pytest.skip(str(error))
    with guest:
        if way.kernel != "small":
            guest.check("modprobe -a igb e1000e vfio-pci")
        found = guest.python(INSIDE / "sriov.py", PF, "2")
        found += guest.python(INSIDE / "vf_admin.py", PF)
        found += guest.python(INSIDE / "vfio_igb.py", way.mode, VF0, VF1, timeout=180)
        if way.mode != "noiommu":
            found += guest.python(INSIDE / "unprivileged.py", way.mode, VF0)
            found += guest.python(INSIDE / "viability.py", way.mode, TWIN0, TWIN1, "e1000e")
        found.append({"fact": "dmesg", "text": guest.check("dmesg")})
    yield {str(fact["fact"]): fact for fact in found}


def take(facts: Facts, name: str) -> dict[str, Any]:
    """One fact. A check that failed inside the guest fails the test with its own words."""
    assert name in facts, f"the guest reported only {sorted(facts)}"
    fact = facts[name]
    assert "failed" not in fact, f"{fact['failed']}\n" + "\n".join(fact["where"])
    return fact


def with_iommu(way: Way) -> None:
    """Skips a test that has no meaning without an IOMMU."""
    if way.mode == "noiommu":
        pytest.skip("without an IOMMU there is nothing to map and no isolation to break")


def test_virtual_functions_appear_through_sysfs(facts: Facts) -> None:
    made = take(facts, "create")
    assert made["total"] == 7
    assert made["vfs"] == [VF0, VF1]
    assert made["ids"] == ["0x10ca", "0x10ca"]
    assert made["pf_of"] == [PF, PF]
    assert made["drivers"] == [False, False]


def test_settings_of_a_vf_through_netlink_read_back(facts: Facts) -> None:
    found = take(facts, "configure")
    first, second = found["vfs"]
    assert first == {"mac": "02:00:00:00:00:07", "vlan": 100, "spoofchk": 0, "trust": 1}
    assert second == {"mac": "00:00:00:00:00:00", "vlan": 0, "spoofchk": 1, "trust": 0}
    assert "vlan 100, spoof checking off, link-state auto, trust on" in found["ip"]


def test_iavfio_vf_sets_reads_back_and_undoes(facts: Facts) -> None:
    found = take(facts, "vf_admin")
    assert found["set"]["status"] == 0, found["set"]["err"]
    assert found["set"]["out"].splitlines() == [
        "VF 1: mac 02:00:00:00:00:08 (was: none)",
        "VF 1: vlan 200 (was: 0)",
        "VF 1: trust on (was: off)",
        "VF 1: spoofchk off (was: on)",
    ]
    before, during, after = found["before"], found["during"], found["after"]
    assert (during[1]["vlan"], during[1]["trust"], during[1]["spoofchk"]) == (200, True, False)
    assert found["undo"]["status"] == 0, found["undo"]["err"]
    assert during[0] == before[0]
    assert after == before


def test_iavfio_vf_names_what_igb_does_not_offer(facts: Facts) -> None:
    found = take(facts, "vf_admin")["refused"]
    assert found["status"] == 1
    assert "setting link" in found["err"]
    assert "EOPNOTSUPP" in found["err"]


def test_device_and_configuration_space(facts: Facts, way: Way) -> None:
    found = take(facts, "identity")
    assert found["transport"] == way.mode
    assert found["resettable"] is True
    assert (found["regions"], found["irqs"]) == (9, 5)
    assert (found["id"], found["class"]) == ("8086:10ca", "020000")
    assert found["config_size"] == 4096
    assert found["msix"] == found["irq_count"] == 3
    # The kernel clears Bus Master at open: whoever forgets to set it gets no DMA (docs/spec/vfio.md
    # 5).
    assert found["bus_master"] == [False, True]


def test_registers_mapped_and_by_system_call(facts: Facts) -> None:
    found = take(facts, "registers")
    assert found["size"] == 0x4000
    assert found["mapped"] is True
    mapped, by_read = found["status"]
    assert mapped == by_read
    assert mapped not in (0, 0xFFFFFFFF)
    assert found["written"] == 0x12345680


def test_reset_reaches_the_device(facts: Facts) -> None:
    found = take(facts, "registers")
    assert found["enabled"] == [True, False], "the ring stayed enabled over the reset"
    assert found["bus_master"] is True, "the kernel restores the command register"
    assert found["lost"] is False


def test_interrupts_from_the_kernel_and_from_the_device(facts: Facts) -> None:
    found = take(facts, "interrupts")
    assert found["count"] == 3
    assert found["loopback"] == [1]
    assert found["by_device"] == [0]
    assert found["masked"] == []
    assert found["too_many"]["error"] == "Unsupported"
    assert "it has 3" in found["too_many"]["text"]


def test_dma_mappings_keep_the_kernels_rules(facts: Facts, way: Way) -> None:
    with_iommu(way)
    found = take(facts, "dma")
    spans = found["ranges"]
    assert any(start <= found["iova"] <= last for start, last in spans)
    assert not any(start <= 0xFEE00000 <= last for start, last in spans)
    assert found["overlap"]["error"] == "DmaError"
    assert found["overlap"]["errno"] == 17  # EEXIST, from the kernel
    assert found["window"]["error"] == found["unaligned"]["error"] == "DmaError"
    assert found["twice"]["error"] == "DmaError"
    assert found["again"] is True


def test_two_devices_share_an_address_space(facts: Facts, way: Way) -> None:
    with_iommu(way)
    found = take(facts, "shared_space")
    assert found["same"] is True
    assert found["kept"] is True, "the mapping went with the first device"
    assert found["later"] is True
    assert found["again"] == VF0


def test_noiommu_needs_an_explicit_word(facts: Facts, way: Way) -> None:
    if way.mode != "noiommu":
        pytest.skip("this way has an IOMMU")
    found = take(facts, "no_address_space")
    assert found["plain"]["error"] == "NoIommu"
    assert found["unspoken"]["error"] == "Unsupported"
    assert "unsafe_noiommu=True" in found["plain"]["text"]
    assert found["map"]["error"] == "DmaError"
    assert found["size"] == 2 * HUGE
    assert found["at"] % HUGE == 0
    assert 0 < found["at"] < 1 << 30, "it is not in the guest's 1 GiB of memory"


def test_a_second_opener_is_told_that_the_vf_is_busy(facts: Facts) -> None:
    found = take(facts, "second_opener")
    assert found["noise"] == ""
    assert found["taken"].strip() == "Busy"
    assert found["free"].strip() == "None"


def test_the_host_takes_a_vf_back(facts: Facts) -> None:
    found = take(facts, "request")
    assert found["event"] is True
    assert found["quiet"] == []
    assert found["heard"] == [0]
    assert found["waiting"] is True, "the unbind did not wait for us: REQ meant nothing"
    assert found["unbind"] == 0
    assert found["gone"]["error"] == "NotBound"
    assert found["back"] == VF1


def test_refusals_name_the_remedy(facts: Facts) -> None:
    found = take(facts, "refusals")
    assert found["unbound"]["error"] == "NotBound"
    assert f"iavfio bind {VF1}" in found["unbound"]["text"]
    assert found["absent"]["error"] == "UnknownDevice"
    assert "iavfio list" in found["absent"]["text"]
    assert found["nonsense"]["error"] == "UnknownDevice"


def test_an_ordinary_user_needs_the_nodes(facts: Facts, way: Way) -> None:
    with_iommu(way)
    found = take(facts, "forbidden")
    assert found["error"] == "PermissionDenied"
    assert "chown 1000 /dev/" in found["text"]


# docs/spec/reliability.md F61, P1
def test_an_ordinary_user_works_within_memlock(facts: Facts, way: Way) -> None:
    with_iommu(way)
    found = take(facts, "allowed")
    assert (found["uid"], found["memlock"]) == (1000, 1 << 17)
    assert found["refused"]["error"] == "MemlockExceeded"
    assert (found["refused"]["needed"], found["refused"]["allowed"]) == (1 << 19, 1 << 17)
    assert "ulimit -l" in found["refused"]["text"]
    assert found["again"] is True
    assert (found["vectors"], found["spurious"]) == (1, 0)
    assert found["id"] == "8086:10ca"


def test_a_group_with_a_kernel_driver_is_not_viable(facts: Facts, way: Way) -> None:
    with_iommu(way)
    found = take(facts, "held")
    assert found["groups"][0] == found["groups"][1]
    assert found["error"] == "GroupNotViable"
    assert found["holders"] == {TWIN1: "e1000e"}
    assert f"iavfio bind {TWIN1}" in found["text"]


def test_a_whole_group_opens_into_one_space(facts: Facts, way: Way) -> None:
    with_iommu(way)
    assert take(facts, "freed")["shared"] is True
    assert take(facts, "unowned")["transport"] == way.mode


def test_the_kernel_had_nothing_to_complain_of(facts: Facts) -> None:
    text = facts["dmesg"]["text"]
    for word in ("DMAR: [DMA", "fault addr", "WARNING:", "BUG:", "Oops"):
        assert word not in text, "\n".join(x for x in text.splitlines() if word in x)
