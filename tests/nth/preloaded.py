# SPDX-License-Identifier: BSD-3-Clause
"""A program under `iavfio preload`, one call of which fails; tests/c/nth_call.c is preloaded.

    python -m tests.nth.preloaded NTH_LIBRARY FUNCTION=ERRNO...

A first life counts the calls that the preload library makes; then one line of JSON is printed for
each life in which one of them fails: what the program got, how it ended, what is left of it, and
how the same program fares once more. Where there are more than MOST, that many are taken at a fixed
stride. Each life is a forked child's, which has had one before.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import gc
import json
import mmap
import os
import struct
import sys
import traceback
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.nth.lives import places
from tests.preload.inside import (
    BDF,
    CONFIG,
    DEVICE_RESET,
    DEVICE_SET_IRQS,
    GROUP_GET_DEVICE_FD,
    GROUP_SET_CONTAINER,
    MAP_DMA,
    PAGE,
    RSTAT,
    SCRATCH,
    SET_IOMMU,
    TYPE1V2,
    UNMAP_DMA,
)

MOST = 6
OWN = b"libiavfio_preload"


def ioctl(fd: int, request: int, argument: Any = 0) -> int:
    """The result; raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    held = ctypes.create_string_buffer(argument, len(argument)) if argument else None
    result = int(libc.ioctl(fd, ctypes.c_ulong(request), held))
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


def moved() -> list[int]:
    """Files that took the place of the program's private memory."""
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [int(link.name) for link in links if str(link.readlink()).startswith("/memfd:iavfio")]


def sealed(fd: int) -> bool:
    """Whether the server that gets the file cannot cut it."""
    return bool(fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK)


def life() -> None:
    """Opens a device by its group, maps memory, uses registers, closes. Raises OSError."""
    with ExitStack() as stack:

        def opened(fd: int) -> int:
            stack.callback(os.close, fd)
            return fd

        found = [path.name for path in Path("/sys/bus/pci/devices").iterdir()]
        assert found == [BDF], found
        container = opened(os.open("/dev/vfio/vfio", os.O_RDWR))
        number = Path(f"/sys/bus/pci/devices/{BDF}/iommu_group").readlink().name
        group = opened(os.open(f"/dev/vfio/{number}", os.O_RDWR))
        ioctl(group, GROUP_SET_CONTAINER, struct.pack("i", container))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.ioctl(container, ctypes.c_ulong(SET_IOMMU), ctypes.c_ulong(TYPE1V2)) < 0:
            raise OSError(ctypes.get_errno(), "SET_IOMMU")
        device = opened(ioctl(group, GROUP_GET_DEVICE_FD, BDF.encode() + b"\0"))
        assert os.pread(device, 2, CONFIG).hex() == "8680"
        private = mmap.mmap(-1, 4 * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        private[:4] = b"kept"
        file = opened(os.memfd_create("program"))
        os.ftruncate(file, 4 * PAGE)
        shared = mmap.mmap(file, 4 * PAGE)
        try:
            for iova, memory in ((0x100000, private), (0x200000, shared)):
                base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
                ioctl(container, MAP_DMA, struct.pack("<IIQQQ", 32, 3, base, iova, 4 * PAGE))
        finally:
            assert private[:4] == b"kept"
            assert all(sealed(fd) for fd in moved())
        event = opened(os.eventfd(0))
        ioctl(device, DEVICE_SET_IRQS, struct.pack("<IIIIIi", 24, 0x24, 2, 0, 1, event))
        copy = opened(os.dup(device))
        bar = mmap.mmap(copy, 0x20000, mmap.MAP_SHARED)
        base = ctypes.addressof(ctypes.c_char.from_buffer(bar))
        ctypes.c_uint32.from_address(base + SCRATCH).value = 0x12345600  # both pages are trapped
        assert ctypes.c_uint32.from_address(base + RSTAT).value in (*range(4), 0xFFFFFFFF)
        ioctl(device, DEVICE_RESET)
        ioctl(container, UNMAP_DMA, struct.pack("<IIQQ", 24, 0, 0x100000, 4 * PAGE))


def held() -> dict[str, list[str]]:
    """Files that are open and mapped: the preload library's, between two lives."""
    gc.collect()
    links = [entry for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    maps = [line.split(maxsplit=5) for line in Path("/proc/self/maps").read_text().splitlines()]
    return {
        "files": sorted(str(link.readlink()) for link in links),
        "mappings": sorted(each[5] for each in maps if len(each) > 5 and "/memfd:" in each[5]),
    }


def child(nth: ctypes.CDLL, function: str, place: int, code: int, out: int) -> None:
    """Writes the outcome of a life, and ends the process."""
    got = surprise = again = ""
    nth.nth_own(OWN)
    life()  # what is set up once, is by now
    before = held()
    nth.nth_arm(function.encode(), ctypes.c_long(place), code)
    try:
        life()
    except OSError as error:
        got = errno.errorcode.get(error.errno or 0, "none")
    except BaseException:
        surprise = traceback.format_exc()
    reached = bool(nth.nth_disarm())
    after = held()
    try:
        life()
    except BaseException:
        again = traceback.format_exc()
    left = {key: (before[key], value) for key, value in after.items() if value != before[key]}
    outcome = {"place": place, "reached": reached, "calls": nth.nth_calls(), "got": got}
    outcome |= {"surprise": surprise, "left": left, "again": again}
    os.write(out, json.dumps(outcome).encode())
    os._exit(0)


def outcome(nth: ctypes.CDLL, function: str, place: int, code: int) -> dict[str, Any]:
    """What became of one life."""
    read, write = os.pipe()
    number = os.fork()
    if number == 0:
        child(nth, function, place, code, write)
    os.close(write)
    with os.fdopen(read) as lines:
        line = lines.read()
    _, status = os.waitpid(number, 0)
    return json.loads(line) if line else {"place": place, "died": status}


def main(library: str, rows: list[str]) -> None:
    """Prints the outcomes for each function, that in which nothing failed last."""
    nth = ctypes.CDLL(library)
    nth.nth_calls.restype = ctypes.c_long
    for function, _, name in (row.partition("=") for row in rows):
        code = getattr(errno, name)
        last = outcome(nth, function, -1, code)
        for place in places(last["calls"], MOST):
            found = outcome(nth, function, place, code)
            print(json.dumps({"function": function, **found}), flush=True)
        print(json.dumps({"function": function, **last}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
