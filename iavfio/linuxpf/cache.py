# SPDX-License-Identifier: BSD-3-Clause
"""Where the lab keeps what takes minutes to make: roots, kernels, initramfs images."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from iavfio.errors import IavfioError


class Unavailable(IavfioError):
    """The lab cannot be had here; the text says why and what would help."""


class LabError(IavfioError):
    """Something in the lab failed that should have worked."""


def cache_dir() -> Path:
    """$IAVFIO_GUEST_CACHE, else ~/.cache/iavfio/guest; made when missing."""
    named = os.environ.get("IAVFIO_GUEST_CACHE")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    path = Path(named) if named else Path(base) / "iavfio" / "guest"
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Holds a lock of the cache, so that two builders do the work once."""
    with (cache_dir() / f"{name}.lock").open("w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"waiting for another builder of the {name}", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def digest(*parts: str) -> str:
    """A short name for what these texts describe."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]


def replace_tree(new: Path, final: Path) -> None:
    """Puts a finished tree in its place: a reader sees the old one or the new one, never a part."""
    if final.exists():
        shutil.rmtree(final)
    new.rename(final)


def call(
    command: Sequence[str | Path],
    *,
    log: Path,
    timeout: float,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> None:
    """Runs a builder at the lowest priority, its output into `log`. Raises LabError."""
    polite = ["nice", "-n", "19", *(["ionice", "-c3"] if shutil.which("ionice") else [])]
    with log.open("ab") as file:
        file.write(f"$ {' '.join(map(str, command))}\n".encode())
        file.flush()
        try:
            done = subprocess.run(
                [*polite, *map(str, command)],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
                env={**os.environ, **(env or {})},
                cwd=cwd,
            )
        except subprocess.TimeoutExpired as error:
            raise LabError(f"{command[0]} took longer than {timeout:.0f} s; see {log}") from error
    if done.returncode != 0:
        tail = "\n  ".join(log.read_text(errors="replace").splitlines()[-8:])
        raise LabError(f"{command[0]} ended with {done.returncode}; see {log}\n  {tail}")
