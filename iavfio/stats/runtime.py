# SPDX-License-Identifier: BSD-3-Clause
"""Where running ports publish their stats segments, and who may look (design decision 6)."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from iavfio.errors import ConfigError, IavfioError

SUFFIX = ".stats"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")


def runtime_dir(*, create: bool = False) -> Path:
    """`$XDG_RUNTIME_DIR/iavfio`, else a 0700 directory of this user in /dev/shm.

    Raises IavfioError when the directory belongs to somebody else or others may write to it.
    """
    xdg = os.environ.get("XDG_RUNTIME_DIR", "")
    if xdg and os.access(xdg, os.W_OK | os.X_OK):
        path = Path(xdg) / "iavfio"
    else:
        path = Path("/dev/shm") / f"iavfio-{os.getuid()}"
    if create:
        path.mkdir(mode=0o700, exist_ok=True)
    if path.exists():
        info = path.lstat()
        if not stat.S_ISDIR(info.st_mode) or info.st_uid != os.getuid() or info.st_mode & 0o022:
            raise IavfioError(
                f"{path} cannot be trusted for stats segments",
                "it belongs to another user, or others may write to it",
                f"remove it, or set XDG_RUNTIME_DIR to a directory of your own (ls -ld {path})",
            )
    return path


def segment_path(port: str, *, create: bool = False) -> Path:
    """The file of a port's segment. Raises ConfigError for a name that is no plain file name."""
    if not NAME.fullmatch(port):
        raise ConfigError(
            f"{port!r} is no port name",
            "1 to 64 letters, digits and . _ : + - are allowed",
            "choose another with name=... (CLI: --name)",
        )
    return runtime_dir(create=create) / f"{port}{SUFFIX}"


def known_ports() -> list[str]:
    """Names of all ports that have a segment, sorted; their owners may be dead."""
    path = runtime_dir()
    if not path.is_dir():
        return []
    return sorted(entry.name.removesuffix(SUFFIX) for entry in path.glob(f"*{SUFFIX}"))


def process_start(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot, None when it has ended (proc(5))."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in ("Z", "X"):  # a zombie no longer writes
        return None
    return int(fields[19])
