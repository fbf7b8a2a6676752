# SPDX-License-Identifier: BSD-3-Clause
"""Writes to sysfs as values, which can be shown as shell commands before they are made."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from iavfio.host import sysfs
from iavfio.host.errors import KernelRefused, write_failed


@dataclass(frozen=True)
class Write:
    """One write of a value to a sysfs attribute."""

    path: Path
    value: str

    def __str__(self) -> str:
        return f"echo {self.value.strip() or ''} > {self.path}".replace("echo  >", "echo >")


@dataclass
class Writer:
    """Changes the host through `kernel` and reports each change first; `dry` only reports."""

    kernel: sysfs.Kernel
    report: Callable[[str], None]  # takes the change as a shell command
    command: str  # the arguments of iavfio that asked for the change, for remedies
    dry: bool = False

    def write(self, change: Write) -> None:
        """Does one write. Raises NotPermitted or KernelRefused."""
        self.report(str(change))
        if self.dry:
            return
        try:
            self.kernel.write(change.path, change.value)
        except OSError as failure:
            raise write_failed(change.path, change.value, failure, self.command) from failure

    def modprobe(self, module: str) -> None:
        """Loads a module. Raises KernelRefused."""
        self.report(f"modprobe {module}")
        if self.dry:
            return
        try:
            self.kernel.modprobe(module)
        except OSError as failure:
            raise KernelRefused(
                f"module {module} could not be loaded",
                failure.strerror or str(failure),
                f"load it as root: modprobe {module}; Debian's cloud kernels lack it: "
                "install linux-image-amd64",
            ) from failure


def override(tree: sysfs.Tree, bdf: str, driver: str) -> Write:
    """Lets only `driver` take the function; "" lifts that (the kernel wants an empty line)."""
    return Write(tree.devices / bdf / "driver_override", f"{driver}\n")


def detach(tree: sysfs.Tree, bdf: str) -> Write:
    """Takes the function from the driver that has it."""
    return Write(tree.devices / bdf / "driver/unbind", bdf)


def probe(tree: sysfs.Tree, bdf: str) -> Write:
    """Asks the kernel to find a driver for the function."""
    return Write(tree.root / "sys/bus/pci/drivers_probe", bdf)
