# SPDX-License-Identifier: BSD-3-Clause
"""Is the host ready for the VFs? Every failure names what mends it."""

from __future__ import annotations

import os
import resource

from iavfio.host import Tree, read, resolve


def test_the_vfs_are_adaptive_and_bound(bdfs: list[str]) -> None:
    for bdf in bdfs:
        function = read(Tree(), resolve(Tree(), bdf))
        assert function.is_adaptive_vf, f"{bdf} is {function.name}, which iavfio does not drive"
        assert function.uses_vfio, f"run: sudo iavfio bind {bdf}"


def test_their_groups_are_viable_and_may_be_opened(bdfs: list[str]) -> None:
    for bdf in bdfs:
        function = read(Tree(), resolve(Tree(), bdf))
        assert function.group is not None, "no IOMMU: boot with intel_iommu=on"
        assert not function.group.holders, f"bind these too: {function.group.holders}"
        assert function.nodes, f"no VFIO node for {bdf}: run sudo iavfio bind {bdf}"
        allowed = [node for node in function.nodes if os.access(node, os.R_OK | os.W_OK)]
        assert allowed, f"run: sudo chown $USER {' '.join(function.nodes)}"


def test_enough_memory_may_be_locked(bdfs: list[str]) -> None:
    allowed, _ = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    wanted = 64 << 20
    enough = allowed == resource.RLIM_INFINITY or allowed >= wanted or os.geteuid() == 0
    assert enough, f"{allowed} bytes may be locked: run ulimit -l {wanted // 1024}"
