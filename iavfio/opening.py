# SPDX-License-Identifier: BSD-3-Clause
"""From a target's name to an open port.

The driver's modules are imported at the first opening, while a private software VF starts in
parallel: both take a tenth of a second.
"""

from __future__ import annotations

import operator
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, SupportsIndex

from iavfio import resources
from iavfio.arguments import Flag, Instance, Text, known_keywords, nearest, shown, wrong_type
from iavfio.errors import ConfigError
from iavfio.exhaustion import exhaustion
from iavfio.ranges import PERMISSIONS

if TYPE_CHECKING:
    from iavfio.datapath.pool import Pool
    from iavfio.port.port import Port
    from iavfio.pyvfio.opening import Mode
    from iavfio.softvf.launch import SoftPf

PORT_NAME = Text("the name of a port", "name='uplink'")
SOFTVF, SOCKET = "softvf", "vfio-user:"
READ_ONLY = 0o644  # what the mode of a segment may grant at most; its owner reads it


@known_keywords
def open_port(
    target: str,
    *,
    name: str | None = None,
    pool: Pool | None = None,
    mode: Mode = "auto",
    unsafe_noiommu: bool = False,
    vf_token: str | None = None,
    stats_mode: int = 0o600,
    release_on_request: bool = False,
) -> Port:
    """Opens a VF and negotiates with its PF; queues come with `configure` and `start`.

    `target`: "softvf" (a private software VF with its wire looped back), a PCI address
    ("0000:3b:02.0"), "vfio-user:/path/of/socket", or "PCIDEVICE_RESOURCE[:index]" as the Kubernetes
    device plugin sets it. `name`: of the port for `iavfio stats`, default from the target
    (a socket's base name gets a number when it is taken). `pool`:
    default the process's own. `mode`, `unsafe_noiommu`, `vf_token`: see iavfio.pyvfio.open; the
    token's default is the one in PCIDEVICE_RESOURCE_INFO. They are of PCI devices, and refused for
    others. `stats_mode`: permissions of the stats segment, 0o400 to 0o644. `release_on_request`:
    close the port when the host wants the VF back. Raises IavfioError with cause and remedy.
    """
    target = _target(target)
    resource = resources.find(target)
    if resource is not None:
        target = resource.address
        vf_token = resource.token if vf_token is None else vf_token
    _check_target(target)
    if name is not None:
        from iavfio.stats.runtime import check_name

        check_name(PORT_NAME("name", name))
    permissions = _permissions(stats_mode)
    Flag()("unsafe_noiommu", unsafe_noiommu)
    Flag()("release_on_request", release_on_request)
    if not is_pci(target) and (mode, unsafe_noiommu, vf_token) != ("auto", False, None):
        from iavfio.pyvfio.opening import check_arguments

        check_arguments(False, mode, unsafe_noiommu, vf_token)
    starting = None
    private: SoftPf | None = None
    device = None
    try:
        if target == SOFTVF:
            from iavfio.softvf.launch import begin

            starting = begin(vfs=1, uplink="loopback")
        from iavfio import pyvfio
        from iavfio.datapath.pool import Pool, default_pool
        from iavfio.port.bounds import OPEN
        from iavfio.port.port import Port
        from iavfio.pyvfio.opening import normal_bdf
        from iavfio.virtchnl.deadline import Deadline

        if pool is not None:
            Instance(Pool, "pool=iavfio.Pool(buffers=8192)")("pool", pool)
        device_target = target
        if starting is not None:
            pool = pool if pool is not None else default_pool()
            waiting, starting = starting, None
            private = waiting.ready()
            device_target = private.sockets[0]
        deadline = Deadline(OPEN)
        device = pyvfio.open(
            device_target, mode=mode, unsafe_noiommu=unsafe_noiommu, vf_token=vf_token
        )
        port = Port(
            device,
            name=_default_name(target, device_target) if name is None else name,
            numbered=name is None and normal_bdf(target) is None,
            pool=pool
            if pool is not None
            else default_pool(device.numa_node, contiguous=device.space.physical),
            stats_mode=permissions,
            release_on_request=release_on_request,
            within=deadline.left,
        )
    except BaseException as error:
        if device is not None:
            from iavfio.port.bounds import give_back

            give_back(device, error)
            device.close()
        if private is not None:
            private.close()
        if starting is not None:
            starting.abandon()
        limit = exhaustion(error)
        if limit is not None:
            raise limit from error
        raise
    if private is not None:
        port.own(private)
    return port


def _permissions(mode: object) -> int:
    """The mode of a segment, which its owner can read and others cannot write or execute.

    Decimal digits that look octal get their "0o" in the error.
    """
    if isinstance(mode, bool) or not isinstance(mode, SupportsIndex):
        return PERMISSIONS("stats_mode", mode)  # raises: it is no number
    number = operator.index(mode)
    if number & 0o400 and not number & ~READ_ONLY:
        return number
    digits = str(number)
    octal = int(digits, 8) if re.fullmatch("[0-7]{3}", digits) else 0
    fits = octal & 0o400 and not octal & ~READ_ONLY
    raise ConfigError(
        f"stats_mode={shown(number)} is not possible",
        f"{number} is the mode {number:#o}, and one of a segment is 0o400 to 0o644: its owner "
        "reads it, group and others read it or do nothing"
        if 0 <= number <= PERMISSIONS.high
        else "it can be 0o400 to 0o644: others read a segment at most, and its owner reads it",
        f"write stats_mode=0o{digits}" if fits else "as in stats_mode=0o640",
    )


def is_pci(target: str) -> bool:
    """Whether the kernel's VFIO opens a target: it is no software VF and no socket."""
    return target != SOFTVF and not target.startswith(SOCKET)


def _check_target(target: str) -> None:
    """Raises UnknownDevice for a word that names no VF, with the nearest that does."""
    if not is_pci(target):
        return
    from iavfio.pyvfio.errors import UnknownDevice
    from iavfio.pyvfio.opening import normal_bdf

    if normal_bdf(target) is not None:
        return
    near = SOFTVF if nearest(target, [SOFTVF]) else ""
    if "/" in target:
        near = SOCKET + target[target.index("/") :]
    raise UnknownDevice(
        f"{shown(target)} names no device",
        "a VF is softvf, a PCI address, vfio-user:/path/of/socket, or PCIDEVICE_RESOURCE",
        f"did you mean {shown(near)}?"
        if near
        else "use 'softvf' for a software VF, or an address as in 'iavfio list' (0000:3b:02.0)",
    )


def _target(target: object) -> str:
    """The text that names a VF. Raises ConfigError for anything else."""
    if isinstance(target, str):
        return target
    hint = f"as in 'vfio-user:{target}'" if isinstance(target, os.PathLike) else "as in 'softvf'"
    raise wrong_type("target", target, "the name of a VF", hint)


def _default_name(target: str, device_target: str) -> str:
    """BDF, or base name of the socket."""
    from iavfio.pyvfio.opening import USER, normal_bdf
    from iavfio.stats.runtime import NAME

    bdf = normal_bdf(target)
    if bdf is not None:
        return bdf
    base = SOFTVF if target == SOFTVF else Path(device_target.removeprefix(USER)).stem
    return base if NAME.fullmatch(base) else "port"
