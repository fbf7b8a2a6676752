# SPDX-License-Identifier: BSD-3-Clause
"""iavfio: Intel adaptive VFs in user space, over VFIO, from Python at the speed of C.

Names are imported at first use, so that the command line and the software VF start fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {  # name -> (module, attribute)
    "open": ("iavfio.opening", "open_port"),
    "Port": ("iavfio.port.port", "Port"),
    "Burst": ("iavfio.datapath.burst", "Burst"),
    "Selection": ("iavfio.datapath.burst", "Selection"),
    "Pool": ("iavfio.datapath.pool", "Pool"),
    "Rss": ("iavfio.port.rss", "Rss"),
    "Stats": ("iavfio.stats", "PortStats"),
    "Snapshot": ("iavfio.stats", "Snapshot"),
    "Worker": ("iavfio.datapath.worker", "Worker"),
    "Lane": ("iavfio.datapath.worker", "Lane"),
    "handler": ("iavfio.handlers.handler", "handler"),
    "IavfioError": ("iavfio.errors", "IavfioError"),
    "ConfigError": ("iavfio.errors", "ConfigError"),
    "StateError": ("iavfio.errors", "StateError"),
    "DeviceError": ("iavfio.errors", "DeviceError"),
    "DeviceLost": ("iavfio.errors", "DeviceLost"),
    "MailboxError": ("iavfio.errors", "MailboxError"),
    "PfRefused": ("iavfio.errors", "PfRefused"),
    "ResetError": ("iavfio.errors", "ResetError"),
    "VfioError": ("iavfio.errors", "VfioError"),
}
__all__ = [
    "Burst",
    "ConfigError",
    "DeviceError",
    "DeviceLost",
    "IavfioError",
    "Lane",
    "MailboxError",
    "PfRefused",
    "Pool",
    "Port",
    "ResetError",
    "Rss",
    "Selection",
    "Snapshot",
    "StateError",
    "Stats",
    "VfioError",
    "Worker",
    "__version__",
    "faults",
    "handler",
    "open",
    "softvf",
]

if TYPE_CHECKING:
    from iavfio import faults
    from iavfio.datapath.burst import Burst, Selection
    from iavfio.datapath.pool import Pool
    from iavfio.datapath.worker import Lane, Worker
    from iavfio.errors import (
        ConfigError,
        DeviceError,
        DeviceLost,
        IavfioError,
        MailboxError,
        PfRefused,
        ResetError,
        StateError,
        VfioError,
    )
    from iavfio.handlers.handler import handler
    from iavfio.opening import open_port as open
    from iavfio.port.port import Port
    from iavfio.port.rss import Rss
    from iavfio.softvf.launch import softvf
    from iavfio.stats import PortStats as Stats
    from iavfio.stats import Snapshot


def __getattr__(name: str) -> Any:
    if name in ("faults", "softvf"):  # modules; the second can be called: iavfio.softvf(vfs=2)
        return import_module(f"iavfio.{name}")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'iavfio' has no attribute {name!r}")
    module, attribute = _PUBLIC[name]
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return sorted(__all__)
