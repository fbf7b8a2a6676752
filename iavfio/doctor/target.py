# SPDX-License-Identifier: BSD-3-Clause
"""What a user names to doctor: a function by address or interface, a running port, or all."""

from __future__ import annotations

from iavfio.doctor.host import Host
from iavfio.errors import ConfigError
from iavfio.host import read, resolve
from iavfio.host.address import normal
from iavfio.host.errors import BadAddress
from iavfio.resources import resolved
from iavfio.stats import known_ports
from iavfio.stats import read as read_port


def find(host: Host, target: str | None) -> tuple[Host, list[str] | None]:
    """The host as it is looked at, and the functions; None for all VFs that vfio-pci has.

    A port of a software VF has no function: the host alone is looked at. Raises ConfigError for a
    word that names nothing, or a function that is no NIC.
    """
    if target is None:
        return host, None
    host.named = True
    target = resolved(target)
    if target.rpartition("/")[2] in known_ports() and not target.startswith("/"):
        return _port(host, target)
    try:
        bdf = resolve(host.tree, target)
    except BadAddress as wrong:
        ports = ", ".join(name for name in known_ports() if read_port(name).alive)
        raise ConfigError(
            f"{target!r} is neither a PCI address, nor an interface of a PCI device, nor a port",
            f"ports that run: {ports}" if ports else "no port is running",
            wrong.remedy,
        ) from wrong
    function = read(host.tree, bdf)
    if not function.is_nic:
        raise ConfigError(
            f"{bdf} is not a network controller (class {function.class_code:06x})",
            f"driver {function.driver} has it" if function.driver else "",
            "list the NICs with: iavfio list",
        )
    return host, [bdf]


def _port(host: Host, target: str) -> tuple[Host, list[str]]:
    snapshot = read_port(target)
    if snapshot.alive:
        host.process = str(snapshot.pid)
    bdf = normal(snapshot.device)
    host.uses_vfio = bdf is not None
    return host, [bdf] if bdf and (host.tree.devices / bdf).exists() else []
