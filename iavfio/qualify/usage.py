# SPDX-License-Identifier: BSD-3-Clause
"""What a process holds of its host, and by how much that may grow in a long run."""

from __future__ import annotations

import gc
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Usage:
    """Resident memory in MiB, that part of it which is anonymous, descriptors and mappings.

    Packet buffers are shared memory: their pages become resident one by one as they are first used,
    so that a growth of `rss_mib` alone is no leak; `anonymous_mib` has none of them.
    """

    rss_mib: float
    anonymous_mib: float
    fds: int
    mappings: int

    @classmethod
    def now(cls) -> Usage:
        """Returns this process's usage, without what only waits for Python's garbage collector."""
        gc.collect()
        return cls.of("self")

    @classmethod
    def of(cls, process: int | str) -> Usage:
        """Returns the present usage of a process of this user. Raises OSError when it has ended."""
        proc = Path("/proc") / str(process)
        lines = (proc / "status").read_text("utf-8", "replace").splitlines()
        words = {line.split(":")[0]: line.split()[1:] for line in lines}
        return cls(
            rss_mib=round(int(words["VmRSS"][0]) / 1024, 1),
            anonymous_mib=round(int(words["RssAnon"][0]) / 1024, 1),
            fds=sum(1 for _ in (proc / "fd").iterdir()),
            mappings=(proc / "maps").read_text("utf-8", "replace").count("\n"),
        )

    def figures(self, when: str) -> dict[str, float]:
        """Returns the usage as figures of a check, named after `when`."""
        return {f"{when}_{name}": float(value) for name, value in asdict(self).items()}

    def grown(self, before: Usage) -> list[str]:
        """What has grown beyond MOST since `before`, in words; empty when nothing has."""
        now, then = asdict(self), asdict(before)
        return [
            f"{words} grew from {then[name]} to {now[name]}, by more than {most}"
            for name, (words, most) in MOST.items()
            if now[name] - then[name] > most
        ]


MOST: dict[str, tuple[str, float]] = {
    "anonymous_mib": ("anonymous memory (MiB)", 32.0),
    "fds": ("open descriptors", 8),
    "mappings": ("memory mappings", 64),
}
