# SPDX-License-Identifier: BSD-3-Clause
"""Runs inside `iavfio preload`, where /dev/vfio and sysfs are made up: one function a job.

The test starts it with the job's name and its arguments; what it returns is printed as JSON.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import json
import mmap
import os
import select
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

BDF = "0000:b0:00.0"
CHECK_EXTENSION, SET_IOMMU = 0x3B65, 0x3B66
GROUP_GET_STATUS, GROUP_SET_CONTAINER, GROUP_UNSET_CONTAINER = 0x3B67, 0x3B68, 0x3B69
GROUP_GET_DEVICE_FD = 0x3B6A
MAP_DMA, UNMAP_DMA = 0x3B71, 0x3B72
DEVICE_GET_IRQ_INFO, DEVICE_SET_IRQS, DEVICE_RESET = 0x3B6D, 0x3B6E, 0x3B6F
TYPE1V2 = 3
CONFIG = 7 << 40
PAGE = 4096
RSTAT = 0x8800
SCRATCH = 0x7C00  # ATQBAL: what is written reads back


def traffic(mode: str, frames_wanted: int) -> dict[str, Any]:
    """The driver itself, through the group: frames go out, come back, and are the same."""
    import iavfio
    from iavfio.datapath.pool import Pool
    from tests.port.rig import collect, drained, send_all, udp, until

    name = f"preload-{os.getpid()}"
    pool = Pool(2048, huge="never")
    with iavfio.open(BDF, mode=mode, name=name, pool=pool) as port:  # type: ignore[arg-type]
        port.configure(queues=2, ring=256)
        port.start(wait_link=5)
        frames = [
            udp(port.mac, port.mac, payload=bytes([i % 251]) * 30) for i in range(frames_wanted)
        ]
        send_all(port, frames)
        same = sorted(collect(port.rx, len(frames))) == sorted(frames)
        idle = until(lambda: drained(port))
        return {"same": same, "drained": idle, "transport": port.device.transport}


def _ioctl(fd: int, request: int, arg: int | bytes | bytearray = 0) -> int:
    """The result, or minus the error; a bytearray is changed in place."""
    if isinstance(arg, bytes):
        arg = bytearray(arg)
    try:
        return int(fcntl.ioctl(fd, request, arg))
    except OSError as error:
        return -(error.errno or 0)


def _open() -> tuple[int, int, int]:
    """Container, group and device, as the kernel's documentation has it (docs/spec/vfio.md 2)."""
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    number = Path(f"/sys/bus/pci/devices/{BDF}/iommu_group").readlink().name
    group = os.open(f"/dev/vfio/{number}", os.O_RDWR)
    assert _ioctl(group, GROUP_SET_CONTAINER, struct.pack("i", container)) == 0
    assert _ioctl(container, SET_IOMMU, TYPE1V2) == 0
    device = _ioctl(group, GROUP_GET_DEVICE_FD, BDF.encode() + b"\0")
    assert device > 0
    return container, group, device


