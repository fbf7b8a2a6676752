# SPDX-License-Identifier: BSD-3-Clause
"""Which instruction sets are used is what the kernel says that this CPU has."""

from __future__ import annotations

import platform
from pathlib import Path

from iavfio.datapath.isa import usable

AVX2 = {"avx2", "bmi1", "bmi2", "abm", "popcnt"}  # abm: LZCNT
AVX512 = AVX2 | {"avx512f", "avx512bw", "avx512dq", "avx512vl"}


def test_usable_sets_are_those_of_the_cpu() -> None:
    flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    expected = {"auto", "scalar"}
    if platform.machine() == "x86_64":
        expected |= {"avx2"} if flags >= AVX2 else set()
        expected |= {"avx512"} if flags >= AVX512 else set()
    elif platform.machine() == "aarch64":
        expected |= {"neon"}
    assert set(usable()) == expected
