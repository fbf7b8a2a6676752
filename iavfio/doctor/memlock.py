# SPDX-License-Identifier: BSD-3-Clause
"""Limits of locked memory: packet buffers are pinned, and count against them."""

from __future__ import annotations

import re
from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Host, HostRow

NEEDED = 64 << 20  # bytes: the pool and rings of one port with some queues
RUNTIMES = ("containerd", "dockerd", "crio", "podman")
UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def _limit(host: Host, process: str) -> tuple[int, int] | None:
    """Soft and hard limit in bytes, None where they cannot be read."""
    for line in host.text(f"proc/{process}/limits").splitlines():
        if line.startswith("Max locked memory"):
            values = line[len("Max locked memory") :].split()[:2]
            if len(values) == 2:
                soft, hard = (1 << 62 if v == "unlimited" else int(v) for v in values)
                return soft, hard
    return None


def _shell(host: Host) -> Iterator[Seen]:
    found = _limit(host, "self")
    if host.uid == 0 or found is None or found[0] >= NEEDED:
        return
    soft, hard = found
    yield Seen(
        f"this shell may lock {soft >> 10} KiB of memory, "
        f"and a port needs about {NEEDED >> 20} MiB",
        "packet buffers are pinned for the device, which RLIMIT_MEMLOCK bounds",
        "ulimit -l unlimited"
        if hard >= NEEDED
        else "echo '* - memlock unlimited' | sudo tee /etc/security/limits.d/iavfio.conf, then "
        "log in again",
    )


def _systemd(host: Host) -> Iterator[Seen]:
    if not host.path("run/systemd/system").exists():
        return
    files = ["etc/systemd/system.conf"] + [
        f"etc/systemd/system.conf.d/{name}"
        for name in host.names("etc/systemd/system.conf.d")
        if name.endswith(".conf")
    ]
    told = [
        value
        for file in files
        for value in re.findall(
            r"^\s*DefaultLimitMEMLOCK\s*=\s*(\S+)", host.text(file), re.MULTILINE
        )
    ]
    if not told or _bytes(told[-1]) < NEEDED:
        yield Seen(
            "services may lock too little memory for a port",
            f"systemd's DefaultLimitMEMLOCK is {told[-1] if told else 'not set (8M)'}",
            "put LimitMEMLOCK=infinity into the [Service] section of the service's unit",
        )


def _containers(host: Host) -> Iterator[Seen]:
    for pid in host.names("proc"):
        if not pid.isdecimal() or host.text(f"proc/{pid}/comm") not in RUNTIMES:
            continue
        name, found = host.text(f"proc/{pid}/comm"), _limit(host, pid)
        if found is not None and found[0] < NEEDED:
            yield Seen(
                f"containers of {name} may lock {found[0] >> 10} KiB of memory",
                f"they inherit the limit of {name} (pid {pid})",
                f"sudo systemctl edit {name}: [Service] LimitMEMLOCK=infinity, then restart it; "
                "or docker run --ulimit memlock=-1",
            )


def _bytes(text: str) -> int:
    soft = text.split(":")[0]
    if soft == "infinity":
        return 1 << 62
    found = re.fullmatch(r"(\d+)([KMGT]?)", soft)
    return int(found[1]) * UNITS[found[2]] if found else 0


ROWS: tuple[HostRow, ...] = (
    HostRow("memlock.shell", "error", _shell),
    HostRow("memlock.systemd", "note", _systemd),
    HostRow("memlock.containers", "warning", _containers),
)
