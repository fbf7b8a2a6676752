# SPDX-License-Identifier: BSD-3-Clause
"""The PF that a user names: by PCI address, interface, or the directory of a software PF."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from iavfio.errors import ConfigError
from iavfio.host import Kernel, Tree, read, resolve
from iavfio.vfs.kernel_pf import KernelPf
from iavfio.vfs.netlink import Netlink
from iavfio.vfs.pf import Pf
from iavfio.vfs.software_pf import CONTROL, SoftwarePf


def find(
    tree: Tree,
    written: str,
    kernel: Kernel,
    netlink: Callable[[str], Netlink] = Netlink,
    *,
    force: bool = False,
) -> Pf:
    """The PF. Raises ConfigError for what is none: it says what the name stands for instead."""
    path = Path(written.removeprefix("vfio-user:"))
    if "/" in written or path.is_dir() or path.is_socket():
        return _software(path, tree)
    function = read(tree, resolve(tree, written))
    if function.physfn:
        raise ConfigError(
            f"{function.bdf} is VF {function.vf_index} of the PF {function.physfn}",
            "VFs are set up on their PF",
            f"use: iavfio vf {function.physfn}",
        )
    if not function.is_pf:
        raise ConfigError(
            f"{function.bdf} is no PF with SR-IOV",
            "it is a VF whose PF is not visible here, as in a guest"
            if function.is_vf
            else f"it is {function.name or 'a device'} with driver {function.driver or 'none'}",
            "list the PFs with: iavfio list",
        )
    return KernelPf(tree, function, kernel, netlink, force)


def _software(path: Path, tree: Tree) -> SoftwarePf:
    socket = not path.is_dir() and (path.exists() or (path.parent / CONTROL).is_socket())
    directory = path.parent if socket else path
    if not (directory / CONTROL).is_socket():
        raise ConfigError(
            f"no software PF serves {directory}",
            f"there is no {CONTROL} in it" if directory.is_dir() else "there is no such directory",
            "start one with: iavfio softvf --socket DIR; a card's PF is named by its address",
        )
    return SoftwarePf(directory, tree)
