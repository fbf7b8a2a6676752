# SPDX-License-Identifier: BSD-3-Clause
"""Whether a library can be preloaded into a program at all."""

from __future__ import annotations

import os
import shutil
import stat
import struct
from pathlib import Path
from typing import BinaryIO

from iavfio.errors import ConfigError

ELF_MACHINES = {3: "i386", 40: "arm", 62: "x86_64", 183: "aarch64"}
PT_INTERP = 3
SHEBANG_LIMIT = 256
SCRIPT_DEPTH = 4


def find(name: str) -> str:
    """The path of a program, as a shell finds it. Raises ConfigError when there is none."""
    found = shutil.which(name)
    if found is not None:
        return found
    path = Path(name)
    if "/" in name and path.exists():
        raise ConfigError(
            f"{name} cannot be run",
            "it is a directory" if path.is_dir() else "it is not executable",
            "" if path.is_dir() else f"chmod +x {name}",
        )
    hint = "DPDK's testpmd: apt-get install dpdk-dev" if "testpmd" in name else ""
    raise ConfigError(f"there is no program {name}", "" if hint else "it is not in PATH", hint)


def check(path: str, depth: int = 0) -> None:
    """Raises ConfigError when the loader would leave a preloaded library out of this program."""
    if depth > SCRIPT_DEPTH:
        raise ConfigError(f"{path} is a script of a script of a script")
    mode = Path(path).stat().st_mode
    raised = (mode & stat.S_ISUID and Path(path).stat().st_uid != os.geteuid()) or (
        mode & stat.S_ISGID and Path(path).stat().st_gid != os.getegid()
    )
    if raised or (_has_capabilities(path) and os.geteuid() != 0):
        raise ConfigError(
            f"{path} runs with the privileges of another",
            "the loader preloads nothing into setuid, setgid and capability programs",
            f"copy it, which drops them: cp {path} .",
        )
    try:
        with Path(path).open("rb") as file:
            head = file.read(SHEBANG_LIMIT)
            if head.startswith(b"#!"):
                interpreter = head[2:].split(b"\n", 1)[0].split()
                if interpreter:
                    check(os.fsdecode(interpreter[0]), depth + 1)
                return
            if not head.startswith(b"\x7fELF"):
                return  # the kernel will say what it thinks of it
            _check_elf(path, head, file)
    except PermissionError:
        return  # executable without being readable: it may still do


def _check_elf(path: str, head: bytes, file: BinaryIO) -> None:
    ours = os.uname().machine
    (machine,) = struct.unpack_from("<H", head, 18)
    if head[4] != 2 or ELF_MACHINES.get(machine, ours) != ours:
        raise ConfigError(
            f"{path} is built for {ELF_MACHINES.get(machine, 'another machine')}",
            f"the preloaded library is for {ours}",
            f"use a program for {ours}",
        )
    (table,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    file.seek(table)
    headers = file.read(size * count)
    kinds = [struct.unpack_from("<I", headers, at)[0] for at in range(0, len(headers), size)]
    if PT_INTERP not in kinds:
        raise ConfigError(
            f"{path} is linked statically",
            "nothing can be preloaded into it",
            "use a dynamically linked build",
        )


def _has_capabilities(path: str) -> bool:
    try:
        return bool(os.getxattr(path, "security.capability"))
    except OSError:
        return False
