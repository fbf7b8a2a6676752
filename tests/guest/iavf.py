# SPDX-License-Identifier: BSD-3-Clause
"""Linux iavf in a guest on two VFs of one PF, a TAP as uplink: what tests ask of both ends.

The VFs sit in two network namespaces of one guest, so traffic between them crosses the PF's switch,
and traffic to the TAP crosses its uplink.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest

from tests.guest.machine import Guest, Iommu, KernelName
from tests.guest.softvf import TAP, SoftVf

HOST, FIRST, SECOND = "198.51.100.1", "198.51.100.2", "198.51.100.3"
# What a kernel says of any machine without KVM, and what it says of a reset that a test asked for.
HARMLESS = re.compile(
    r"mtrr:|ACPI: IRQ|tsc: Unable|APIC calibration|amd_pstate|Hardware reset detected|"
    r"Reset indication received|Scheduling reset task|resetting|reset done|clocksource|"
    r"workqueue: .*hogged CPU|perf: interrupt took|hrtimer: interrupt took|hpet: Lost"
)


@dataclass(frozen=True)
class Setting:
    """A kernel on a card."""

    kernel: KernelName
    personality: str
    doorbells: str
    iommu: Iommu = "none"
    reloads: int = 20  # how often the driver comes and goes
    pf: str = ""  # Linux's own driver instead of the software PF

    def __str__(self) -> str:
        return f"{self.kernel}-{self.personality}-{self.doorbells}-{self.iommu}"


@dataclass
class Judge:
    """A guest whose two iavf interfaces, vf0 and vf1 (in namespace b), are up."""

    setting: Setting
    pf: SoftVf
    guest: Guest
    probed: str

    def ping(self, address: str, more: str = "", where: str = "") -> None:
        """Three pings without loss."""
        out = self.guest.check(f"{where} ping -c 3 -i 0.2 -W 2 {more} {address}")
        assert "3 received" in out

    def until(self, true: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Waits for something that takes a moment."""
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, f"{what} did not come in {seconds:.0f} s"
            time.sleep(0.3)

    def answered(self) -> None:
        """Waits until the host answers after a reset.

        iavf takes the PF's address back without telling anybody: a neighbour that answered a moment
        ago would be sent to from the old one, which is spoofing.
        """
        self.guest.check("ip neigh flush dev vf0")
        self.until(lambda: self.guest.run(f"ping -c 1 -W 1 {HOST}").status == 0, "an answer")

    def up(self, name: str = "vf0") -> bool:
        """Whether the interface has its link."""
        return "LOWER_UP" in self.guest.check(f"ip link show {name}")

    def traffic(self) -> dict[str, int]:
        """The driver's own counters of vf0, summed over its queues, as the card counts them.

        The card's rx_bytes include the frame check sequence, its tx_bytes do not
        (docs/spec/field-evidence.md 10).
        """
        sums: dict[str, int] = {}
        for line in self.guest.check("ethtool -S vf0").splitlines():
            found = re.match(r"\s*([rt]x)-\d+\.(packets|bytes): (\d+)", line)
            if found:
                key = f"{found[1]}_{found[2]}"
                sums[key] = sums.get(key, 0) + int(found[3])
        sums["rx_bytes"] += 4 * sums["rx_packets"]
        return sums

    def vsi(self) -> dict[str, int]:
        """The same, as the software VF counted."""
        counters = self.pf.counters(0)
        sums = {f"{way}_bytes": counters[f"{way}_bytes"] for way in ("rx", "tx")}
        for way in ("rx", "tx"):
            kinds = ("unicast", "multicast", "broadcast")
            sums[f"{way}_packets"] = sum(counters[f"{way}_{kind}"] for kind in kinds)
        return sums

    def told(self, counter: str) -> int:
        """A counter of the PF as `ethtool -S vf0` prints it."""
        found = re.search(rf" {counter}: (\d+)\n", self.guest.check("ethtool -S vf0"))
        assert found is not None
        return int(found[1])

    def granted(self) -> int:
        """Capability word that the PF gave vf0."""
        return int(self.pf.control("stats", vf=0)["pf"]["caps"])

    def mac(self) -> bytes:
        """Address of vf0."""
        (link,) = json.loads(self.guest.check("ip -j link show vf0"))
        return bytes.fromhex(link["address"].replace(":", ""))

    def no_complaints(self) -> None:
        """Neither the guest's kernel nor the software VF holds anything against the other."""
        text = self.guest.check("dmesg --level warn,err,crit,alert,emerg")
        assert [line for line in text.splitlines() if not HARMLESS.search(line)] == []
        assert self.guest.qemu_log() == ""
        assert self.pf.violations() == []


SET_UP = f"""
set -e
sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv6.conf.default.disable_ipv6=1
modprobe iavf
for i in 0 1; do
  net=/sys/bus/pci/devices/0000:0$((i+1)):00.0/net
  for t in $(seq 50); do test -d $net && break; sleep 0.1; done
  ip link set "$(ls $net)" name vf$i
done
ip netns add b
ip link set vf1 netns b
ip addr add {FIRST}/24 dev vf0
ip -n b addr add {SECOND}/24 dev vf1
ip link set vf0 up
ip -n b link set vf1 up
"""


@contextmanager
def bring_up(setting: Setting) -> Iterator[Judge]:
    """A PF and a guest whose interfaces have their link. Skips the test without root."""
    if os.geteuid() != 0:
        pytest.skip("a TAP in a network namespace needs root")
    words = ["--personality", setting.personality, "--doorbells", setting.doorbells]
    words += ["--pf", setting.pf] if setting.pf else []
    with SoftVf(*words, vfs=2, tap=True) as pf:
        pf.wire("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        pf.wire("ip", "addr", "add", f"{HOST}/24", "dev", TAP)
        with Guest(kernel=setting.kernel, iommu=setting.iommu, sockets=pf.sockets) as guest:
            guest.check(SET_UP)
            made = Judge(setting, pf, guest, guest.check("dmesg | grep iavf"))
            made.until(made.up, "the link")
            yield made
