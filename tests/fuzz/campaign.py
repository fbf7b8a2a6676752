# SPDX-License-Identifier: BSD-3-Clause
"""One target for its share of the time, in processes of its own; and what is said of a finding."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path

from tests.fuzz.target import CORPUS
from tests.fuzz.targets import HARNESSES, TARGETS

ROOT = Path(__file__).parents[2]
CLIENT = "client"  # vfio-user clients of a software PF in a process: tests/hostile/test_fuzz.py
SLACK = 900  # seconds over its share after which a process hangs; a busy machine takes less
SHOWN = 256  # bytes of an input that are printed
EXECUTIONS = re.compile(r"(?:stat::number_of_executed_units:|^executions) *(\d+)", re.MULTILINE)
EDGES = re.compile(r"(?:cov:|, edges) (\d+)")


def names() -> list[str]:
    return [*TARGETS, *HARNESSES, CLIENT]


def program(name: str, build: Path) -> Path:
    return build / "c" / "tests" / "c" / HARNESSES[name]


def command(name: str, seconds: float, build: Path) -> list[str]:
    if name in HARNESSES:
        at_work = str(build / f"crash-{name}")
        return [str(program(name, build)), str(seconds), at_work, str(CORPUS / name)]
    if name == CLIENT:
        flags = ["-n", "0", "-q", "-p", "no:cacheprovider", "--timeout", "0"]
        return [sys.executable, "-m", "pytest", *flags, "tests/hostile/test_fuzz.py"]
    return [sys.executable, "-m", "tests.fuzz.one", name, str(seconds), str(build)]


def fuzz(name: str, seconds: float, build: Path) -> bool:
    """Whether the target found nothing; prints one line, and what it said where it found."""
    begin, executions, edges = time.monotonic(), 0, ""
    before = findings(name, build)
    while True:
        status, text = _run(name, seconds, build)
        executions += int((EXECUTIONS.findall(text) or [100 if name == CLIENT else 0])[-1])
        edges = (EDGES.findall(text) or [edges])[-1]
        over = time.monotonic() - begin
        if status or name != CLIENT or over >= seconds:
            break
    result = "nothing found" if status == 0 else f"FOUND, status {status}"
    told = f"{edges} edges" if edges else ""
    lines = [f"{name:12} {over:6.0f} s {executions:10} executions {told:12} {result}"]
    if status:
        lines += text.splitlines()[-60:]
        lines += _how_to_repeat(name, build, findings(name, build) - before)
    print("\n".join(lines), flush=True)
    return status == 0


def _run(name: str, seconds: float, build: Path) -> tuple[int, str]:
    environment = os.environ | {"IAVFIO_FUZZ_EXAMPLES": "50", "PYTHONPATH": str(ROOT)}
    try:
        done = subprocess.run(
            command(name, seconds, build),
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=seconds + SLACK,
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return -1, f"{late}"
    return done.returncode, done.stdout


def findings(name: str, build: Path) -> set[Path]:
    """Inputs of findings of a target; that which a C program left at its death is made one."""
    at_work = build / f"crash-{name}"
    if at_work.exists():
        raw = at_work.read_bytes()  # its size, its bytes, and what was there before (fuzz.h)
        data = raw[4 : 4 + int.from_bytes(raw[:4], sys.byteorder)]
        digest = hashlib.sha256(data).hexdigest()[:16]
        (build / f"crash-{name}-{digest}").write_bytes(data)
        at_work.unlink()
    return set(build.glob(f"crash-{name}-*"))


def _how_to_repeat(name: str, build: Path, inputs: set[Path]) -> list[str]:
    if name == CLIENT:
        words = " ".join(["python", *command(name, 0, build)[1:]])
        return [f"to repeat it: IAVFIO_FUZZ_EXAMPLES=50 {words}"]
    lines = []
    for path in sorted(inputs):
        data = path.read_bytes()
        rest = f" and {len(data) - SHOWN} bytes more" if len(data) > SHOWN else ""
        lines.append(f"input, {len(data)} bytes: {data[:SHOWN].hex()}{rest}")
        lines.append(f"to repeat it: python -m tests.fuzz --repeat {path}")
    return lines


def repeat(path: Path, build: Path) -> int:
    """Feeds one input to its target, which its name or folder tells; the status of a program."""
    found = re.match(r"crash-(\w+?)-", path.name)
    name = found[1] if found else path.resolve().parent.name
    if name in HARNESSES:
        return subprocess.run(
            [program(name, build), "repeat", path], cwd=ROOT, check=False
        ).returncode
    if name not in TARGETS:
        print(f"{path} belongs to no target: {', '.join(names())}", file=sys.stderr)
        return 2
    TARGETS[name].feed(path.read_bytes())
    print("nothing found")
    return 0
