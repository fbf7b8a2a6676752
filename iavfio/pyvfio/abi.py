# SPDX-License-Identifier: BSD-3-Clause
"""Numbers and structures of the kernel's VFIO and iommufd interfaces (docs/spec/vfio.md 2-8)."""

from __future__ import annotations

import struct

_BASE = 0x3B00  # type ';', no size bits

GET_API_VERSION = _BASE + 100
CHECK_EXTENSION = _BASE + 101
SET_IOMMU = _BASE + 102
GROUP_GET_STATUS = _BASE + 103
GROUP_SET_CONTAINER = _BASE + 104
GROUP_UNSET_CONTAINER = _BASE + 105
GROUP_GET_DEVICE_FD = _BASE + 106
DEVICE_GET_INFO = _BASE + 107
DEVICE_GET_REGION_INFO = _BASE + 108
DEVICE_GET_IRQ_INFO = _BASE + 109
DEVICE_SET_IRQS = _BASE + 110
DEVICE_RESET = _BASE + 111
IOMMU_GET_INFO = _BASE + 112
IOMMU_MAP_DMA = _BASE + 113
IOMMU_UNMAP_DMA = _BASE + 114
DEVICE_BIND_IOMMUFD = _BASE + 118
DEVICE_ATTACH_IOMMUFD_PT = _BASE + 119

IOMMU_DESTROY = _BASE + 0x80
IOMMU_IOAS_ALLOC = _BASE + 0x81
IOMMU_IOAS_IOVA_RANGES = _BASE + 0x84
IOMMU_IOAS_MAP = _BASE + 0x85
IOMMU_IOAS_UNMAP = _BASE + 0x86

TYPE1V2_IOMMU = 3
NOIOMMU_IOMMU = 8
GROUP_VIABLE = 1
CAP_IOVA_RANGE = 1
CAP_DMA_AVAIL = 3
DMA_READ, DMA_WRITE = 1, 2
IOAS_FIXED, IOAS_WRITEABLE, IOAS_READABLE = 1, 2, 4
BIND_TOKEN = 1

GROUP_STATUS = struct.Struct("<II")  # argsz, flags
TYPE1_INFO = struct.Struct("<IIQII")  # argsz, flags, iova_pgsizes, cap_offset, pad
MAP_DMA = struct.Struct("<IIQQQ")  # argsz, flags, vaddr, iova, size
UNMAP_DMA = struct.Struct("<IIQQ")  # argsz, flags, iova, size
DEVICE_INFO = struct.Struct("<IIIIII")  # argsz, flags, regions, irqs, cap_offset, pad
BIND = struct.Struct("<IIiI")  # argsz, flags, iommufd, out_devid
BIND_WITH_TOKEN = struct.Struct("<IIiIQ")  # ..., token_uuid_ptr
ATTACH = struct.Struct("<III")  # argsz, flags, pt_id
IOAS_ALLOC = struct.Struct("<III")  # size, flags, out_ioas_id
IOVA_RANGES = struct.Struct("<IIIIQQ")  # size, ioas_id, num, reserved, ptr, out_alignment
IOAS_MAP = struct.Struct("<IIIIQQQ")  # size, flags, ioas_id, reserved, user_va, length, iova
IOAS_UNMAP = struct.Struct("<IIQQ")  # size, ioas_id, iova, length
