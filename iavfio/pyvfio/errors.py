# SPDX-License-Identifier: BSD-3-Clause
"""pyvfio's errors (docs/spec/vfio.md 9).

The root, and the errors that other rooms raise as well, are in `iavfio.errors`: the only module
outside of this room that pyvfio imports (docs/adr/0007).
"""

from __future__ import annotations

import errno as codes

from iavfio.errors import ConfigError, DeviceLost, GroupNotViable, NoIommu, VfioError

__all__ = [
    "BadArgument",
    "Busy",
    "Closed",
    "DeviceLost",
    "DmaError",
    "FewerVectors",
    "GroupNotViable",
    "MemlockExceeded",
    "NoIommu",
    "NotBound",
    "NotFound",
    "PermissionDenied",
    "ProtocolError",
    "UnknownDevice",
    "Unsupported",
    "VfioError",
    "system_error",
    "within_own_request",
]


class NotFound(VfioError):
    """No such device, node or socket."""


class UnknownDevice(NotFound, ConfigError):
    """No PCI device has the name that was given, and no socket can have it."""


class BadArgument(VfioError, ConfigError):
    """An argument of a call to pyvfio cannot be used; nothing was changed."""


class NotBound(VfioError):
    """The device is not bound to vfio-pci."""


class PermissionDenied(VfioError):
    """This user may not open a node, or the VF token is missing or wrong."""


class Busy(VfioError):
    """Somebody else has the device, or a reset is under way."""


class MemlockExceeded(VfioError):
    """Pinning would exceed RLIMIT_MEMLOCK; `needed` and `allowed` are bytes."""

    def __init__(self, what: str, needed: int, allowed: int, errno: int = codes.ENOMEM) -> None:
        self.needed, self.allowed = needed, allowed
        kib = -(-(needed + allowed) // 1024)  # whatever was pinned before is at most `allowed`
        super().__init__(
            what,
            f"{needed} bytes more must be pinned, RLIMIT_MEMLOCK allows {allowed} in all "
            "(with iommufd: of all of this user's processes)",
            f"raise it: 'ulimit -l {kib}', LimitMEMLOCK= in systemd, or grant CAP_IPC_LOCK",
            errno,
        )


class DmaError(VfioError):
    """A mapping was refused."""


class Unsupported(VfioError):
    """The kernel, the device or the peer cannot do this."""


class FewerVectors(Unsupported):
    """The host has fewer interrupt vectors than were asked for; `granted` can be had."""

    def __init__(self, what: str, granted: int, cause: str = "", remedy: str = "") -> None:
        self.granted = granted
        super().__init__(what, cause, remedy, codes.ENOSPC)


class ProtocolError(VfioError):
    """The other side broke the vfio-user protocol."""


class Closed(VfioError):
    """The object was closed, or belongs to the process that forked this one."""


def within_own_request(name: str) -> VfioError:
    """The error for a request of a signal handler in the midst of another one of its thread."""
    return VfioError(
        f"{name} cannot be asked now",
        "a signal handler asks in the midst of another request of its own thread",
        "let the handler take a note, and ask when it has returned",
        codes.EDEADLK,
    )


def system_error(what: str, error: OSError, remedy: str) -> VfioError:
    """The error for a system call that failed; `remedy` where no limit of this process is why."""
    if error.errno == codes.EMFILE:
        remedy = "raise the limit of open files: ulimit -n 4096"
    elif error.errno == codes.ENFILE:
        remedy = "raise the host's limit of open files: sysctl fs.file-max"
    return VfioError(what, str(error.strerror or error), remedy, error.errno or 0)
