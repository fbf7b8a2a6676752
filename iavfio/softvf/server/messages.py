# SPDX-License-Identifier: BSD-3-Clause
"""vfio-user messages as the server sees them: numbers, layouts, refusals.

The protocol is described in docs/spec/vfio-user.md 1, 2, 3, 4.
"""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from iavfio.softvf._device import lib

HEADER = struct.Struct("<HHIII")  # msg_id, command, msg_size, flags, error_no
VERSION = struct.Struct("<HH")  # major, minor
DMA_MAP = struct.Struct("<IIQQQ")  # argsz, flags, offset in the fd, address, size
DMA_UNMAP = struct.Struct("<IIQQ")  # argsz, flags, address, size
DEVICE_INFO = struct.Struct("<IIII")  # argsz, flags, regions, irqs
REGION_INFO = struct.Struct("<IIIIQQ")  # argsz, flags, index, cap_offset, size, offset
IO_FDS = struct.Struct("<IIII")  # argsz, flags, index, count
IRQ_INFO = struct.Struct("<IIII")  # argsz, flags, index, count
IRQ_SET = struct.Struct("<IIIII")  # argsz, flags, index, start, count
ACCESS = struct.Struct("<QII")  # offset, region, count
MULTI_COUNT = struct.Struct("<Q")
MULTI_ENTRY = struct.Struct("<QII8s")  # offset, region, count, data
CAP_SPARSE = struct.Struct("<HHIII")  # id, version, next, areas, reserved
AREA = struct.Struct("<QQ")  # offset, size

TYPE_MASK, TYPE_COMMAND, TYPE_REPLY = lib.VU_FLAG_TYPE, 0, lib.VU_FLAG_REPLY
NO_REPLY, ERROR = lib.VU_FLAG_NO_REPLY, lib.VU_FLAG_ERROR

MAX_DATA = int(lib.VU_MAX_DATA)  # bytes of one access
MAX_MESSAGE = MAX_DATA + HEADER.size + ACCESS.size
MAX_FDS = int(lib.VU_MAX_FDS)  # with one message (docs/spec/vfio-user.md 2)
MAX_VERSION_TEXT = 1 << 16

DMA_FLAGS_READ, DMA_FLAGS_WRITE, DMA_FLAGS_MMAP, DMA_FLAGS_FILE_IO = 1, 2, 4, 8
UNMAP_BITMAP, UNMAP_ALL = 1, 2
INFO_RESET, INFO_PCI = 1, 2
REGION_READ, REGION_WRITE, REGION_MMAP, REGION_CAPS = 1, 2, 4, 8
IRQ_EVENTFD = 1
DATA_NONE, DATA_BOOL, DATA_EVENTFD = 1, 2, 4
ACTION_MASK, ACTION_UNMASK, ACTION_TRIGGER = 8, 16, 32
NUM_REGIONS, NUM_IRQS = 9, 5


# A step of an answer that waits: is called with what shall be called when there is more to do.
Wait = Callable[[Callable[[], None]], None]


class Command(IntEnum):
    """Message commands (docs/spec/vfio-user.md 3)."""

    VERSION = lib.VU_VERSION
    DMA_MAP = lib.VU_DMA_MAP
    DMA_UNMAP = lib.VU_DMA_UNMAP
    DEVICE_GET_INFO = lib.VU_DEVICE_GET_INFO
    DEVICE_GET_REGION_INFO = lib.VU_DEVICE_GET_REGION_INFO
    DEVICE_GET_REGION_IO_FDS = lib.VU_DEVICE_GET_REGION_IO_FDS
    DEVICE_GET_IRQ_INFO = lib.VU_DEVICE_GET_IRQ_INFO
    DEVICE_SET_IRQS = lib.VU_DEVICE_SET_IRQS
    REGION_READ = lib.VU_REGION_READ
    REGION_WRITE = lib.VU_REGION_WRITE
    DMA_READ = lib.VU_DMA_READ
    DMA_WRITE = lib.VU_DMA_WRITE
    DEVICE_RESET = lib.VU_DEVICE_RESET
    REGION_WRITE_MULTI = lib.VU_REGION_WRITE_MULTI
    DEVICE_FEATURE = lib.VU_DEVICE_FEATURE
    MIG_DATA_READ = lib.VU_MIG_DATA_READ
    MIG_DATA_WRITE = lib.VU_MIG_DATA_WRITE


@dataclass(frozen=True)
class Message:
    """One command of a client. Whoever keeps an fd takes it out of `fds`; the others are closed."""

    msg_id: int
    command: int
    flags: int
    payload: bytes
    fds: list[int]
    truncated: bool = False  # some of the message's fds were lost on the way
    discard: Callable[[int], None] = os.close

    def close_fds(self) -> None:
        """Closes the fds that nobody took."""
        while self.fds:
            self.discard(self.fds.pop())


class RequestRefused(Exception):
    """The answer to a command is an error: an errno, and in words why.

    After a fatal one the connection ends.
    """

    def __init__(self, why: str, code: int = errno.EINVAL, fatal: bool = False) -> None:
        super().__init__(why)
        self.code, self.fatal = code, fatal


def reply(message: Message, payload: bytes = b"") -> bytes:
    """The bytes of the reply to a command."""
    size = HEADER.size + len(payload)
    return HEADER.pack(message.msg_id, message.command, size, TYPE_REPLY, 0) + payload


def error_reply(message: Message, code: int) -> bytes:
    """The bytes of an error reply, which is a header alone (docs/spec/vfio-user.md 1)."""
    return HEADER.pack(message.msg_id, message.command, HEADER.size, TYPE_REPLY | ERROR, code)


def fixed(layout: struct.Struct, payload: bytes) -> tuple[int, ...]:
    """The fixed part of a request; raises RequestRefused when the request is shorter."""
    if len(payload) < layout.size:
        raise RequestRefused(f"{len(payload)} bytes where {layout.size} are needed")
    return layout.unpack_from(payload)


def with_argsz(layout: struct.Struct, payload: bytes) -> tuple[int, ...]:
    """Reads as `fixed` does, with a first word that says how long an answer may be."""
    fields = fixed(layout, payload)
    if not layout.size <= fields[0] <= MAX_MESSAGE:
        raise RequestRefused(f"argsz {fields[0]} where at least {layout.size} are needed")
    return fields
