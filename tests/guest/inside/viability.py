# SPDX-License-Identifier: BSD-3-Clause
"""Two devices of one IOMMU group, one of them held by the kernel: MODE BDF OTHER DRIVER."""

from __future__ import annotations

import sys
from typing import Any, cast

from iavfio import pyvfio
from iavfio.pyvfio.opening import Mode
from tests.guest.inside.facts import bind, caught, collect, group_of


def held(mode: Mode, bdf: str, other: str, driver: str) -> dict[str, Any]:
    """The other member is the kernel's: refused, and the error names the holder."""
    bind(other, driver)
    bind(bdf, "vfio-pci")
    return {
        "groups": [group_of(bdf), group_of(other)],
        **caught(lambda: pyvfio.open(bdf, mode=mode).close()),
    }


def freed(mode: Mode, bdf: str, other: str) -> dict[str, Any]:
    """Bound to vfio-pci as well, both open, and share one address space."""
    bind(other, "vfio-pci")
    with (
        pyvfio.open(bdf, mode=mode) as first,
        pyvfio.open(other, mode=mode, space=first.space) as second,
    ):
        iova = first.space.map(pyvfio.DmaMemory.allocate(4096, huge="never"))
        return {"shared": second.space is first.space, "iova": iova}


def unowned(mode: Mode, bdf: str, other: str) -> dict[str, Any]:
    """A member without any driver does no harm."""
    bind(other, "")
    with pyvfio.open(bdf, mode=mode) as device:
        return {"transport": device.transport}


if __name__ == "__main__":
    way, one, two, native = cast(Mode, sys.argv[1]), *sys.argv[2:5]
    collect("held", lambda: held(way, one, two, native))
    collect("freed", lambda: freed(way, one, two))
    collect("unowned", lambda: unowned(way, one, two))
