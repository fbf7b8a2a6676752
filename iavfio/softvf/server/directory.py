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
    return base if base and len(base) <= 60 and os.access(base, os.W_OK | os.X_OK) else "/tmp"


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
            mode = path.stat().st_mode
    except OSError as error:
        raise ConfigError(
            f"cannot use the directory {path}",
            str(error.strerror),
            "choose another with --socket DIR",
        ) from error
    if wanted and mode & (stat.S_IWOTH | stat.S_IWGRP) and not mode & stat.S_ISVTX:
        raise ConfigError(
            f"{path} may be written by others",
            "they could put their sockets in place of ours",
            f"chmod 700 {path}",
        )
    try:
        yield path
    finally:
        if ours:
            with contextlib.suppress(OSError):
                path.rmdir()
