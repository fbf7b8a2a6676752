# SPDX-License-Identifier: BSD-3-Clause
"""iavfio list, bind, unbind and info on a VF of a real driver: PF VF DRIVER."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from iavfio import pyvfio
from tests.guest.inside.facts import PCI, collect


def iavfio(*words: str) -> dict[str, Any]:
    """The CLI as a user runs it."""
    command = [sys.executable, "-m", "iavfio.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    return {"status": done.returncode, "out": done.stdout, "err": done.stderr}


class Vf:
    """The VF under test and what sysfs says of it."""

    def __init__(self, pf: str, vf: str, driver: str) -> None:
        self.pf, self.bdf, self.driver = pf, vf, driver
        self.device = PCI / "devices" / vf

    def state(self) -> dict[str, Any]:
        """Driver, override and interfaces."""
        link = self.device / "driver"
        return {
            "driver": link.resolve().name if link.exists() else "",
            "override": (self.device / "driver_override").read_text().strip(),
            "interfaces": [path.name for path in self.device.glob("net/*")],
        }

    def give_to_kernel(self) -> dict[str, Any]:
        """The VF as a host has it: a kernel driver, an interface with an address."""
        (PCI / "devices" / self.pf / "sriov_drivers_autoprobe").write_text("1")
        (PCI / "drivers" / self.driver / "bind").write_text(self.bdf)
        (name,) = self.state()["interfaces"]
        address = f"ip addr add 192.0.2.1/24 dev {name} && ip link set {name} up"
        subprocess.run(["sh", "-c", address], check=True, timeout=30)
        return self.state()

    def listing(self) -> dict[str, Any]:
        """`iavfio list --json` of PF and VF."""
        result = iavfio("list", "--json")
        devices = {entry["bdf"]: entry for entry in json.loads(result["out"])}
        pf, vf = devices[self.pf], devices[self.bdf]
        return {
            "pf": [pf["kind"], pf["driver"], self.bdf in pf["vfs"], pf["max_vfs"]],
            "vf": [vf["kind"], vf["driver"], vf["pf"], vf["vf"], vf["supported"], vf["active"]],
        }

    def bind(self) -> dict[str, Any]:
        """Refused while its interface is in use; done with --force."""
        refused = iavfio("bind", self.bdf)
        kept = self.state()
        dry = iavfio("bind", "--force", "--dry-run", self.bdf)
        still = self.state()
        forced = iavfio("bind", "--force", self.bdf)
        return {
            "refused": refused,
            "kept": kept,
            "dry": dry,
            "still": still,
            "forced": forced,
            "after": self.state(),
        }

    def info(self) -> dict[str, Any]:
        """`iavfio info` on a VF that is not an iavf one."""
        return iavfio("info", self.bdf)

    def unbind(self) -> dict[str, Any]:
        """Refused while a process has it open; afterwards everything is as before."""
        with pyvfio.open(self.bdf):
            refused = iavfio("unbind", self.bdf)
        done = iavfio("unbind", self.bdf)
        for _ in range(50):  # the kernel driver's interface takes a moment
            if self.state()["interfaces"]:
                break
            time.sleep(0.1)
        return {
            "refused": refused,
            "done": done,
            "after": self.state(),
            "records": [path.read_text() for path in Path("/run/iavfio").glob("*.json")],
        }


if __name__ == "__main__":
    vf = Vf(*sys.argv[1:4])
    collect("host_before", vf.give_to_kernel)
    collect("host_list", vf.listing)
    collect("host_bind", vf.bind)
    collect("host_info", vf.info)
    collect("host_unbind", vf.unbind)
