# SPDX-License-Identifier: BSD-3-Clause
"""An ordinary user with a memlock limit opens a VF whose nodes are his: MODE BDF."""

from __future__ import annotations

import os
import resource
import select
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

from iavfio import pyvfio
from iavfio.pyvfio.opening import Mode
from tests.guest.inside.facts import bind, caught, collect, device_node, group_node

USER = 1000
MEMLOCK = 1 << 17
CHILD = f"setpriv --reuid={USER} --regid={USER} --clear-groups --inh-caps=-all".split()


def forbidden(mode: Mode, bdf: str) -> dict[str, Any]:
    """The nodes are still root's."""
    return caught(lambda: pyvfio.open(bdf, mode=mode).close())


def allowed(mode: Mode, bdf: str) -> dict[str, Any]:
    """Small memory fits the limit, more of it does not, and the refusal leaves things usable."""
    small = pyvfio.DmaMemory.allocate(MEMLOCK // 2, huge="never")
    large = pyvfio.DmaMemory.allocate(MEMLOCK * 4, huge="never")
    with pyvfio.open(bdf, mode=mode) as device:
        first = device.space.map(small)
        refused = caught(lambda: device.space.map(large))
        device.space.unmap(first, small.size)
        again = device.space.map(small)
        fds = device.enable_msix(1)
        ready, _, _ = select.select(fds, [], [], 0.05)
        return {
            "uid": os.getuid(),
            "memlock": resource.getrlimit(resource.RLIMIT_MEMLOCK)[0],
            "refused": refused,
            "again": again == first,
            "vectors": len(fds),
            "spurious": len(ready),
            "id": f"{device.config.vendor:04x}:{device.config.device:04x}",
        }


def as_user(phase: str, mode: str, bdf: str) -> None:
    """Runs this file again as the ordinary user."""
    command = [*CHILD, "prlimit", f"--memlock={MEMLOCK}", sys.executable, __file__]
    subprocess.run([*command, phase, mode, bdf], check=True, timeout=60, cwd="/tmp")


def main() -> None:
    """Root prepares the nodes; the user opens the device before and after."""
    *phase, mode, bdf = sys.argv[1:]
    if phase:
        check = forbidden if phase == ["forbidden"] else allowed
        collect(phase[0], lambda: check(cast(Mode, mode), bdf))
        return
    bind(bdf, "vfio-pci")
    as_user("forbidden", mode, bdf)
    nodes = [group_node(bdf)]
    if mode == "cdev":
        node = device_node(bdf)
        nodes = [Path("/dev/iommu"), *([node] if node else [])]
    for path in nodes:
        os.chown(path, USER, USER)
    as_user("allowed", mode, bdf)


if __name__ == "__main__":
    main()