def rules() -> dict[str, int]:
    """What the kernel refuses, by name: results or minus errno."""
    found: dict[str, int] = {}
    container = os.open("/dev/vfio/vfio", os.O_RDWR)
    found["type1v2"] = _ioctl(container, CHECK_EXTENSION, TYPE1V2)
    found["noiommu"] = _ioctl(container, CHECK_EXTENSION, 8)
    found["iommu before a group"] = _ioctl(container, SET_IOMMU, TYPE1V2)
    os.close(container)
    container, group, device = _open()
    number = Path(f"/sys/bus/pci/devices/{BDF}/iommu_group").readlink().name
    try:
        os.close(os.open(f"/dev/vfio/{number}", os.O_RDWR))
    except OSError as error:
        found["group twice"] = -(error.errno or 0)
    found["other device"] = _ioctl(group, GROUP_GET_DEVICE_FD, b"0000:b0:1f.0\0")
    found["leave while open"] = _ioctl(group, GROUP_UNSET_CONTAINER)
    memory = mmap.mmap(-1, 16 * PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))

    def dma(iova: int, size: int = PAGE, flags: int = 3, at: int = base) -> int:
        return _ioctl(container, MAP_DMA, struct.pack("<IIQQQ", 32, flags, at, iova, size))

    def undma(iova: int, size: int) -> tuple[int, int]:
        data = bytearray(struct.pack("<IIQQ", 24, 0, iova, size))
        return _ioctl(container, UNMAP_DMA, data), struct.unpack_from("<Q", data, 16)[0]

    found["map"] = dma(0x100000, 4 * PAGE)
    found["map again"] = dma(0x100000, 4 * PAGE)
    found["overlap"] = dma(0x103000)
    found["below a neighbour"] = dma(0xFF000)
    found["above a neighbour"] = dma(0x104000)
    found["misaligned"] = dma(0x200010)
    found["no rights"] = dma(0x200000, flags=0)
    found["MSI window"] = dma(0xFEE00000)
    found["beyond the width"] = dma(1 << 48)
    found["no memory there"] = dma(0x200000, at=PAGE)
    found["split"] = undma(0x101000, PAGE)[0]
    found["split at its end"] = undma(0x103000, PAGE)[0]
    found["split at its start"] = undma(0x100000, PAGE)[0]
    result, size = undma(0x100000, 4 * PAGE)
    found["unmap"] = result or size
    found["unmap nothing"] = undma(0x100000, 4 * PAGE)[1]
    found["other memory in its place"] = dma(0x100000, at=base + 8 * PAGE)
    found["unmap all three"] = undma(0xFF000, 8 * PAGE)[1]
    found["unknown"] = _ioctl(container, 0x3BFF)
    found["vector out of range"] = _ioctl(
        device, DEVICE_SET_IRQS, struct.pack("<IIIIIi", 24, 0x24, 2, 2048, 1, -1)
    )
    found["config beyond"] = 0
    try:
        os.pread(device, 4, CONFIG + (1 << 20))
    except OSError as error:
        found["config beyond"] = -(error.errno or 0)
    found["poll"] = len(select.select([device], [], [], 0)[0])
    for fd in (device, group, container):
        os.close(fd)
    return found


def command_register() -> dict[str, int]:
    """Bus Master is off after opening, can be set, and survives a reset (docs/spec/vfio.md 5)."""
    container, group, device = _open()
    found = {"opened": os.pread(device, 2, CONFIG + 4)[0] & 4}
    os.pwrite(device, b"\x06\x00", CONFIG + 4)
    found["reset"] = _ioctl(device, DEVICE_RESET)
    found["after reset"] = os.pread(device, 2, CONFIG + 4)[0] & 4
    at = os.pread(device, 1, CONFIG + 0x34)[0]
    while os.pread(device, 1, CONFIG + at)[0] != 0x10:
        at = os.pread(device, 1, CONFIG + at + 1)[0]
    os.pwrite(device, struct.pack("<H", 0x8000), CONFIG + at + 8)
    found["after FLR"] = os.pread(device, 2, CONFIG + 4)[0] & 4
    for fd in (device, group, container):
        os.close(fd)
    container, group, device = _open()
    found["opened again"] = os.pread(device, 2, CONFIG + 4)[0] & 4
    return found


def registers() -> dict[str, Any]:
    """Loads and stores to registers whose page the server keeps to itself."""
    _, _, device = _open()
    bar = mmap.mmap(device, 0x20000, mmap.MAP_SHARED)
    base = ctypes.addressof(ctypes.c_char.from_buffer(bar))
    rstat = ctypes.c_uint32.from_address(base + RSTAT)
    deadline = time.monotonic() + 10
    while rstat.value & 3 != 2 and time.monotonic() < deadline:
        time.sleep(0.001)
    scratch = ctypes.c_uint32.from_address(base + SCRATCH)
    scratch.value = 0x12345600
    doorbell = ctypes.c_uint32.from_address(base)
    (by_pread,) = struct.unpack("<I", os.pread(device, 4, SCRATCH))
    found = {"rstat": rstat.value & 3, "read back": scratch.value, "pread": by_pread}
    scratch.value = 0
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    line = next(line for line in maps.splitlines() if line.startswith(f"{base:x}-"))
    found["doorbell"] = doorbell.value
    return found | {"doorbell page": line.split()[1], "dup": _through_dup(device)}


def mapped_page() -> dict[str, Any]:
    """The register at 0, before and after the server was told through another, and who has it."""
    _, _, device = _open()
    bar = mmap.mmap(device, PAGE, mmap.MAP_SHARED)
    register = ctypes.c_uint32.from_buffer(bar)
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    start = f"{ctypes.addressof(register):x}-"
    line = next(line for line in maps.splitlines() if line.startswith(start))
    before = register.value
    os.pwrite(device, struct.pack("<I", 1), 0x1000)
    after = register.value
    register.value = 7
    return {"page": line.split()[1], "before": before, "after": after, "written": register.value}


