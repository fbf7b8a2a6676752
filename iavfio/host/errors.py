# SPDX-License-Identifier: BSD-3-Clause
"""What can go wrong while a host is prepared; each names the command that mends it."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

from iavfio.errors import ConfigError, IavfioError


class HostError(IavfioError):
    """The host could not be read or changed as asked."""


class BadAddress(ConfigError):
    """The text is neither a PCI address nor an interface of this host."""


class NoSuchFunction(ConfigError):
    """There is no PCI function at this address."""


class NotNic(ConfigError):
    """The PCI function is not a network controller."""


class InUse(HostError):
    """The interface, the VFs or the VFIO node are in use; nothing was changed."""


class NotPermitted(HostError):
    """This user may not change the host."""


class KernelRefused(HostError):
    """The kernel refused a write to sysfs, or did not do what was asked."""


class BadRecord(HostError):
    """The file that records what `bind` changed cannot be used."""


def program() -> str:
    """How this user starts iavfio, in a form that works after sudo, which resets PATH."""
    beside = Path(sys.executable).with_name("iavfio")
    if beside.exists():
        return str(beside)
    return shutil.which("iavfio") or "iavfio"


def not_permitted(path: Path, arguments: str) -> HostError:
    """The error for a path that this user may not write; `arguments` repeat the command line."""
    if os.geteuid() == 0:  # root is kept out by the mount alone
        return KernelRefused(
            f"{path} may not be written",
            "sysfs is mounted read-only, as in a container",
            f"run 'iavfio {arguments}' on the host itself",
        )
    return NotPermitted(
        f"{path} may not be written",
        "changing a device or its driver needs root",
        f"run: sudo {program()} {arguments}",
    )


def write_failed(path: Path, text: str, failure: OSError, arguments: str) -> HostError:
    """Turns the failure of one sysfs write into words (docs/spec/vfio.md 9)."""
    if failure.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return not_permitted(path, arguments)
    causes = {
        errno.ENODEV: "the driver does not take this device, or the device is gone",
        errno.EBUSY: "the device or its PF is busy",
        errno.ENOENT: "the driver is not loaded, or the device is gone",
        errno.EINVAL: "the driver found the device unusable",
    }
    return KernelRefused(
        f"writing {text.strip()!r} to {path} failed: {failure.strerror}",
        causes.get(failure.errno or 0, "the kernel's log says why"),
        "look at: dmesg | tail",
    )
