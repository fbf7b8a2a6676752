# SPDX-License-Identifier: BSD-3-Clause
"""Names and kernel drivers of Intel PFs and VFs by PCI device id."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

INTEL = 0x8086
PCI_IDS = ("usr/share/misc/pci.ids", "usr/share/hwdata/pci.ids")


@dataclass(frozen=True)
class Model:
    """What a device id means: a name as lspci shows it, and the kernel's driver for it."""

    name: str
    driver: str


def known(vendor: int, device: int) -> Model | None:
    """The model of an Intel id that iavfio drives, or of a PF that has such VFs."""
    return _intel().get(device) if vendor == INTEL else None


def adaptive_vfs() -> frozenset[int]:
    """Device ids of adaptive VFs, which iavfio drives (docs/spec/registers.md 1)."""
    return frozenset(device for device, model in _intel().items() if model.driver == "iavf")


def _intel() -> dict[int, Model]:
    return {
        0x1889: Model("Ethernet Adaptive Virtual Function", "iavf"),
        0x154C: Model("Ethernet Virtual Function 700 Series", "iavf"),
        0x37CD: Model("Ethernet Virtual Function 700 Series", "iavf"),
        0x1571: Model("Ethernet Virtual Function 700 Series", "iavf"),
        0x1591: Model("Ethernet Controller E810-C for backplane", "ice"),
        0x1592: Model("Ethernet Controller E810-C for QSFP", "ice"),
        0x1593: Model("Ethernet Controller E810-C for SFP", "ice"),
        0x1599: Model("Ethernet Controller E810-XXV for backplane", "ice"),
        0x159A: Model("Ethernet Controller E810-XXV for QSFP", "ice"),
        0x159B: Model("Ethernet Controller E810-XXV for SFP", "ice"),
        0x1572: Model("Ethernet Controller X710 for 10GbE SFP+", "i40e"),
        0x1580: Model("Ethernet Controller XL710 for 40GbE backplane", "i40e"),
        0x1583: Model("Ethernet Controller XL710 for 40GbE QSFP+", "i40e"),
        0x1584: Model("Ethernet Controller XL710 for 40GbE QSFP+", "i40e"),
        0x1589: Model("Ethernet Controller X710/X557-AT 10GBASE-T", "i40e"),
        0x158A: Model("Ethernet Controller XXV710 for 25GbE backplane", "i40e"),
        0x158B: Model("Ethernet Controller XXV710 for 25GbE SFP28", "i40e"),
        0x15FF: Model("Ethernet Controller X710 for 10GBASE-T", "i40e"),
        0x37CE: Model("Ethernet Connection X722 for 10GbE backplane", "i40e"),
        0x37D0: Model("Ethernet Connection X722 for 10GbE SFP+", "i40e"),
        0x37D1: Model("Ethernet Connection X722 for 1GbE", "i40e"),
        0x37D2: Model("Ethernet Connection X722 for 10GBASE-T", "i40e"),
        0x10C9: Model("82576 Gigabit Network Connection", "igb"),
        0x10CA: Model("82576 Virtual Function", "igbvf"),
    }


def listed(root: Path, vendor: int, device: int) -> str:
    """The device's name in the system's pci.ids, "" if there is no such file or entry."""
    for place in PCI_IDS:
        path = root / place
        if not path.exists():
            continue
        ours = False
        with path.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                if line[0] not in "\t#\n":
                    if ours:
                        return ""
                    ours = line.startswith(f"{vendor:04x} ")
                elif ours and line.startswith(f"\t{device:04x} "):
                    return line[5:].strip()
    return ""
