# SPDX-License-Identifier: BSD-3-Clause
"""Which kind of VF a device is, and what follows from that alone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.pyvfio import Device

VENDOR: int = lib.PCI_VENDOR_INTEL
FAMILIES: dict[int, str] = {
    lib.PCI_DEVICE_E810_VF: "E810",
    lib.PCI_DEVICE_X710_VF: "X710",
    lib.PCI_DEVICE_X722_VF: "X722",
    lib.PCI_DEVICE_X710_VF_HV: "X710",
    lib.PCI_DEVICE_X722_A0_VF: "X722",
}


@dataclass(frozen=True)
class Identity:
    """What the device says it is."""

    vendor: int
    device: int
    revision: int

    @property
    def family(self) -> str:
        """E810, X710 or X722."""
        return FAMILIES[self.device]

    @classmethod
    def of(cls, device: Device) -> Identity:
        """Reads it. Raises ConfigError when the device is not an Intel adaptive VF."""
        config = device.config
        found = cls(config.vendor, config.device, config.revision)
        if found.vendor != VENDOR or found.device not in FAMILIES:
            raise ConfigError(
                f"{device.name} is not an Intel adaptive VF",
                f"it is a {found.vendor:04x}:{found.device:04x}, class {config.class_code:06x}",
                "iavfio drives 8086:1889, 154c and 37cd; see 'iavfio list'",
            )
        return found

    @property
    def max_ring(self) -> int:
        """Descriptors of the largest ring (docs/spec/descriptors.md 10)."""
        return int(lib.RING_MAX if self.family == "E810" else lib.RING_MAX_X710)


def own_mac(name: str) -> bytes:
    """A locally administered address for a VF whose PF gives none; the same at every open."""
    return b"\x02" + hashlib.sha256(name.encode()).digest()[:5]
