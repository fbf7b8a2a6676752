# SPDX-License-Identifier: BSD-3-Clause
"""The host as files: reading /sys, /proc and /dev, and the few writes that change it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True)
class Tree:
    """Where the host's files are; tests give another root."""

    root: Path = Path("/")

    @property
    def devices(self) -> Path:
        return self.root / "sys/bus/pci/devices"

    @property
    def drivers(self) -> Path:
        return self.root / "sys/bus/pci/drivers"

    @property
    def groups(self) -> Path:
        return self.root / "sys/kernel/iommu_groups"

    @property
    def nodes(self) -> Path:
        return self.root / "dev/vfio"

    @property
    def proc(self) -> Path:
        return self.root / "proc"

    @property
    def is_real(self) -> bool:
        """Whether this is the running host, so that system calls speak of the same one."""
        return self.root == Path("/")


def text(path: Path, default: str = "") -> str:
    """Content of a one-value file without white space at its ends; `default` if unreadable."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return default


def number(path: Path) -> int | None:
    """Content as an integer, decimal or 0x...; None if absent, unreadable or not a number."""
    try:
        return int(text(path), 0)
    except ValueError:
        return None


def link(path: Path) -> str:
    """Last part of a symbolic link's target, "" if there is no such link."""
    try:
        return path.readlink().name
    except OSError:
        return ""


def names(path: Path) -> list[str]:
    """Names in a directory, sorted; empty if it cannot be read."""
    try:
        return sorted(entry.name for entry in path.iterdir())
    except OSError:
        return []


class Kernel(Protocol):
    """The two things that change a host. Failures are OSError."""

    def write(self, path: Path, value: str) -> None:
        """Writes a value to an existing sysfs attribute."""

    def modprobe(self, module: str) -> None:
        """Loads a kernel module."""


class LinuxKernel:
    """The running kernel."""

    def write(self, path: Path, value: str) -> None:
        # An attribute takes its value in one write(2); it is never created or truncated.
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.write(fd, value.encode())
        finally:
            os.close(fd)

    def modprobe(self, module: str) -> None:
        try:
            done = subprocess.run(
                ["modprobe", module],
                capture_output=True,
                text=True,
                timeout=60,
                check=False,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
            )
        except subprocess.TimeoutExpired as slow:
            raise OSError(0, "modprobe did not end within 60 s", module) from slow
        if done.returncode:
            raise OSError(0, done.stderr.strip() or f"exit {done.returncode}", module)
