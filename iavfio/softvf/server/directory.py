# SPDX-License-Identifier: BSD-3-Clause
"""The directory of the sockets: private, short, and gone with the software VF.

The promise is docs/spec/reliability.md D5.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iavfio.errors import ConfigError

PREFIX = "iavfio-"


def base_directory() -> str:
    """Where fresh directories are made: short, since socket paths are limited to 107 bytes."""
    base = os.environ.get("XDG_RUNTIME_DIR", "")
    usable = base and len(base) <= 60 and os.access(base, os.W_OK | os.X_OK)
    # Root by way of sudo may have the variable of the user before it.
    return base if usable and fault_of(Path(base)) is None else "/tmp"


def fault_of(path: Path) -> tuple[str, str] | None:
    """Why others could replace what is in a directory, and the remedy; None when nobody could.

    Whoever owns the directory or one above it, or may write there, can rename what is inside and
    put a socket of its own in the place. So all of them must belong to this user or to root, and
    be writable by no one else unless they are sticky. This holds for root too: root's own clients
    would open what a user has put there.
    """
    trusted = {os.geteuid(), 0, Path("/").stat().st_uid}
    real = path.resolve()
    for each in (real, *real.parents):
        found = each.stat()
        if found.st_uid not in trusted:
            return (
                f"{each} belongs to uid {found.st_uid}, who could put sockets in place of ours",
                "choose a directory of your own with --socket",
            )
        shared = found.st_mode & (stat.S_IWOTH | stat.S_IWGRP)
        if shared and not found.st_mode & stat.S_ISVTX:
            return (
                f"{each} may be written by others, who could put sockets in place of ours",
                f"chmod go-w {each}",
            )
    return None


def new_directory() -> Path:
    """A fresh directory of mode 0700."""
    while True:  # tempfile would do, but it takes as long to import as all the rest
        path = Path(base_directory()) / (PREFIX + os.urandom(4).hex())
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            return path


@contextmanager
def private_directory(wanted: Path | None, disposable: bool = False) -> Iterator[Path]:
    """Yields `wanted`, made when it is not there, or a fresh directory.

    At the end the directory is removed if it is empty and was made here or is `disposable`. Raises
    ConfigError when it cannot be used.
    """
    path = wanted
    try:
        if path is None:
            path, ours = new_directory(), True
        else:
            path = path.absolute()
            ours = not path.exists() or disposable
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        fault = fault_of(path)
    except OSError as error:
        raise ConfigError(
            f"cannot use the directory {path}",
            str(error.strerror),
            "choose another with --socket DIR",
        ) from error
    if fault:
        if ours:
            with contextlib.suppress(OSError):
                path.rmdir()
        cause, remedy = fault
        raise ConfigError(f"{path} is no place for the sockets", cause, remedy)
    try:
        yield path
    finally:
        if ours:
            with contextlib.suppress(OSError):
                path.rmdir()
