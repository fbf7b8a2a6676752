# SPDX-License-Identifier: BSD-3-Clause
"""Preparing a host: finding PFs and VFs, binding VFs to vfio-pci and giving them back."""

from iavfio.host.address import resolve
from iavfio.host.binding import Bound, bind
from iavfio.host.changes import Writer
from iavfio.host.functions import Function, discover, read
from iavfio.host.sysfs import Kernel, LinuxKernel, Tree
from iavfio.host.unbinding import Unbound, recorded, unbind

__all__ = [
    "Bound",
    "Function",
    "Kernel",
    "LinuxKernel",
    "Tree",
    "Unbound",
    "Writer",
    "bind",
    "discover",
    "read",
    "recorded",
    "resolve",
    "unbind",
]
