# SPDX-License-Identifier: BSD-3-Clause
"""Errors of opening that group and cdev have in common (docs/spec/vfio.md 9)."""

from __future__ import annotations

from iavfio.errors import Remedy
from iavfio.pyvfio import sysfs
from iavfio.pyvfio.errors import Busy, GroupNotViable, PermissionDenied
from iavfio.pyvfio.kernel import Kernel

BY_GROUP = Remedy("use mode='group'", "use --vfio-mode group")
BY_CDEV = Remedy("use mode='cdev'", "use --vfio-mode cdev")


def or_by_group(remedy: str) -> Remedy:
    """A remedy, and opening the device by its group as another."""
    return Remedy(f"{remedy}; or {BY_GROUP}", f"{remedy}; or {BY_GROUP.command}")


def not_viable(
    kernel: Kernel, number: str, bdf: str, code: int, unknown_holder: str
) -> GroupNotViable:
    """Names who holds the group's other devices; `unknown_holder` where sysfs shows nobody."""
    held = sysfs.holders(kernel, number)
    holders = ", ".join(f"{member} by {name}" for member, name in held.items())
    return GroupNotViable(
        f"IOMMU group {number} of {bdf} is not viable",
        f"other devices of it are held: {holders}" if holders else unknown_holder,
        f"bind or unbind all of the group: iavfio bind {' '.join(held) or bdf}",
        code,
        held,
    )


def token_denied(bdf: str, token: str | None, code: int) -> PermissionDenied:
    """No VF token, or a wrong one."""
    return PermissionDenied(
        f"{bdf} needs a VF token" if not token else f"the VF token for {bdf} is wrong",
        "its PF is owned by a vfio-pci user, who set one",
        Remedy(
            "pass vf_token=UUID as the PF's owner set it",
            "pass --vf-token UUID as the PF's owner set it",
        ),
        code,
    )


def not_free(bdf: str, code: int) -> Busy:
    """A reset is under way."""
    return Busy(f"{bdf} is not free yet", "the host is resetting it", "try again in a moment", code)
