# SPDX-License-Identifier: BSD-3-Clause
"""Wheels for other systems: what needs more than its wheel's name says is refused."""

from __future__ import annotations

import importlib.util
import platform
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from iavfio import _driver as extension
from tests.wheel.foreign import PYTHON

ROOT = Path(__file__).parents[2]
TOOL = ROOT / "tools/manylinux.py"
SPEC = importlib.util.spec_from_file_location("manylinux", TOOL)
assert SPEC is not None and SPEC.loader is not None
manylinux = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(manylinux)

# The lines of readelf that count, of a library that keeps to the tag.
GOOD = """\
  Machine:                           AArch64
  [20] .dynamic          DYNAMIC         0000000000000e00 000e00 0001e0 10  WA  5   0  8
  GNU_STACK      0x000000 0x0000000000000000 0x0000000000000000 0x000000 0x000000 RW  0x10
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [ld-linux-aarch64.so.1]
  0x0010:   Name: GLIBC_2.28  Flags: none  Version: 3
  0x0020:   Name: GLIBC_2.17  Flags: none  Version: 2
"""


def test_a_library_that_keeps_to_its_tag_has_no_faults() -> None:
    assert manylinux.faults(GOOD, "aarch64") == []
    assert manylinux.glibc_of(GOOD) == (2, 28)


@pytest.mark.parametrize(
    ("was", "becomes", "fault"),
    [
        ("GLIBC_2.28", "GLIBC_2.34", "it needs glibc 2.34"),
        ("GLIBC_2.28", "GLIBC_2.28.1", "it needs glibc 2.28.1"),
        ("GLIBC_2.17", "GLIBC_ABI_DT_RELR", "it needs the version GLIBC_ABI_DT_RELR"),
        ("libc.so.6", "libnuma.so.1", "it needs libnuma.so.1, which not every system has"),
        ("AArch64", "Advanced Micro Devices X86-64", "it is not for aarch64"),
        ("RW  0x10", "RWE 0x10", "it wants a stack that can be executed"),
        (".dynamic ", ".symtab ", "it is not stripped"),
        ("(NEEDED) ", "(RUNPATH)", "it looks for libraries in a directory of the builder's"),
        ("(NEEDED) ", "(TEXTREL)", "it has its code changed when it is loaded"),
    ],
)
def test_each_fault_is_told(was: str, becomes: str, fault: str) -> None:
    assert manylinux.faults(GOOD.replace(was, becomes, 1), "aarch64") == [fault]


@pytest.mark.skipif(platform.machine() not in manylinux.MACHINES, reason="no wheel for it")
@pytest.mark.skipif(shutil.which("readelf") is None, reason="readelf is missing")
def test_readelf_of_this_host_is_understood() -> None:
    text = manylinux.described(Path(extension.__file__))
    found = manylinux.faults(text, platform.machine())
    assert manylinux.glibc_of(text) >= (2, 14)  # memcpy's version on x86-64; ARM begins at 2.17
    assert "it is not stripped" in found  # `make build` strips nothing
    assert not [fault for fault in found if "is not for" in fault]


def test_the_index_is_told_the_pythons_that_were_tried() -> None:
    """Those of `make test-wheels`, and the one with which the tests run: the least of all."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    least = project["requires-python"].removeprefix(">=")
    told = {
        word.rpartition(" ")[2]
        for word in project["classifiers"]
        if re.fullmatch(r"Programming Language :: Python :: 3\.\d+", word)
    }
    assert told == {least, *PYTHON.values()}
