# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's net_iavf in a guest, over the kernel's VFIO and an emulated IOMMU, on the software VF.

The uplink is a loopback and testpmd's peer is its own address, so each frame that it sends comes
back through wire and switch.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import struct
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.guest.inside.testpmd import PROMPT
from tests.guest.machine import Guest, Iommu, KernelName
from tests.guest.softvf import TAP, SoftVf
from tests.guest.wire import Capture

SCRIPT = Path(__file__).parent / "inside" / "testpmd.py"
BDF, MAC = "0000:01:00.0", "02:00:00:00:00:01"
LAX = "vfio_iommu_type1.allow_unsafe_interrupts=1"
EAL = f"-l 0,1 -a {BDF} --in-memory --no-telemetry --iova-mode=va"
PMD = f"-i --no-mlockall --total-num-mbufs=16384 --eth-peer=0,{MAC}"
FAULTS = re.compile(r"error|fail|cannot|timeout", re.IGNORECASE)
# Counters by that name, and what testpmd's libraries say of any machine of this kind.
EXPECTED = re.compile(r"^\w+: \d+$|^  [RT]X-|Bad-|No available|hugepage")
# DPDK's extended statistics and the VSI's counters (docs/spec/field-evidence.md 6).
COUNTERS = {
    "rx_bytes": "rx_bytes",
    "rx_unicast_packets": "rx_unicast",
    "rx_multicast_packets": "rx_multicast",
    "rx_broadcast_packets": "rx_broadcast",
    "rx_dropped_packets": "rx_discards",
    "rx_unknown_protocol_packets": "rx_unknown_protocol",
    "tx_bytes": "tx_bytes",
    "tx_unicast_packets": "tx_unicast",
    "tx_multicast_packets": "tx_multicast",
    "tx_broadcast_packets": "tx_broadcast",
    "tx_dropped_packets": "tx_discards",
    "tx_error_packets": "tx_errors",
}
Command = str | float


@dataclass(frozen=True)
class Setting:
    """An IOMMU and a card."""

    iommu: Iommu
    personality: str
    kernel: KernelName = "newest"

    def __str__(self) -> str:
        return f"{self.kernel}-{self.iommu}-{self.personality}"


SETTINGS = [
    pytest.param(Setting("intel", "e810")),
    pytest.param(Setting("virtio", "x710")),
    pytest.param(Setting("intel", "x710", "older"), marks=pytest.mark.full),
    pytest.param(Setting("virtio", "e810"), marks=pytest.mark.full),
    pytest.param(Setting("intel", "x722"), marks=pytest.mark.full),
]


@dataclass(frozen=True)
class Run:
    """What one run of testpmd came to."""

    said: list[tuple[str, str]]
    status: int
    delta: dict[str, int]

    @property
    def text(self) -> str:
        """All that it wrote, without prompts: one may come in the middle of a line of an lcore."""
        return "".join(text for _, text in self.said).replace(PROMPT.decode(), "")

    def after(self, command: str) -> list[str]:
        """What it said to a command, each time."""
        return [text for name, text in self.said if name == command]

    @property
    def xstats(self) -> dict[str, int]:
        """The last `show port xstats 0`."""
        found = re.findall(r"^(\w+): (\d+)$", self.after("show port xstats 0")[-1], re.M)
        return {name: int(value) for name, value in found}

    def forwarded(self) -> list[tuple[int, int]]:
        """RX-packets and TX-packets of port 0, of each `stop`."""
        found = []
        for text in self.after("stop"):
            last = text.rpartition("Forward statistics for port 0")[2]
            words = {k: int(v) for k, v in re.findall(r"([RT]X-packets): (\d+)", last)[:2]}
            found.append((words["RX-packets"], words["TX-packets"]))
        return found


@dataclass
class Dpdk:
    """A guest with one VF bound to vfio-pci."""

    setting: Setting
    pf: SoftVf
    guest: Guest

    def resets(self) -> int:
        """How often the VF was reset so far."""
        (vf,) = self.pf.control("info")["vfs"]
        return int(vf["resets"])

    def run(
        self,
        commands: Sequence[Command],
        options: str = "",
        eal: str = "",
        sound: bool = True,
        timeout: float = 240,
    ) -> Run:
        """testpmd with these commands. It must end well and its counters must be the VF's."""
        before = self.pf.counters()
        words = f"{EAL} {eal} -- {PMD} {options}"
        inside = ["15", shlex.quote(words), shlex.quote(json.dumps(list(commands)))]
        facts = self.guest.python(SCRIPT, *inside, timeout=timeout)
        after = self.pf.counters()
        said = [(str(f["command"]), str(f["text"])) for f in facts if f["fact"] == "command"]
        status = facts[-1].get("status", -1)
        assert isinstance(status, int)
        run = Run(said, status, {name: after[name] - before[name] for name in after})
        assert run.status == 0, run.text
        lines = [x for x in run.text.splitlines() if FAULTS.search(x) and not EXPECTED.search(x)]
        assert lines == [], run.text
        if sound:
            told = {name: run.xstats[theirs] for theirs, name in COUNTERS.items()}
            assert told == run.delta, run.text
        return run


