# SPDX-License-Identifier: BSD-3-Clause
"""A lane: a copy of the tree with extensions of its own, in which one mutant at a time lives."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import msgspec

from tests.mutants.table import ROOT, Mutant

LEFT_OUT = {".git", ".venv", ".hypothesis", "__pycache__", "build", "dist", "api", "results"}
EXTENSIONS = {
    "csrc/vfio/": ("_vfio",),
    "csrc/driver/": ("_driver",),
    "csrc/softvf/": ("_device",),
    "csrc/preload/": (),  # the library is built with every extension
    "csrc/hw/": ("_vfio", "_driver", "_device"),
}
PLACES = (
    "iavfio/pyvfio/_vfio.abi3.so",
    "iavfio/_driver.abi3.so",
    "iavfio/softvf/_device.abi3.so",
    "iavfio/libiavfio_preload.so",
)
FAILED = re.compile(r"^(?:FAILED|ERROR) (\S+)", re.MULTILINE)
PATIENCE = (60.0, 5.0)  # seconds, and times what the tests take without a mutant
HARNESS = "build-harness"
HARNESS_FLAGS = "-Dharness=true -Dbuildtype=plain -Doptimization=1"  # what compiles soon
MARK = "IAVFIO_MUTANTS_RUN"  # in the environment of all that a run starts, wherever it goes


class Outcome(msgspec.Struct, frozen=True):
    """What came of a run: `failed` by which test, "" when all passed."""

    failed: str
    seconds: float
    timeout: bool = False


class Failed(Exception):
    """The tree of a lane could not be built; the text says what the compiler said."""


class Lane:
    """`place` is a directory of the lane's own; everything lies below it."""

    def __init__(self, place: Path, jobs: int, root: Path = ROOT) -> None:
        self._place, self._jobs = place, jobs
        self._tree = place / "tree"
        self._kept = place / "kept"
        self._process: subprocess.Popen[str] | None = None
        self._before: tuple[Path, str] | None = None  # the file that has a mutant, without it
        self._clock = 1_000_000_000  # of Python files: no two states of a file have one time
        shutil.copytree(root, self._tree, symlinks=True, ignore=_left_out)
        if (root / ".venv").exists():
            (self._tree / ".venv").symlink_to((root / ".venv").resolve())
        (place / "tmp").mkdir()

    def build(self) -> None:
        """Compile everything and keep what came out; raises Failed."""
        self._build(("_vfio", "_driver", "_device"))
        self._kept.mkdir()
        for target in PLACES:
            shutil.copy2(self._tree / target, self._kept / Path(target).name)

    def apply(self, mutant: Mutant) -> bool:
        """Put the mutant in and build what it concerns; False when it does not apply.

        Raises Failed when the mutant does not compile; `restore` is due in any case.
        """
        path = self._tree / mutant.file
        before = path.read_text(encoding="utf-8")
        text = mutant.applied(before)
        if text is None:
            return False
        self._before = path, before
        self._write(path, text)
        if mutant.file.startswith("csrc/") and not all(map(is_harness, mutant.tests)):
            self._build(extensions_of(mutant.file))
        return True

    def restore(self) -> None:
        """Take the mutant out: its file and the extensions are again what they were.

        The next mutant's build compiles the file anew.
        """
        if self._before is not None:
            self._write(*self._before)
            self._before = None
        for target in PLACES:
            kept, place = self._kept / Path(target).name, self._tree / target
            if not place.exists() or kept.stat().st_mtime_ns != place.stat().st_mtime_ns:
                shutil.copy2(kept, place.with_suffix(".new"))
                place.with_suffix(".new").rename(place)

    def run(self, tests: list[str], limit: float | None = None, emulated: bool = False) -> Outcome:
        """Run tests in their order until one fails or `limit` seconds are over.

        `emulated`: C harnesses are built for 64-bit ARM and run under qemu-user. Raises Failed
        when a harness does not compile.
        """
        begin = time.monotonic()
        for command, name in self._commands(tests, emulated):
            left = None if limit is None else max(limit - (time.monotonic() - begin), 1.0)
            status, text = self._call(command, left)
            seconds = time.monotonic() - begin
            if status is None:
                return Outcome(f"timeout after {seconds:.0f} s", seconds, timeout=True)
            if status and (name in ("meson", "ninja") or (emulated and ": error: " in text)):
                raise Failed("\n".join(text.splitlines()[-20:]))
            if status:
                by = FAILED.search(text)
                reason = f"signal {-status}" if status < 0 else f"exit status {status}"
                return Outcome(by[1] if by else f"{name}: {reason}", seconds)
        return Outcome("", time.monotonic() - begin)

    def stop(self) -> None:
        """End what runs; from any thread."""
        if self._process is not None:
            self._process.kill()

    def _commands(self, tests: list[str], emulated: bool) -> Iterator[tuple[list[str], str]]:
        pytest = [sys.executable, "-m", "pytest", "-x", "-q", "-n", "0", "-p", "no:cacheprovider"]
        for harness, group in groupby(tests, is_harness):
            if not harness:
                yield [*pytest, *group], "pytest"
                continue
            for test in group:
                program = f"tests/c/{Path(test).stem}"
                if emulated:
                    yield ["tools/aarch64", "emulate", Path(test).stem.split("_")[1]], test
                    continue
                if not (self._tree / HARNESS / "build.ninja").exists():
                    yield ["meson", "setup", HARNESS, *HARNESS_FLAGS.split()], "meson"
                yield ["ninja", "-C", HARNESS, "-j", str(self._jobs), "--quiet", program], "ninja"
                yield [f"{HARNESS}/{program}"], test

    def _build(self, extensions: tuple[str, ...]) -> None:
        status, text = self._call(
            ["tools/build_extensions", "build", str(self._jobs), *extensions], None
        )
        if status:
            raise Failed("\n".join(text.splitlines()[-20:]))

    def _call(self, command: list[str], limit: float | None) -> tuple[int | None, str]:
        """(exit status, output); None when the time is over. Nothing of it is left running."""
        mark = uuid.uuid4().hex
        with (self._place / "output").open("w+", errors="replace") as output:
            self._process = subprocess.Popen(
                command,
                cwd=self._tree,
                env=self._environment() | {MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
            try:
                status: int | None = self._process.wait(limit)
            except subprocess.TimeoutExpired:
                status = None
            finally:
                end_marked(mark)
                self._process.wait()
                self._process = None
            output.seek(0)
            return status, output.read()

    def _environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
        return os.environ | {
            "PATH": path,
            "PYTHONPATH": str(self._tree),
            "TMPDIR": str(self._place / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "",  # most modules are the same in all runs
            "CI": "1",  # a compiler for 64-bit ARM that is missing is an error
        }

    def _write(self, path: Path, text: str) -> None:
        """Python takes a cached module for current by time and size, so the times differ."""
        path.write_text(text, encoding="utf-8")
        if path.suffix == ".py":
            self._clock += 1
            os.utime(path, (self._clock, self._clock))


def is_harness(test: str) -> bool:
    """Whether a test is a C harness, and not for pytest."""
    return test.endswith(".c")


def extensions_of(file: str) -> tuple[str, ...]:
    """The extensions into which a file of csrc is compiled."""
    return next(names for prefix, names in EXTENSIONS.items() if file.startswith(prefix))


def end_marked(mark: str) -> None:
    """End all processes that have the mark in their environment: those that a run started."""
    wanted = f"{MARK}={mark}".encode()
    while True:
        alive = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and wanted in _environment_of(entry):
                alive.append(int(entry.name))
        for pid in alive:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        if not alive:
            return
        time.sleep(0.01)


def _environment_of(entry: Path) -> list[bytes]:
    try:
        return (entry / "environ").read_bytes().split(b"\0")
    except OSError:
        return []


def _left_out(folder: str, names: list[str]) -> list[str]:
    return [
        name
        for name in names
        if name in LEFT_OUT or name.startswith("build-") or name.endswith(("_cache", ".so", ".log"))
    ]