def _through_dup(device: int) -> str:
    """A copy of the fd leads to the same device, also when the first is closed."""
    copy = os.dup(device)
    os.close(device)
    return os.pread(copy, 4, CONFIG).hex()


def private_memory() -> dict[str, Any]:
    """Private memory is moved into a file: what is in it stays, writes meanwhile are not lost."""
    container, _, _ = _open()
    pages = 2048
    memory = mmap.mmap(-1, pages * PAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[5 * PAGE : 5 * PAGE + 4] = b"kept"
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    counter = ctypes.c_uint64.from_address(base + (pages - 1) * PAGE)
    written, stop = [0], threading.Event()

    def count() -> None:
        while not stop.is_set():
            written[0] += 1
            counter.value = written[0]

    thread = threading.Thread(target=count)
    thread.start()
    result = _ioctl(container, MAP_DMA, struct.pack("<IIQQQ", 32, 3, base, 0x1000000, pages * PAGE))
    stop.set()
    thread.join()
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    line = next(line for line in maps.splitlines() if line.startswith(f"{base:x}-"))
    kept = memory[5 * PAGE : 5 * PAGE + 4] == b"kept"
    files = len([1 for fd in os.listdir("/proc/self/fd") if _is_ours(int(fd))])  # noqa: PTH208
    found = {
        "result": result,
        "kept": kept,
        "shared": line.split()[1][3] == "s",
        "current": ctypes.c_uint64.from_address(base + (pages - 1) * PAGE).value == written[0],
        "files": files,
    }
    _ioctl(container, UNMAP_DMA, bytearray(struct.pack("<IIQQ", 24, 0, 0x1000000, pages * PAGE)))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.munmap(ctypes.c_void_p(base), ctypes.c_size_t(pages * PAGE))
    found["files left"] = len([1 for fd in os.listdir("/proc/self/fd") if _is_ours(int(fd))])  # noqa: PTH208
    print(json.dumps(found), flush=True)
    os._exit(0)  # the mmap object still believes in its memory


def _is_ours(fd: int) -> bool:
    try:
        return "iavfio-dma" in os.readlink(f"/proc/self/fd/{fd}")  # noqa: PTH115
    except OSError:
        return False


def sysfs() -> dict[str, Any]:
    """What a program finds in place of the host's PCI devices."""
    here = Path("/sys/bus/pci/devices")
    return {
        "devices": sorted(path.name for path in here.iterdir()),
        "driver": (here / BDF / "driver").resolve().name,
        "device": (here / BDF / "device").read_text(encoding="ascii").strip(),
        "nodes": sorted(path.name for path in Path("/dev/vfio").iterdir()),
        "iommu": Path("/dev/iommu").exists(),
        "other": Path("/sys/kernel/mm").exists(),
    }


def child() -> dict[str, Any]:
    """A forked child has none of its parent's devices and leaves them alone."""
    container, group, device = _open()
    pid = os.fork()
    if pid == 0:
        result = _ioctl(device, DEVICE_RESET)
        for fd in (device, group, container):
            os.close(fd)
        os._exit(0 if result == -errno.ENOTTY else 1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return {"child": status, "parent": os.pread(device, 2, CONFIG).hex()}


def spawned() -> dict[str, Any]:
    """A program that is started by vfork shares its parent's memory while it closes its files."""
    _, _, device = _open()
    status = subprocess.run(["/bin/true"], close_fds=True).returncode
    return {"child": status, "parent": os.pread(device, 2, CONFIG).hex()}


def daemon() -> dict[str, Any]:
    """A program that forks first opens its devices in the child."""
    pid = os.fork()
    if pid == 0:
        _, _, device = _open()
        os._exit(0 if os.pread(device, 2, CONFIG).hex() == "8680" else 1)
    return {"child": os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])}


def closing_ends_all() -> dict[str, Any]:
    """After the last close another open finds nothing mapped; it goes round as DPDK's probes do."""
    memory = mmap.mmap(-1, PAGE)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    results = []
    for _ in range(3):
        container, group, device = _open()
        request = struct.pack("<IIQQQ", 32, 3, base, 0x100000, PAGE)
        results.append(_ioctl(container, MAP_DMA, request))
        for fd in (group, container, device):  # DPDK's order: the device last
            os.close(fd)
    return {"results": results}


if __name__ == "__main__":
    job, *arguments = sys.argv[1:]
    print(json.dumps(globals()[job](*map(json.loads, arguments))))
