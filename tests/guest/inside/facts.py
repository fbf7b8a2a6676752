# SPDX-License-Identifier: BSD-3-Clause
"""What scripts inside a guest have in common: facts as JSON lines, drivers by sysfs."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

PCI = Path("/sys/bus/pci")


def report(name: str, **facts: Any) -> None:
    """One JSON line, which the host's test reads."""
    print(json.dumps({"fact": name, **facts}), flush=True)


def collect(name: str, check: Callable[[], dict[str, Any]]) -> None:
    """Reports what `check` found; an exception becomes the fact "failed", the others still run."""
    try:
        facts = check()
    except Exception as error:
        last = traceback.format_exc().splitlines()[-6:]
        facts = {"failed": f"{type(error).__name__}: {error}", "where": last}
    report(name, **facts)


def caught(action: Callable[[], Any]) -> dict[str, Any]:
    """The pyvfio error that `action` must raise: its type, its words, its fields."""
    from iavfio.pyvfio import Device, VfioError

    try:
        result = action()
    except VfioError as error:
        fields = {k: v for k, v in vars(error).items() if isinstance(v, int | str | dict)}
        return {"error": type(error).__name__, "text": str(error), **fields}
    if isinstance(result, Device):  # or the next check would find it busy
        result.close()
    return {"error": None, "text": f"nothing was raised: {result!r}"}


def bind(bdf: str, driver: str) -> None:
    """Gives a device to a driver; "" takes it from the one it has (docs/spec/vfio.md 1)."""
    device = PCI / "devices" / bdf
    if (device / "driver").exists():
        (device / "driver" / "unbind").write_text(bdf)
    (device / "driver_override").write_text(f"{driver}\n")
    if driver:
        (PCI / "drivers_probe").write_text(bdf)
        bound = (device / "driver").resolve().name
        if bound != driver:
            raise RuntimeError(f"{bdf} went to {bound}, not to {driver}")


def group_of(bdf: str) -> str:
    """IOMMU group number."""
    return (PCI / "devices" / bdf / "iommu_group").resolve().name


def group_node(bdf: str) -> Path:
    """The group's node under /dev/vfio."""
    number = group_of(bdf)
    plain = Path("/dev/vfio") / number
    return plain if plain.exists() else Path("/dev/vfio") / f"noiommu-{number}"


def device_node(bdf: str) -> Path | None:
    """The device's own node under /dev/vfio/devices, None where the kernel has none."""
    entries = list((PCI / "devices" / bdf).glob("vfio-dev/*"))
    return Path("/dev/vfio/devices") / entries[0].name if entries else None
