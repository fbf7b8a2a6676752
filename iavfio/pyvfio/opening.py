# SPDX-License-Identifier: BSD-3-Clause
"""Choosing a transport for a target."""

from __future__ import annotations

import re
import uuid
from typing import Literal

from iavfio.errors import Remedy
from iavfio.pyvfio import sysfs
from iavfio.pyvfio.cdev import CdevDevice, Ioas
from iavfio.pyvfio.container import Container
from iavfio.pyvfio.device import Device
from iavfio.pyvfio.errors import (
    BadArgument,
    NotFound,
    PermissionDenied,
    UnknownDevice,
    Unsupported,
    VfioError,
)
from iavfio.pyvfio.group import GroupDevice
from iavfio.pyvfio.kernel import Kernel, RealKernel
from iavfio.pyvfio.log import log
from iavfio.pyvfio.open_errors import BY_GROUP
from iavfio.pyvfio.space import AddressSpace
from iavfio.pyvfio.user import UserDevice

Mode = Literal["auto", "cdev", "group", "noiommu"]
MODES: tuple[Mode, ...] = ("auto", "cdev", "group", "noiommu")
BDF = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})\.([0-7])")
USER = "vfio-user:"
KERNEL_ONLY = "a PCI device, and none is named"  # what arguments are of that only VFIO needs


def normal_bdf(text: str) -> str | None:
    """`text` as a full PCI address in lower case ("3b:02.0" means domain 0), None if it is none."""
    match = BDF.fullmatch(text)
    if match is None:
        return None
    domain, bus, slot, function = match.groups()
    return f"{domain or '0000'}:{bus}:{slot}.{function}".lower()


def open_device(
    target: str,
    *,
    mode: Mode = "auto",
    space: AddressSpace | None = None,
    unsafe_noiommu: bool = False,
    kernel: Kernel | None = None,
    vf_token: str | None = None,
) -> Device:
    """Opens a PCI device: "0000:3b:02.0" through the kernel, "vfio-user:/path" behind a socket.

    `mode` "auto" takes cdev+iommufd when the kernel has it for this device, else the group;
    noiommu only when `unsafe_noiommu` says so. `space` lets several kernel devices share mappings.
    Opening resets the device. Raises VfioError with cause and remedy.
    """
    bdf = normal_bdf(target) if isinstance(target, str) else None
    is_socket = isinstance(target, str) and target.startswith(USER)
    if bdf is None and not is_socket:
        raise UnknownDevice(
            f"{target!r} names no device",
            "it is neither a PCI address nor a vfio-user socket",
            "use an address as in 'iavfio list' (0000:3b:02.0) or vfio-user:/path/of/socket",
        )
    vf_token = check_arguments(bdf is not None, mode, unsafe_noiommu, vf_token, space)
    if bdf is None:
        return _opened(UserDevice(target.removeprefix(USER)))
    real = kernel if kernel is not None else RealKernel()
    sysfs.require_bound(real, bdf)
    if mode == "noiommu" and not unsafe_noiommu:
        raise Unsupported(
            f"{bdf} will not be opened without an IOMMU",
            "its DMA could reach all memory of this host",
            Remedy(
                "knowing the risk, pass unsafe_noiommu=True",
                "knowing the risk, use --unsafe-noiommu",
            ),
        )
    if mode == "auto" and (unsafe_noiommu or isinstance(space, Container)):
        mode = "group"
    elif mode == "auto" and isinstance(space, Ioas):
        mode = "cdev"
    node = None if mode in ("group", "noiommu") else sysfs.cdev(real, bdf)
    if mode == "cdev" and node is None:
        raise Unsupported(
            f"{bdf} has no VFIO character device",
            "the kernel lacks CONFIG_VFIO_DEVICE_CDEV (6.6 and newer)",
            BY_GROUP,
        )
    if node is not None and (mode == "cdev" or real.exists("/dev/iommu")):
        try:
            return _opened(CdevDevice(real, bdf, node, space=space, token=vf_token))
        except (NotFound, PermissionDenied) as error:
            if mode == "cdev":
                raise
            try:
                return _opened(GroupDevice(real, bdf, token=vf_token))
            except VfioError:
                raise error from None
    return _opened(
        GroupDevice(real, bdf, space=space, token=vf_token, unsafe_noiommu=unsafe_noiommu)
    )


def check_arguments(
    pci: bool,
    mode: object,
    unsafe_noiommu: bool = False,
    vf_token: str | None = None,
    space: AddressSpace | None = None,
) -> str | None:
    """The VF token in its usual form, None without one.

    Raises BadArgument for a mode or token that cannot be, and for an argument that has no effect:
    all four are of devices that the kernel's VFIO opens, `pci`, and not of sockets.
    """
    if mode not in MODES:
        raise BadArgument(f"there is no mode {mode!r}", "", f"choose of {', '.join(MODES)}")
    if vf_token is not None:
        try:
            vf_token = str(uuid.UUID(vf_token))
        except (ValueError, TypeError, AttributeError) as error:
            raise BadArgument(
                f"{vf_token!r} is no VF token",
                "a token is a UUID",
                "pass it as xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx",
            ) from error
    for name, given in (
        ("mode", mode != "auto"),
        ("unsafe_noiommu", unsafe_noiommu),
        ("vf_token", vf_token is not None),
        ("space", space is not None),
    ):
        if given and not pci:
            raise BadArgument(f"{name} is of {KERNEL_ONLY}", "", f"leave {name} out")
    return vf_token


def _opened(device: Device) -> Device:
    log.info("%s: opened by %s", device.name, device.transport)
    if device.transport == "noiommu":
        log.warning("%s: without an IOMMU its DMA can reach all memory of this host", device.name)
    return device