BIND = f"""
modprobe vfio-pci; mkdir -p /dev/hugepages; mount -t hugetlbfs hugetlbfs /dev/hugepages
cd /sys/bus/pci/devices/{BDF}; test -e driver && echo {BDF} > driver/unbind
echo vfio-pci > driver_override; echo {BDF} > /sys/bus/pci/drivers_probe
test $(basename $(readlink driver)) = vfio-pci
"""


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def dpdk(request: pytest.FixtureRequest, lab: None) -> Iterator[Dpdk]:
    """One software PF and one guest for all tests of a setting."""
    setting = request.param
    assert isinstance(setting, Setting)
    words = ("--personality", setting.personality, "--option", "trusted=on")
    append = "hugepages=256 " + (LAX if setting.iommu == "virtio" else "")
    with SoftVf(*words, "--uplink", "loopback") as pf:
        pf.control("mac", vf=0, mac=MAC)
        with Guest(
            kernel=setting.kernel,
            iommu=setting.iommu,
            sockets=pf.sockets,
            append=append,
            memory=1536,
        ) as guest:
            guest.check(BIND)
            pf.control("log", clear=True)  # what a kernel driver did at boot is not DPDK's
            yield Dpdk(setting, pf, guest)


LOOP: tuple[Command, ...] = ("start tx_first 2", 0.4, "stop", 0.1)
SHOW = "show port xstats 0"
FOUR = "--rxq=4 --txq=4 --rss-ip"


def test_forwarding_modes(dpdk: Dpdk) -> None:
    """io, mac and csum send each frame on; rxonly keeps what came, txonly sends and never looks."""
    commands: list[Command] = []
    for mode in ("io", "mac", "csum"):
        commands += [f"set fwd {mode}", *LOOP]
    commands += ["set fwd rxonly", *LOOP, "set fwd txonly", "start", 0.3, "stop", 0.1]
    run = dpdk.run([*commands, SHOW])
    io, mac, csum, rxonly, txonly = run.forwarded()
    for received, sent in (io, mac, csum):
        assert received >= 64
        assert sent >= received
    assert rxonly == (64, 64) or rxonly[0] == 64
    assert txonly[1] > 64
    assert "IP_CKSUM_BAD" not in run.text
    # Whatever went out came back, was taken or was counted as lost.
    assert run.delta["rx_unicast"] + run.delta["rx_discards"] >= run.delta["tx_unicast"]


def test_four_queues_and_rss(dpdk: Dpdk) -> None:
    """Flows of many addresses spread over four queues; every queue sends as well.

    flowgen's source address is not the VF's: with the spoof check nothing of it leaves the VF.
    """
    commands: list[Command] = ["set fwd flowgen", "start", 0.6, "stop", 0.1, SHOW]
    assert dpdk.pf.violations() == []
    dpdk.pf.control("spoofchk", vf=0, on=False)
    run = dpdk.run(commands, FOUR)
    text = run.after("stop")[0]
    stream = r"Queue= ?(\d) ->.*\n\s+RX-packets: (\d+)\s+TX-packets: (\d+)"
    streams = [tuple(map(int, found)) for found in re.findall(stream, text)]
    assert [queue for queue, received, sent in streams if received and sent] == [0, 1, 2, 3], text
    dpdk.pf.control("spoofchk", vf=0, on=True)
    run = dpdk.run(commands, FOUR)
    assert run.delta["tx_errors"] > 0
    assert run.delta["tx_unicast"] == run.delta["rx_unicast"] == 0
    told = dpdk.pf.violations()
    assert told
    assert all("dropped by the spoof check" in text for text in told)
    dpdk.pf.control("log", clear=True)


@pytest.mark.parametrize("bits", [64, 256, pytest.param(512, marks=pytest.mark.full)])
def test_scalar_and_vector_paths(dpdk: Dpdk, bits: int) -> None:
    run = dpdk.run([*LOOP, SHOW], eal=f"--force-max-simd-bitwidth={bits}")
    ((received, sent),) = run.forwarded()
    assert received >= 64
    assert sent >= received


def test_scattered_frames_of_9000_bytes(dpdk: Dpdk) -> None:
    options = "--max-pkt-len=9018 --enable-scatter --tx-offloads=0x8000 --mbuf-size=2176"
    commands = ["set txpkts 2000,2000,2000,2000,1000", "set fwd rxonly", *LOOP, SHOW]
    run = dpdk.run(commands, options)
    assert run.delta["tx_unicast"] == 64
    assert run.delta["tx_bytes"] == 9000 * 64
    assert run.delta["rx_unicast"] == 64


