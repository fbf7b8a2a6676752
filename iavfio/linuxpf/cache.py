# SPDX-License-Identifier: BSD-3-Clause
"""Where the lab keeps what takes minutes to make: roots, kernels, initramfs images."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from iavfio.errors import IavfioError

# Seconds between the signal that asks builders to end and the one that ends them: of the 100 ms
# that a command has after Ctrl-C (docs/spec/reliability.md F66).
GRACE = 0.05
ROOM = "make room there, or set IAVFIO_GUEST_CACHE to a directory that has it"


class Unavailable(IavfioError):
    """The lab cannot be had here; the text says why and what would help."""


class LabError(IavfioError):
    """Something in the lab failed that should have worked."""


def cache_dir() -> Path:
    """$IAVFIO_GUEST_CACHE, else ~/.cache/iavfio/guest; made when missing.

    Raises Unavailable where it cannot be made.
    """
    named = os.environ.get("IAVFIO_GUEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    path = Path(named) if named else Path(base) / "iavfio" / "guest"
    try:
        path = path.expanduser()
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError) as error:  # or there is no home directory
        raise _unusable(path, error) from error
    return path


def _unusable(path: Path, error: Exception) -> Unavailable:
    reason = getattr(error, "strerror", None) or error
    remedy = "set IAVFIO_GUEST_CACHE to a directory of yours"
    return Unavailable(f"there is no cache: {path} cannot be made ({reason}): {remedy}")


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds a lock of the cache, so that two builders do the work once.

    Builders that `call` starts hold it, too: it is free when the last of them has ended, also where
    this process was killed. Raises Unavailable where the cache cannot be written.
    """
    path = cache_dir() / f"{name}.lock"
    try:
        opened = path.open("w", encoding="ascii")
    except OSError as error:
        raise _unusable(path, error) from error
    with opened as file:
        os.set_inheritable(file.fileno(), True)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another builder of the {name}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def written(path: Path) -> Iterator[None]:
    """Inside, this file of the cache is written. Raises LabError where that fails."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise LabError(f"{path} cannot be written ({reason}): {ROOM}") from error


def digest(*parts: str) -> str:
    """A short name for what these texts describe."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def replace_tree(new: Path, final: Path) -> None:
    """Puts a finished tree in its place: a reader sees the old one or the new one, never a part."""
    if final.exists():
        shutil.rmtree(final)
    new.rename(final)


def discard(tree: Path) -> None:
    """Removes a tree, where there is one, and does not wait for it.

    A kernel's has 80,000 files; a command that a signal ends has no time for them.
    """
    gone = tree.with_name(f"{tree.name}.{os.getpid()}")
    with suppress(FileNotFoundError):
        tree.rename(gone)
        subprocess.run(["sh", "-c", 'nice -n 19 rm -rf -- "$0" &', gone], check=False)


def call(
    command: Sequence[str | Path],
    *,
    log: Path,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    grace: float = GRACE,
) -> None:
    """Runs a builder at the lowest priority, its output into `log`. Raises LabError.

    It does not outlive this call, nor this process, with all that it has started.
    """
    polite = ["nice", "-n", "19", *(["ionice", "-c3"] if shutil.which("ionice") else [])]
    if shutil.which("setpriv"):
        polite = ["setpriv", "--pdeathsig", "TERM", "--", *polite]
    with written(log), log.open("ab") as file:
        file.write(f"$ {' '.join(map(str, command))}\n".encode())
    builder: subprocess.Popen[bytes] | None = None
    try:
        with log.open("ab") as file:
            builder = subprocess.Popen(
                [*polite, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                cwd=cwd,
                close_fds=False,  # of ours only locks are inherited
                start_new_session=True,
            )
        over = not _ends(builder, timeout)
    except BaseException:  # a signal's
        if builder is not None:
            _end(builder, grace)
        raise
    if over:
        _end(builder, grace)
        raise LabError(f"{command[0]} took longer than {timeout:.0f} s; see {log}")
    if builder.wait() != 0:
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-8:])
        text = f"{command[0]} ended with {builder.returncode}; see {log}\n  {tail}"
        full = os.strerror(errno.ENOSPC) in tail
        raise LabError(f"{text}\n{log.parent} is full: {ROOM}" if full else text)


def _ends(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process has ended within this time.

    Popen.wait would give it a quarter of a second more after a Ctrl-C.
    """
    ended = os.pidfd_open(process.pid)
    try:
        return bool(select.select([ended], [], [], seconds)[0])
    finally:
        os.close(ended)


def _end(builder: subprocess.Popen[bytes], grace: float) -> None:
    """Ends a builder and all that it has started."""
    os.killpg(builder.pid, signal.SIGTERM)
    _ends(builder, grace)
    os.killpg(builder.pid, signal.SIGKILL)  # the group is there until its leader is waited for
    builder.wait()
