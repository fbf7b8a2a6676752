# SPDX-License-Identifier: BSD-3-Clause
"""Tries an installed wheel from another directory: `python check.py iavfio-*.whl`.

It runs in a venv with nothing but the wheel and its dependencies, so no pytest here.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

EXTENSIONS = {"iavfio/_driver", "iavfio/pyvfio/_vfio", "iavfio/softvf/_device"}
LIBRARY = "iavfio/libiavfio_preload"  # what `iavfio preload` puts in front of libc
OTHERS = {"iavfio/py.typed", "iavfio/__init__.py", "iavfio/cli/list.py", "iavfio/host/binding.py"}


def check_content(wheel: Path) -> None:
    """The package, whole, and nothing else."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = OTHERS - set(names)
    assert not missing, f"the wheel lacks {missing}"
    built = [name for name in names if name.endswith(".so")]
    assert {name.split(".")[0] for name in built} == EXTENSIONS | {LIBRARY}, built
    assert len(built) == len(EXTENSIONS) + 1, f"an extension is there twice: {built}"
    strange = [
        name
        for name in names
        if not name.startswith(("iavfio/", "iavfio-")) or "__pycache__" in name or "/." in name
    ]
    assert not strange, f"the wheel holds {strange}"
    assert "-abi3-" in wheel.name, wheel.name


def check_import() -> None:
    """The installed package, with its extensions."""
    import iavfio
    import iavfio.pyvfio
    import iavfio.softvf
    from iavfio._driver import ffi as driver
    from iavfio.softvf._device import ffi as device

    where = Path(iavfio.__file__).resolve()
    assert where.is_relative_to(Path(sys.prefix).resolve()), f"{where} is not the installed one"
    size = driver.sizeof("struct vc_vf_resource")
    assert size == device.sizeof("struct vc_vf_resource") > 0


def check_instruction_sets() -> None:
    """The driver uses what the CPU has, whatever compiler made it."""
    from iavfio.datapath.isa import usable

    flags = set(Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").split())
    assert ("avx2" in usable()) == (flags >= {"avx2", "bmi1", "bmi2", "abm"}), usable()
    assert ("neon" in usable()) == (platform.machine() == "aarch64"), usable()


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = str(Path(sys.executable).with_name("iavfio"))
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def check_program() -> None:
    """The console script: help, a result, an error."""
    shown = run("--help")
    assert shown.returncode == 0 and "list" in shown.stdout, shown
    assert isinstance(json.loads(run("list", "--json").stdout), list)
    wrong = run("bind", "no-such-thing")
    assert wrong.returncode == 2, wrong
    assert "iavfio list" in wrong.stderr and "Traceback" not in wrong.stderr, wrong


if __name__ == "__main__":
    check_content(Path(sys.argv[1]))
    check_import()
    check_instruction_sets()
    check_program()
    print(f"{sys.argv[1]}: content, imports and program are good")
