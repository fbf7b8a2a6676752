# SPDX-License-Identifier: BSD-3-Clause
"""A private software VF for a program or a test: a child that never outlives its parent."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import iavfio
from iavfio import errors
from iavfio.arguments import Choice, Flag, Text, counted, known_keywords, wrong_type
from iavfio.errors import ConfigError, DeviceError, DeviceLost, IavfioError, StateError
from iavfio.logs import logger
from iavfio.ranges import VF, VFS
from iavfio.softvf import personality as cards
from iavfio.softvf.asking import exchange
from iavfio.softvf.log import Violation
from iavfio.softvf.server import sockets
from iavfio.softvf.server.directory import PREFIX, base_directory, new_directory

if TYPE_CHECKING:
    from iavfio.softvf.dataplane import Writeback
    from iavfio.softvf.process import Doorbells

WRITEBACK = Choice("kind of write-back", ("hardware", "immediate"))
DOORBELLS = Choice("kind of doorbells", ("shared", "trapped"))
START_SECONDS = 90.0  # of a busy machine; one that ends while it starts is told at once

log = logger("softvf")
_hurried = threading.Event()
CONTROL_SECONDS = 5.0
STALE_SECONDS = 10.0


def hasten(on: bool = True) -> None:
    """From now on a software PF is told to end, and not waited for: this process is to end.

    For whoever answers SIGINT and SIGTERM (docs/spec/reliability.md F66): the kernel needs a while
    to end such a process, and nobody has to see it. False takes it back.
    """
    if on:
        _hurried.set()
    else:
        _hurried.clear()


class SoftPf:
    """A running software PF; a context manager. `iavfio.open` takes `sockets[i]` for VF i."""

    def __init__(
        self, child: subprocess.Popen[bytes], directory: Path, ready: dict[str, Any]
    ) -> None:
        self.sockets: list[str] = list(ready["sockets"])
        self.directory = directory
        self.pid = child.pid
        self._control_path = Path(ready["control"])
        self._child = child
        self._finalizer = weakref.finalize(self, _end, child, directory, os.getpid())
        log.info("software PF %d: started with %s", self.pid, counted(len(self.sockets), "VF"))

    def open(self, vf: int = 0, **options: Any) -> iavfio.Port:
        """The VF with number `vf`, opened by `iavfio.open` with these options.

        Raises ConfigError when there is no such VF, StateError after `close`.
        """
        last = len(self.sockets) - 1
        if type(vf) is int and last < vf <= VF.high:
            raise ConfigError(
                f"there is no VF {vf}",
                f"this software PF has {len(self.sockets)}, numbered from 0",
                f"start it with more: iavfio.softvf(vfs={vf + 1})",
            )
        number = replace(VF, high=last)("vf", vf)
        if self.closed:
            raise StateError("this software PF is closed", "", "start a new one")
        return iavfio.open(self.sockets[number], **options)

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._finalizer.alive

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._child.poll() is None

    def control(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer to a command of the control socket (iavfio.softvf.control).

        Raises ConfigError when the command is refused, DeviceLost when the process is gone, and
        StateError after `close`.
        """
        if self.closed:
            raise StateError("this software VF is closed")
        request = json.dumps({"command": command} | arguments).encode() + b"\n"
        try:
            answer = exchange(self._control_path, request, CONTROL_SECONDS)
        except (OSError, ValueError) as error:
            log.warning("software PF %d: no answer to %s", self.pid, command)
            raise DeviceLost(
                f"the software VF (pid {self.pid}) does not answer",
                f"it ended with status {self._child.poll()}" if not self.running else str(error),
                "start a new one",
            ) from error
        if not answer.pop("ok", False):
            raise ConfigError(f"{command}: {answer.get('error', 'refused')}")
        return answer

    def violations(self, notes: bool = False) -> list[Violation]:
        """What drivers did wrong so far, oldest first.

        The newest 4096 entries, and of one VF and rule at most 32 a second: the next one tells how
        many it stands for.
        """
        entries = [Violation(**entry) for entry in self.control("log")["entries"]]
        return [entry for entry in entries if notes or entry.kind != "note"]

    def close(self) -> None:
        """Ends the process and removes its sockets; a second call does nothing."""
        self._finalizer()

    def __enter__(self) -> SoftPf:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Starting:
    """A software PF whose process starts while its parent does something else; see `begin`."""

    def __init__(self, child: subprocess.Popen[bytes], directory: Path, read: int) -> None:
        self._child = child
        self._directory = directory
        self._read = read

    def ready(self) -> SoftPf:
        """Waits until clients may come; raises the error that the process tells of."""
        try:
            return SoftPf(self._child, self._directory, _await(self._read, self._child))
        except BaseException:
            _end(self._child, self._directory, os.getpid())
            raise
        finally:
            os.close(self._read)

    def abandon(self) -> None:
        """Ends the process instead."""
        os.close(self._read)
        _end(self._child, self._directory, os.getpid())


@known_keywords
def softvf(
    vfs: int = 1,
    personality: str = "e810",
    uplink: str = "loopback",
    writeback: Writeback = "hardware",
    doorbells: Doorbells = "shared",
    options: Mapping[str, bool | int | float | str] | None = None,
    verbose: bool = False,
    pf: str = "software",
) -> SoftPf:
    """Starts a private software PF with `vfs` VFs and returns when clients may come.

    `options` are those of iavfio.softvf.personality. `pf` is "software", or Linux's own driver, for
    which `make judge` was run: "linux-i40e" for VFs of personality x710, "linux-ice" for e810. The
    process ends with `close`, with the caller's process at the latest. Raises ConfigError for
    impossible settings, DeviceError when the process cannot start.
    """
    return begin(vfs, personality, uplink, writeback, doorbells, options, verbose, pf).ready()


