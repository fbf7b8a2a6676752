# SPDX-License-Identifier: BSD-3-Clause
"""Builds the bench's program: our driver as the build directory has it, and the peer."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

from bench.ring.peer import Peer

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ("ring", "pass", "verify", "device", "memory", "step", "iavfio")
FLAGS = "-std=gnu11 -O3 -g -D_GNU_SOURCE -fno-strict-aliasing -Wall -Wextra -Wshadow".split()


class BuildFailed(Exception):
    """The compiler or the linker refused; the text is its."""


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildFailed(f"{shlex.join(command)}\n{done.stderr.strip()}")


def _compile(name: str, out: Path, flags: list[str]) -> str:
    target = out / f"{name}.o"
    include = [f"-I{ROOT / 'csrc'}", f"-I{ROOT / 'bench' / 'ring'}"]
    source = str(ROOT / "bench" / "ring" / f"{name}.c")
    compiler = os.environ.get("CC", "cc")
    _run([compiler, *FLAGS, *flags, *include, "-c", source, "-o", str(target)])
    return str(target)


def build(room: Path, out: Path, peer: Peer | None) -> Path:
    """The program, linked with the driver's library `room`. Raises BuildFailed."""
    if not room.exists():
        raise BuildFailed(f"{room} is missing: run 'make build'")
    out.mkdir(parents=True, exist_ok=True)
    ours = ["-Wconversion", *(["-DWITH_DPDK"] if peer else [])]
    objects = [_compile(name, out, ours) for name in SOURCES]
    program = out / "ring"
    link = ["-lpthread", "-lm"]
    if peer:
        objects.append(_compile("dpdk", out, list(peer.compile_args)))
        link = list(peer.link_args)
    # Fixed addresses: the instruction mix is told by symbol.
    _run([os.environ.get("CC", "cc"), "-no-pie", "-o", str(program), *objects, str(room), *link])
    return program
