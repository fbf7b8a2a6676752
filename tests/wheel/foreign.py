# SPDX-License-Identifier: BSD-3-Clause
"""Tries the wheels of dist/ on other systems: `python -m tests.wheel.foreign [SYSTEM...]`.

trixie    Debian 13's Python 3.13 on x86-64: pip, check.py, a bench, the counters
sid       the same with Python 3.14 of Debian's unstable distribution
bullseye  Debian 11's glibc 2.31, the oldest at hand: the loader resolves each symbol
arm       Debian 13's Python on 64-bit ARM under qemu-user: imports, NEON, the preload library

Prints what each showed. Exit status 1 when one failed, 77 when none could be had.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from iavfio.linuxpf.cache import LabError, Unavailable
from tests.wheel.trees import System

ROOT = Path(__file__).resolve().parents[2]
TRIXIE = System("trixie", "x86_64", "python3 python3-venv", configured=True)
SID = System("sid", "x86_64", "python3.14 python3.14-venv", configured=True)
BULLSEYE = System("bullseye", "x86_64", "base-files python3 dash coreutils")
ARM = System("trixie", "aarch64", "base-files base-passwd python3 dash coreutils libstdc++6")
PYTHON = {"trixie": "3.13", "sid": "3.14"}
EMULATED = 900.0  # seconds for a step: emulation is 10 to 30 times slower
STEP = 300.0

LOAD = """
import ctypes, os, pathlib
for file in sorted(pathlib.Path("/try/site").rglob("*.so")):
    ctypes.CDLL(str(file), mode=os.RTLD_NOW)
    print("loaded", file.name)
"""
IMPORT = """
import json, platform, sys
import iavfio, iavfio._driver, iavfio.pyvfio._vfio, iavfio.softvf._device
from iavfio.datapath.isa import usable
print(json.dumps([platform.machine(), platform.python_version(), platform.libc_ver()[1], usable()]))
"""
NO_AIO = "no asynchronous I/O, by which interrupts are sent: Function not implemented"
BENCH = ("bench", "softvf", "softvf", "--duration", "0.2", "--verify", "--json")
# Counters beside a bench, in one shell: a namespace of processes ends with its first.
BESIDE = """
iavfio bench softvf softvf --duration 5 --json >/try/bench.json &
for _ in 1 2 3 4 5 6 7 8 9 10; do
  iavfio stats vf0 --json >/try/stats.json 2>/dev/null
  grep -q '"rq0_packets": [1-9]' /try/stats.json && break
  sleep 0.5
done
wait
"""


class Failed(Exception):
    """A step showed something else than it should; the text says what."""


def wheel_for(system: System) -> Path:
    """The wheel of dist/ for a system. Raises Unavailable."""
    found = sorted((ROOT / "dist").glob(f"iavfio-*-manylinux_*_{system.machine}.whl"))
    if not found:
        raise Unavailable(f"no wheel for {system.machine} is in dist/: run 'make wheels'")
    return found[-1]


def step(
    system: System, *command: str, timeout: float = STEP, env: Mapping[str, str] | None = None
) -> str:
    """What a program in the tree prints. Raises Failed unless it ends well."""
    try:
        done = system.run(command, timeout=timeout, env=env)
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{' '.join(command)[:80]}: no end after {timeout:.0f} s") from error
    if done.returncode != 0:
        raise Failed(f"{' '.join(command)[:80]}: status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


def fresh(system: System) -> Path:
    """An empty /try in the tree; returns its path on this host."""
    place = system.tree() / "try"
    if place.exists():
        shutil.rmtree(place)
    place.mkdir()
    return place


def gather(system: System, into: Path) -> None:
    """The wheel and those that it depends on, as pip chooses them for that system."""
    tags = (f"manylinux_2_{minor}_{system.machine}" for minor in range(28, 16, -1))
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"),
            *("--only-binary=:all:", "--python-version", PYTHON[system.suite], "--dest", str(into)),
            *(word for tag in tags for word in ("--platform", tag)),
            *("--platform", f"manylinux2014_{system.machine}", str(wheel_for(system))),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Failed(f"pip does not find wheels for {system.machine}:\n{done.stderr[-2000:]}")


def unpack(wheels: list[Path], into: Path) -> None:
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(into)


def judge_bench(text: str) -> str:
    """A line about a bench's JSON. Raises Failed when it is not sound."""
    result = json.loads(text)
    if not result["sound"] or not result["received"]:
        raise Failed(f"the bench is not sound: {result['reasons']}, {result['received']} received")
    return f"bench: {result['isa']} path, {result['received']} packets received and verified"


