# SPDX-License-Identifier: BSD-3-Clause
"""Records what three drivers say to the same PF, for docs/guides/negotiation.md.

python3 -m tests.guest.journals [DIRECTORY]   writes CARD-DRIVER.jsonl for each card and driver

Each driver opens the VF with two queue pairs, brings it up, sends a little and goes again.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

import iavfio
from tests.guest.machine import Guest
from tests.guest.places import REPO
from tests.guest.softvf import SoftVf

BDF, MAC = "0000:01:00.0", "02:00:00:00:00:01"
CARDS = ("e810", "x710")
WORDS = f"-l 0,1 -a {BDF} --in-memory --no-telemetry --iova-mode=va -- -i --no-mlockall"
TESTPMD = f"{WORDS} --total-num-mbufs=16384 --eth-peer=0,{MAC} --rxq=2 --txq=2"


def linux(pf: SoftVf) -> None:
    """The stock iavf of Debian's newest kernel."""
    with Guest(sockets=pf.sockets) as guest:
        guest.check(
            f"""modprobe iavf
            net=/sys/bus/pci/devices/{BDF}/net
            for t in $(seq 50); do test -d $net && break; sleep 0.1; done
            ip link set $(ls $net) name vf0
            ethtool -L vf0 combined 2; ip link set vf0 up; sleep 3
            ip link set vf0 down; rmmod iavf"""
        )


def dpdk(pf: SoftVf) -> None:
    """net_iavf under testpmd, over the kernel's VFIO."""
    with Guest(iommu="intel", sockets=pf.sockets, append="hugepages=256", memory=1536) as guest:
        guest.check(
            f"""modprobe vfio-pci; mkdir -p /dev/hugepages
            mount -t hugetlbfs hugetlbfs /dev/hugepages
            cd /sys/bus/pci/devices/{BDF}; test -e driver && echo {BDF} > driver/unbind
            echo vfio-pci > driver_override; echo {BDF} > /sys/bus/pci/drivers_probe"""
        )
        pf.control("journal", vf=0, clear=True)  # a kernel driver may have been there before
        commands = ["start tx_first 1", 1.0, "stop", "port stop 0"]
        script = REPO / "tests/guest/inside/testpmd.py"
        guest.python(script, "15", shlex.quote(TESTPMD), shlex.quote(json.dumps(commands)))


def ours(pf: SoftVf) -> None:
    """iavfio itself."""
    with iavfio.open(f"vfio-user:{pf.sockets[0]}") as port:
        port.configure(queues=2)
        port.start()
        port.stop()


DRIVERS: dict[str, Callable[[SoftVf], None]] = {"linux": linux, "dpdk": dpdk, "iavfio": ours}


def record(card: str, drive: Callable[[SoftVf], None]) -> str:
    """JSON lines; times count from the first message."""
    with SoftVf("--personality", card, "--option", "trusted=on") as pf:
        pf.control("mac", vf=0, mac=MAC)
        drive(pf)
        entries = pf.control("journal", vf=0)["entries"]
    sent = next(i for i, entry in enumerate(entries) if entry["direction"] == "out")
    begin = entries[sent]["time"]
    kept = [entry | {"time": round(entry["time"] - begin, 6)} for entry in entries[sent:]]
    return "".join(json.dumps(entry) + "\n" for entry in kept)


def main() -> None:
    """Writes the journals of all drivers on all cards."""
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else REPO / "docs/journals"
    directory.mkdir(parents=True, exist_ok=True)
    for card in CARDS:
        for name, drive in DRIVERS.items():
            path = directory / f"{card}-{name}.jsonl"
            path.write_text(record(card, drive), encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