def begin(
    vfs: int = 1,
    personality: str = "e810",
    uplink: str = "loopback",
    writeback: Writeback = "hardware",
    doorbells: Doorbells = "shared",
    options: Mapping[str, bool | int | float | str] | None = None,
    verbose: bool = False,
    pf: str = "software",
) -> Starting:
    """As `softvf`, but does not wait: the caller has to call `ready` or `abandon` of the result."""
    checked = _arguments(vfs, personality, uplink, writeback, doorbells, options, verbose, pf)
    _sweep()
    parent = os.pidfd_open(os.getpid())
    try:
        directory = new_directory()
        try:
            return _spawn(checked, directory, parent)
        except BaseException:
            _remove(directory)
            raise
    finally:
        os.close(parent)


def _spawn(arguments: list[str], directory: Path, parent: int) -> Starting:
    """Starts the process; `parent` is a pidfd of this one, whose end ends it."""
    command = [sys.executable, "-P", "-m", "iavfio.softvf", "--disposable"]
    command += ["--socket", str(directory), *arguments]
    read, write = os.pipe2(os.O_CLOEXEC)
    try:
        child = subprocess.Popen(
            [*command, "--ready-fd", str(write), "--parent-fd", str(parent)],
            pass_fds=(write, parent),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env=_environment(),
            start_new_session=True,  # the terminal's Ctrl-C is the parent's to handle
        )
    except BaseException:
        os.close(read)
        raise
    finally:
        os.close(write)
    return Starting(child, directory, read)


def _arguments(
    vfs: int,
    personality: str,
    uplink: str,
    writeback: Writeback,
    doorbells: Doorbells,
    options: Mapping[str, bool | int | float | str] | None,
    verbose: bool,
    pf: str,
) -> list[str]:
    """Returns the arguments of the process. Raises ConfigError for what cannot be."""
    command = ["--vfs", str(VFS("vfs", vfs))]
    Choice("personality", cards.NAMES)("personality", personality)
    command += ["--personality", personality]
    command += ["--uplink", Text("a wire", "uplink='loopback'")("uplink", uplink)]
    command += ["--writeback", WRITEBACK("writeback", writeback)]
    command += ["--doorbells", DOORBELLS("doorbells", doorbells)]
    command += ["--pf", Text("a PF's driver", "pf='linux-i40e'")("pf", pf)]
    command += ["--verbose"] if Flag()("verbose", verbose) else []
    if options is not None and not isinstance(options, Mapping):
        raise wrong_type("options", options, "a dictionary", "as in options={'trusted': True}")
    twists = []
    for key, value in (options or {}).items():
        text = ("on" if value else "off") if isinstance(value, bool) else str(value)
        twists.append(cards.parse_option(f"{key}={text}"))
        command += ["--option", f"{key}={text}"]
    if pf == "software":  # of another PF the process knows more: which of them has the option
        cards.check_effect(personality, twists)
    return command


def _environment() -> dict[str, str]:
    """An environment in which the child finds the same iavfio, also one that is not installed."""
    home = str(Path(iavfio.__file__).parent.parent)
    if home.endswith(("site-packages", "dist-packages")):
        return dict(os.environ)
    paths = [home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def _await(read: int, child: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Returns what the child says first; raises the error that the child tells of."""
    deadline = time.monotonic() + START_SECONDS
    said = b""
    while not said.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([read], [], [], left)[0]:
            raise DeviceError(f"the software VF did not start within {START_SECONDS:.0f} s")
        data = os.read(read, 1 << 16)
        if not data:
            raise DeviceError(
                "the software VF ended while it started",
                f"exit status {child.wait()}",
                "run `iavfio softvf` to see why",
            )
        said += data
    ready = json.loads(said)
    assert isinstance(ready, dict)
    if "error" in ready:
        kind, what, cause, remedy = ready["error"]
        error = getattr(errors, kind, IavfioError)
        raise error(what, cause, remedy)
    return ready


def _end(child: subprocess.Popen[bytes], directory: Path, owner: int) -> None:
    """Ends the child, collects it and removes what it left. A fork of the parent does nothing."""
    if os.getpid() != owner:
        return
    status = child.poll()
    if status is not None:
        log.warning("software PF %d: it had ended before, with status %d", child.pid, status)
    child.terminate()
    child.send_signal(signal.SIGCONT)  # one that was stopped hears the other only then
    if not _hurried.is_set():
        try:
            child.wait(2.0)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        log.info("software PF %d: ended", child.pid)
    _remove(directory)


def _remove(directory: Path) -> None:
    with contextlib.suppress(OSError):
        for path in directory.iterdir():
            if path.suffix == ".sock" and path.is_socket():
                path.unlink()
        directory.rmdir()


def _sweep() -> None:
    """Removes directories whose software VF and its parent were both killed."""
    with contextlib.suppress(OSError):
        for directory in Path(base_directory()).glob(f"{PREFIX}*"):
            control = directory / "control.sock"
            with contextlib.suppress(OSError):
                age = time.time() - control.lstat().st_mtime
                ours = directory.lstat().st_uid == os.getuid() and not directory.is_symlink()
                if ours and age > STALE_SECONDS and sockets.is_dead(control):
                    _remove(directory)