def judge_stats(text: str) -> str:
    """A line about `iavfio stats vf0 --json`. Raises Failed unless it is of a running port."""
    port = json.loads(text)
    received = port.get("counters", {}).get("rq0_packets", 0)
    if not received or port["state"] != "running":
        raise Failed(f"no counters of the running bench: {text[:500]}")
    return f"stats: {received} packets of {port['port']} while it runs"


def try_python(system: System) -> None:
    """pip, another Python than the builder's, and all that a program does."""
    wheel = wheel_for(system)
    place = fresh(system)
    gather(system, place / "wheels")
    shutil.copy(Path(__file__).with_name("check.py"), place)
    step(system, f"python{PYTHON[system.suite]}", "-m", "venv", "/try")
    step(system, "pip", "install", "-q", "--no-index", "--find-links=/try/wheels", "iavfio")
    tell(step(system, "python", "-P", "-c", IMPORT))
    tell(step(system, "python", "-P", "/try/check.py", f"/try/wheels/{wheel.name}"))
    tell(judge_bench(step(system, "iavfio", *BENCH)))
    step(system, "sh", "-c", BESIDE)
    tell(judge_stats((place / "stats.json").read_text(encoding="utf-8")))


def try_trixie() -> None:
    """Python 3.13, with pip, and all that a program does."""
    try_python(TRIXIE)


def try_sid() -> None:
    """Python 3.14, with pip, and all that a program does."""
    try_python(SID)


def try_bullseye() -> None:
    """An old glibc. Its Python is too old for iavfio, but has what the loader looks for."""
    place = fresh(BULLSEYE)
    unpack([wheel_for(BULLSEYE)], place / "site")
    tell(step(BULLSEYE, "python3", "-c", LOAD))
    library = "/try/site/iavfio/libiavfio_preload.so"
    said = step(BULLSEYE, "env", f"LD_PRELOAD={library}", "ls", "/try")
    if said.split() != ["site"]:  # the loader only warns of a library that it cannot load
        raise Failed(f"the preload library does not load: {said}")
    tell("preloaded into a program")


def try_arm() -> None:
    """64-bit ARM. The packages are unpacked, since pip takes minutes under emulation."""
    place = fresh(ARM)
    gather(ARM, place / "wheels")
    unpack(sorted((place / "wheels").glob("*.whl")), place / "site")
    at = {"PYTHONPATH": "/try/site"}
    tell(step(ARM, "python3", "-P", "-c", IMPORT, timeout=EMULATED, env=at))
    program = ("python3", "-P", "-m", "iavfio.cli")
    tell(step(ARM, *program, "--version", timeout=EMULATED, env=at))
    library = "/try/site/iavfio/libiavfio_preload.so"
    said = step(ARM, "env", f"LD_PRELOAD={library}", "ls", "/try")
    if sorted(said.split()) != ["site", "wheels"]:
        raise Failed(f"the preload library does not load: {said}")
    tell("preloaded into a program")
    try:
        tell(judge_bench(step(ARM, *program, *BENCH, timeout=EMULATED, env=at)))
    except Failed as failure:
        if NO_AIO not in str(failure):
            raise
        tell("no bench: qemu-user has no asynchronous I/O, by which the software VF interrupts")


def tell(text: str) -> None:
    for line in text.strip().splitlines():
        print(f"  {line}", flush=True)


TRIALS: dict[str, Callable[[], None]] = {
    "trixie": try_trixie,
    "sid": try_sid,
    "bullseye": try_bullseye,
    "arm": try_arm,
}


def main(names: list[str]) -> int:
    """Tries the wheels on these systems, on all by default; returns the exit status."""
    unknown = set(names) - set(TRIALS)
    if unknown:
        print(f"no system {', '.join(sorted(unknown))}: {', '.join(TRIALS)} are", file=sys.stderr)
        return 2
    ends = {"good": 0, "failed": 0, "skipped": 0}
    for name in names or list(TRIALS):
        summary = (TRIALS[name].__doc__ or "").splitlines()[0]
        print(f"{name}: {summary}", flush=True)
        try:
            TRIALS[name]()
        except Unavailable as error:
            ends["skipped"] += 1
            print(f"{name}: skipped: {error}", flush=True)
        except (Failed, LabError) as error:
            ends["failed"] += 1
            print(f"{name}: FAILED: {error}", flush=True)
        else:
            ends["good"] += 1
    print(f"systems: {ends['good']} good, {ends['failed']} failed, {ends['skipped']} skipped")
    if ends["failed"]:
        return 1
    return 0 if ends["good"] else 77


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
