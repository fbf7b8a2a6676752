# SPDX-License-Identifier: BSD-3-Clause
"""pyvfio: any PCI device over VFIO, from Python.

Three transports under one contract: the kernel's cdev+iommufd, the kernel's group+container, and
vfio-user sockets. It knows nothing of network cards, and imports of iavfio's other
modules the root of errors only (docs/adr/0007).
"""

from iavfio.pyvfio.bar import Bar
from iavfio.pyvfio.device import Area, ConfigSpace, Device, DeviceInfo, IrqInfo, RegionInfo
from iavfio.pyvfio.errors import (
    BadArgument,
    Busy,
    Closed,
    DeviceLost,
    DmaError,
    FewerVectors,
    GroupNotViable,
    MemlockExceeded,
    NoIommu,
    NotBound,
    NotFound,
    PermissionDenied,
    ProtocolError,
    UnknownDevice,
    Unsupported,
    VfioError,
)
from iavfio.pyvfio.kernel import Kernel, RealKernel
from iavfio.pyvfio.memory import DmaMemory
from iavfio.pyvfio.opening import normal_bdf
from iavfio.pyvfio.opening import open_device as open
from iavfio.pyvfio.physical import allocate_contiguous
from iavfio.pyvfio.space import AddressSpace, IovaRange, Mapping

__all__ = [
    "AddressSpace",
    "Area",
    "BadArgument",
    "Bar",
    "Busy",
    "Closed",
    "ConfigSpace",
    "Device",
    "DeviceInfo",
    "DeviceLost",
    "DmaError",
    "DmaMemory",
    "FewerVectors",
    "GroupNotViable",
    "IovaRange",
    "IrqInfo",
    "Kernel",
    "Mapping",
    "MemlockExceeded",
    "NoIommu",
    "NotBound",
    "NotFound",
    "PermissionDenied",
    "ProtocolError",
    "RealKernel",
    "RegionInfo",
    "UnknownDevice",
    "Unsupported",
    "VfioError",
    "allocate_contiguous",
    "normal_bdf",
    "open",
]
