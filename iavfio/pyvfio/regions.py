# SPDX-License-Identifier: BSD-3-Clause
"""Structures that the kernel and vfio-user share (docs/spec/vfio.md 4-6)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from iavfio.pyvfio.device import Area, DeviceInfo, IrqInfo, RegionInfo
from iavfio.pyvfio.errors import ProtocolError

REGION = struct.Struct("<IIIIQQ")  # argsz, flags, index, cap_offset, size, offset
IRQ = struct.Struct("<IIII")  # argsz, flags, index, count
IRQ_SET = struct.Struct("<IIIII")  # argsz, flags, index, start, count
INFO = struct.Struct("<IIII")  # argsz, flags, num_regions, num_irqs

REGION_READ, REGION_WRITE, REGION_MMAP, REGION_CAPS = 1, 2, 4, 8
CAP_SPARSE_MMAP = 1
SET_DATA_NONE, SET_DATA_EVENTFD, SET_ACTION_TRIGGER = 1, 4, 0x20


def capabilities(data: bytes, start: int, fixed: int) -> Iterator[tuple[int, int, int]]:
    """Walks a capability chain: (id, version, offset of the content). Bounded and checked."""
    seen = 0
    while start:
        if start < fixed or start + 8 > len(data) or seen >= 64:
            raise ProtocolError("a capability chain leaves its structure or never ends")
        kind, version, following = struct.unpack_from("<HHI", data, start)
        yield kind, version, start + 8
        start = following
        seen += 1


def decode_info(data: bytes) -> DeviceInfo:
    """vfio_device_info."""
    _, flags, regions, irqs = INFO.unpack_from(data)
    return DeviceInfo(resettable=bool(flags & 1), num_regions=regions, num_irqs=irqs)


def decode_region(data: bytes) -> RegionInfo:
    """vfio_region_info with its capabilities; an area outside the region is a protocol error."""
    _, flags, index, cap_offset, size, offset = REGION.unpack_from(data)
    mappable = bool(flags & REGION_MMAP) and size > 0
    areas: tuple[Area, ...] = (Area(0, size),) if mappable else ()
    if flags & REGION_CAPS and cap_offset:
        for kind, _, at in capabilities(data, cap_offset, REGION.size):
            if kind == CAP_SPARSE_MMAP and mappable:
                areas = _sparse(data, at)
    for area in areas:
        if area.offset + area.size > size or area.offset % 4096:
            raise ProtocolError(f"region {index}: a mappable area lies outside of it")
    return RegionInfo(
        index=index,
        size=size,
        offset=offset,
        readable=bool(flags & REGION_READ),
        writable=bool(flags & REGION_WRITE),
        mappable=mappable,
        areas=areas,
    )


def _sparse(data: bytes, at: int) -> tuple[Area, ...]:
    if at + 8 > len(data):
        raise ProtocolError("a sparse-mmap capability is cut short")
    (count,) = struct.unpack_from("<I", data, at)
    if at + 8 + 16 * count > len(data):
        raise ProtocolError("a sparse-mmap capability is cut short")
    pairs = (struct.unpack_from("<QQ", data, at + 8 + 16 * i) for i in range(count))
    return tuple(Area(offset, size) for offset, size in pairs if size)


def decode_irq(data: bytes) -> IrqInfo:
    """vfio_irq_info."""
    _, flags, index, count = IRQ.unpack_from(data)
    return IrqInfo(
        index=index,
        count=count,
        eventfd=bool(flags & 1),
        maskable=bool(flags & 2),
        automasked=bool(flags & 4),
        noresize=bool(flags & 8),
    )
