# SPDX-License-Identifier: BSD-3-Clause
"""Tests of ports and of queues in a guest: over the kernel's VFIO instead of a socket.

A serial port of the guest leads to the software PF's control socket, so that tests which need its
administrator run as well.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import pytest

from tests.guest.machine import Guest, Iommu, KernelName
from tests.guest.softvf import SoftVf
from tests.port.targets import AS_SERVED

BDFS = "0000:01:00.0,0000:02:00.0"
LAX = "vfio_iommu_type1.allow_unsafe_interrupts=1"
FILES = [
    pytest.param("datapath/test_traffic.py", 20),
    pytest.param("port/test_life.py", 24, marks=pytest.mark.full),
]
INSIDE = f"""
for port in /sys/class/virtio-ports/*; do
  test "$(cat $port/name)" = control && control=/dev/${{port##*/}}
done
export PYTHONPATH=/repo IAVFIO_TEST_TARGETS={BDFS} IAVFIO_TEST_CONTROL=$control
modprobe vfio-pci 2>/dev/null
cd /repo
python3 -m iavfio.cli bind {BDFS.replace(",", " ")} || exit 99
python3 - <<END
from iavfio import pyvfio
for name in "{BDFS}".split(","):
    with pyvfio.open(name) as device:
        print("transport", device.transport)
END
python3 -m pytest -c tests/guest/inside/pytest.ini --rootdir /repo"""


@dataclass(frozen=True)
class Way:
    """A way into VFIO, and the card behind it."""

    kernel: KernelName
    iommu: Iommu
    transport: str
    personality: str
    append: str = ""

    def __str__(self) -> str:
        return f"{self.kernel}-{self.iommu}-{self.transport}-{self.personality}"


WAYS = [
    pytest.param(Way("newest", "intel", "group", "x710")),
    pytest.param(Way("newest", "virtio", "group", "e810", LAX)),
    pytest.param(Way("small", "intel", "cdev", "e810")),
]


@pytest.mark.parametrize(("name", "least"), FILES)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_the_ports_tests_pass_on_real_devices(lab: None, way: Way, name: str, least: int) -> None:
    """At least `least` of them; whatever is skipped is told with its reason."""
    words = ["--personality", way.personality, "--doorbells", "trapped", "--uplink", "loopback"]
    for key, value in AS_SERVED.items():
        words += ["--option", f"{key}={value}"]
    with SoftVf(*words, vfs=2) as pf:
        line = ["-chardev", f"socket,id=pf,path={pf.control_path}"]
        line += ["-device", "virtserialport,bus=vs.0,chardev=pf,name=control"]
        with Guest(
            kernel=way.kernel, iommu=way.iommu, sockets=pf.sockets, append=way.append, extra=line
        ) as guest:
            result = guest.run(f"{INSIDE} tests/{name}", 400)
            print(result.output)
            assert result.status == 0, result.output
            (passed,) = re.findall(r"(\d+) passed", result.output)
            assert int(passed) >= least, result.output
            assert result.output.count(f"transport {way.transport}\n") == 2
            text = guest.check("dmesg")
            for word in ("DMAR: [DMA", "fault addr", "WARNING:", "BUG:", "Oops"):
                assert word not in text
            assert guest.qemu_log() == ""


@pytest.mark.full
def test_a_card_is_qualified_over_the_kernels_vfio(lab: None) -> None:
    """All of `iavfio qualify` as root in a guest, unbinding and binding again included."""
    way = Way("newest", "intel", "group", "e810")
    words = ["--personality", way.personality, "--doorbells", "trapped", "--uplink", "none"]
    setup = INSIDE.split("python3 - <<END", maxsplit=1)[0]
    command = f"iavfio.cli qualify {BDFS.replace(',', ' ')} --soak 5 -o /tmp/q.tar"
    with (
        SoftVf(*words, vfs=2) as pf,
        Guest(kernel=way.kernel, iommu=way.iommu, sockets=pf.sockets) as guest,
    ):
        result = guest.run(f"{setup}\npython3 -m {command}", 400)
        print(result.output)
        assert result.status == 0, result.output
        assert " 0 FAILED, 0 not run" in result.output
