# SPDX-License-Identifier: BSD-3-Clause
"""pyvfio's own errors: what happened, the likely cause, what mends it (spec: vfio 9)."""

from __future__ import annotations

import errno as codes


class VfioError(Exception):
    """Base of every error of pyvfio; `errno` is the system's number, 0 where there is none."""

    def __init__(self, what: str, cause: str = "", remedy: str = "", errno: int = 0) -> None:
        self.what, self.cause, self.remedy, self.errno = what, cause, remedy, errno
        text = f"{what}: {cause}" if cause else what
        super().__init__(f"{text}\n  {remedy}" if remedy else text)


class NotFound(VfioError):
    """No such device, node or socket."""


class NotBound(VfioError):
    """The device is not bound to vfio-pci."""


class GroupNotViable(VfioError):
    """A kernel driver holds another device of the IOMMU group; `holders` maps BDF to driver."""

    def __init__(
        self,
        what: str,
        cause: str = "",
        remedy: str = "",
        errno: int = 0,
        holders: dict[str, str] | None = None,
    ) -> None:
        self.holders = holders or {}
        super().__init__(what, cause, remedy, errno)


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


class NoIommu(VfioError):
    """There is no IOMMU, or it cannot isolate interrupts."""


class DmaError(VfioError):
    """A mapping was refused."""


class Unsupported(VfioError):
    """The kernel, the device or the peer cannot do this."""


class DeviceLost(VfioError):
    """The device or its server is gone."""


class ProtocolError(VfioError):
    """The other side broke the vfio-user protocol."""


class Closed(VfioError):
    """The object was closed, or belongs to the process that forked this one."""