def test_vlan_insert_filter_strip(dpdk: Dpdk) -> None:
    commands: list[Command] = [
        "vlan set strip on 0",
        "vlan set filter on 0",
        "rx_vlan add 100 0",
        "port stop 0",
        "tx_vlan set 0 100",
        "port start 0",
        0.3,
        "set verbose 1",
        "set fwd rxonly",
        "start tx_first 1",
        0.5,
        "stop",
        SHOW,
    ]
    run = dpdk.run(commands)
    assert len(re.findall(r"length=64 .*VLAN tci=0x64", run.text)) == 32
    assert run.text.count("RTE_MBUF_F_RX_VLAN_STRIPPED") == 32
    assert "IP_CKSUM_BAD" not in run.text


@pytest.mark.timeout(1500)
@pytest.mark.parametrize("times", [20, pytest.param(100, marks=pytest.mark.full)])
def test_port_stops_starts_and_resets(dpdk: Dpdk, times: int) -> None:
    """So many times each, with traffic between and after."""
    resets = dpdk.resets()
    again: list[Command] = ["port stop 0", "port start 0", "start tx_first 1", 0.05, "stop"]
    reset: list[Command] = ["port stop 0", "port reset 0", "port start 0"]
    commands = [*again * times, *reset * times, *LOOP]
    run = dpdk.run(commands, sound=False, timeout=max(240, 10 * times))
    assert len(run.forwarded()) == times + 1
    assert all(received >= 32 for received, _ in run.forwarded())
    assert dpdk.resets() >= resets + times


def test_no_complaints(dpdk: Dpdk) -> None:
    assert dpdk.pf.violations() == []
    assert dpdk.guest.qemu_log() == ""
    text = dpdk.guest.check("dmesg")
    for word in ("DMAR: [DMA", "fault addr", "WARNING:", "BUG:", "Oops"):
        assert word not in text


def folded(data: bytes) -> int:
    """The Internet checksum's sum over whole words: 0xFFFF when a checksum inside is right."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


SEND = """
import socket, struct, sys
to, own = bytes.fromhex(sys.argv[1]), bytes.fromhex("0200000000aa")
tcp = struct.pack("!HHIIBBHHH", 1000, 2000, 1, 0, 0x50, 0x18, 8192, 0, 0) + bytes(range(250)) * 24
ip = struct.pack("!BBHHHBBHII", 0x45, 0, 20 + len(tcp), 7, 0, 64, 6, 0, 0xC6336401, 0xC6336402)
line = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
line.bind((sys.argv[2], 0))
line.send(to + own + b"\\x08\\x00" + ip + tcp)
"""


@pytest.mark.parametrize("personality", ["e810", pytest.param("x710", marks=pytest.mark.full)])
def test_checksum_and_segmentation_offload(lab: None, personality: str) -> None:
    """One TCP packet of 6000 bytes, checksums left out, leaves as six segments, all sums right."""
    if os.geteuid() != 0:
        pytest.skip("a TAP in a network namespace needs root")
    options = "--max-pkt-len=9018 --enable-scatter --tx-offloads=0x8000 --mbuf-size=2176"
    words = f"{EAL} -- {PMD} --eth-peer=0,02:00:00:00:00:aa {options}"
    commands = ["port stop 0", "csum set ip hw 0", "csum set tcp hw 0", "tso set 1000 0"]
    commands += ["port start 0", "set fwd csum", "start"]
    with SoftVf("--personality", personality, "--option", "trusted=on", tap=True) as pf:
        pf.control("mac", vf=0, mac=MAC)
        pf.wire("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
        pf.wire("ip", "link", "set", TAP, "mtu", "9000")
        with Guest(iommu="intel", sockets=pf.sockets, append="hugepages=256", memory=1536) as guest:
            guest.check(BIND)
            pf.control("log", clear=True)
            inside = ["15", shlex.quote(words), shlex.quote(json.dumps([*commands, 2.0, "stop"]))]
            with Capture(pf, snap=2048) as capture:
                script = f"/repo/tests/guest/inside/{SCRIPT.name}"
                number = guest.start(f"PYTHONPATH=/repo python3 {script} {' '.join(inside)}", 120)
                deadline = time.monotonic() + 90
                while '"command": "start"' not in guest.output(number):
                    assert time.monotonic() < deadline, guest.output(number)
                    time.sleep(0.2)
                pf.wire(sys.executable, "-c", SEND, MAC.replace(":", ""), TAP)
                said = guest.wait(number, 120)
        assert pf.violations() == []
    assert said.status == 0
    frames = capture.kept(bytes.fromhex(MAC.replace(":", "")))
    assert [len(frame) for frame in frames] == [14 + 20 + 20 + 1000] * 6, said.output
    for index, frame in enumerate(frames):
        ip, tcp = frame[14:34], frame[34:]
        assert folded(ip) == 0xFFFF
        assert folded(ip[12:20] + struct.pack("!HH", 6, len(tcp)) + tcp) == 0xFFFF
        assert struct.unpack_from("!I", tcp, 4)[0] == 1 + 1000 * index
        assert tcp[20:] == bytes(range(250)) * 4
