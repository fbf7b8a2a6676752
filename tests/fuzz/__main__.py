# SPDX-License-Identifier: BSD-3-Clause
"""`make fuzz`: all targets in turn, each in processes of its own; exit status 1 when one finds.

    python -m tests.fuzz [--seconds 600] [--build build-fuzz] [--only NAME] [--list]

The time is shared out evenly. Findings stay in BUILD/crash-TARGET-...: copy one to
tests/data/fuzz/TARGET/ and every test run takes it from then on.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.fuzz.target import CORPUS
from tests.fuzz.targets import TARGETS

ROOT = Path(__file__).parents[2]
HARNESSES = {"rx_tx": "driver_fuzz", "decode": "preload_fuzz"}  # target -> program of tests/c
CLIENT = "client"  # vfio-user clients of a software PF in a process: tests/hostile/test_fuzz.py
SLACK = 120  # seconds that a target may take longer than its share
EXECUTIONS = re.compile(r"(?:stat::number_of_executed_units:|^executions) *(\d+)", re.MULTILINE)
EDGES = re.compile(r"(?:cov:|, edges) (\d+)")


def names() -> list[str]:
    return [*TARGETS, *HARNESSES, CLIENT]


def command(name: str, seconds: float, build: Path) -> list[str]:
    if name in HARNESSES:
        kept = CORPUS / name
        program = str(build / "c" / "tests" / "c" / HARNESSES[name])
        return [program, str(seconds), str(build / f"crash-{name}"), str(kept)]
    if name == CLIENT:
        flags = ["-n", "0", "-q", "-p", "no:cacheprovider", "--timeout", "0"]
        return [sys.executable, "-m", "pytest", *flags, "tests/hostile/test_fuzz.py"]
    return [sys.executable, "-m", "tests.fuzz.one", name, str(seconds), str(build)]


def fuzz(name: str, seconds: float, build: Path) -> bool:
    """Whether the target found nothing; prints one line, and what it said where it found."""
    begin, executions, edges = time.monotonic(), 0, ""
    while True:
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
            status, text = done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            status, text = -1, f"{late}"
        executions += int((EXECUTIONS.findall(text) or [100 if name == CLIENT else 0])[-1])
        edges = (EDGES.findall(text) or [edges])[-1]
        over = time.monotonic() - begin
        if status or name != CLIENT or over >= seconds:
            break
    result = "nothing found" if status == 0 else f"FOUND, status {status}"
    told = f"{edges} edges" if edges else ""
    print(f"{name:12} {over:6.0f} s {executions:10} executions {told:12} {result}", flush=True)
    if status:
        print("\n".join(text.splitlines()[-60:]), flush=True)
    return status == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together")
    parser.add_argument("--build", type=Path, default=ROOT / "build-fuzz")
    parser.add_argument("--only", action="append", choices=names(), help="may be repeated")
    parser.add_argument("--list", action="store_true", help="say what each target feeds")
    args = parser.parse_args()
    if args.list:
        for target in TARGETS.values():
            print(f"{target.name:12} {target.fed}\n{'':12} finds: {target.finding}")
        return 0
    args.build.mkdir(exist_ok=True)
    chosen = [name for name in names() if not args.only or name in args.only]
    share, build = args.seconds / len(chosen), args.build.resolve()
    with tempfile.TemporaryDirectory(prefix="iavfio-fuzz-", dir="/dev/shm") as temporary:
        os.environ["TMPDIR"] = temporary  # libFuzzer ends processes without cleaning up
        good = [fuzz(name, share, build) for name in chosen]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
