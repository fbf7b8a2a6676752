# SPDX-License-Identifier: BSD-3-Clause
"""GET_INFO, regions, PCI configuration space, reset and disconnect.

The rules are those of docs/spec/vfio-user.md 4, 5 and docs/spec/registers.md 1.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct

import pytest

from iavfio.pyvfio.user import UserDevice
from tests.softvf.server.conftest import Serve
from tests.softvf.server.raw_client import RawClient
from tests.softvf.server.served_vf import ServedVf


def region_info(client: RawClient, index: int, argsz: int = 4096) -> tuple[int, ...]:
    error, payload = client.ask(5, struct.pack("<IIIIQQ", argsz, 0, index, 0, 0, 0))
    assert error == 0
    return struct.unpack_from("<IIIIQQ", payload)


def test_device_info(client: RawClient) -> None:
    assert client.ask(4, struct.pack("<IIII", 16, 0, 0, 0)) == (
        0,
        struct.pack("<IIII", 16, 3, 9, 5),
    )
    assert client.ask(4, struct.pack("<IIII", 15, 0, 0, 0))[0] == errno.EINVAL
    assert client.ask(4, bytes(12))[0] == errno.EINVAL


@pytest.mark.parametrize(
    ("personality", "bar0"), [("e810", 0x20000), ("x710", 0x10000), ("x722", 0x10000)]
)
def test_regions(serve: Serve, personality: str, bar0: int) -> None:
    client = RawClient(serve(personality).path)
    sizes = [region_info(client, i)[4] for i in range(9)]
    assert sizes == [bar0, 0, 0, 0x4000, 0, 0, 0, 4096, 0]
    assert region_info(client, 3)[1] == 3
    assert region_info(client, 7)[1] == 3
    assert region_info(client, 1)[1] == 0
    assert client.ask(5, struct.pack("<IIIIQQ", 32, 0, 9, 0, 0, 0))[0] == errno.EINVAL
    client.close()


def test_bar0_offers_the_two_doorbell_pages(served: ServedVf, client: RawClient) -> None:
    error, payload = client.ask(5, struct.pack("<IIIIQQ", 80, 0, 0, 0, 0, 0))
    assert error == 0
    assert payload == struct.pack(
        "<IIIIQQ HHI II QQQQ",
        80, 15, 0, 32, 0x20000, 0,
        1, 1, 0,
        2, 0,
        0x0000, 0x1000, 0x2000, 0x1000,
    )  # fmt: skip
    assert len(client.fds) == 1
    page = mmap.mmap(client.fds[0], 0x1000, offset=0x2000)
    page[4:8] = b"\x21\0\0\0"
    assert client.read32(0x2004) == 0x21
    client.write32(0x2008, 0x33)
    assert page[8:12] == b"\x33\0\0\0"
    assert served.plane.bar_read32(0, 0x2008) == 0x33
    page.close()


def test_without_room_for_capabilities_there_is_no_fd(client: RawClient) -> None:
    assert region_info(client, 0, argsz=32) == (80, 7, 0, 0, 0x20000, 0)  # no CAPS at offset 0
    assert client.fds == []


def test_trapped_doorbells_offer_no_page(serve: Serve) -> None:
    client = RawClient(serve(trapped=True).path)
    assert region_info(client, 0) == (32, 3, 0, 0, 0x20000, 0)
    assert client.fds == []
    client.close()


def test_io_fds_are_none(client: RawClient) -> None:
    assert client.ask(6, struct.pack("<IIII", 64, 0, 0, 0)) == (
        0,
        struct.pack("<IIII", 16, 0, 0, 0),
    )
    assert client.ask(6, struct.pack("<IIII", 64, 0, 9, 0))[0] == errno.EINVAL


@pytest.mark.parametrize(
    ("region", "offset", "count"),
    [
        (7, 4096, 1),
        (7, 4095, 2),
        (7, 0, 0),
        (0, 0x20000, 4),
        (0, (1 << 64) - 4, 4),
        (0, (1 << 64) - 1, 4),
        (1, 0, 4),
        (8, 0, 1),
        (9, 0, 4),
        (0, 0, 16),
        (7, 0, 0xFFFFFFFF),
    ],
)
def test_accesses_outside_are_errors(
    client: RawClient, region: int, offset: int, count: int
) -> None:
    request = struct.pack("<QII", offset, region, count)
    assert client.ask(9, request) == (errno.EINVAL, b"")
    assert client.ask(10, request + bytes(min(count, 64)))[0] == errno.EINVAL


def test_writes_that_carry_another_length_are_errors(client: RawClient) -> None:
    assert client.ask(10, struct.pack("<QII", 4, 7, 2) + b"\2")[0] == errno.EINVAL
    assert client.ask(10, struct.pack("<QII", 4, 7, 2) + b"\2\0\0")[0] == errno.EINVAL
    assert client.read(7, 4, 2) == b"\0\0"


def test_write_multi_executes_in_order(client: RawClient) -> None:
    entries = b"".join(
        struct.pack("<QII8s", offset, 7, len(data), data)
        for offset, data in ((4, b"\2\0"), (0x3C, b"\5"), (4, b"\6\0"))
    )
    assert client.ask(15, struct.pack("<Q", 3) + entries) == (0, struct.pack("<Q", 3))
    assert client.read(7, 4, 2) == b"\6\0"
    assert client.read(7, 0x3C, 1) == b"\5"
    assert client.ask(15, struct.pack("<Q", 4) + entries)[0] == errno.EINVAL
    assert client.ask(15, struct.pack("<Q", (1 << 64) - 1) + entries)[0] == errno.EINVAL
    wide = struct.pack("<Q", 1) + struct.pack("<QII8s", 4, 7, 9, bytes(8))
    assert client.ask(15, wide)[0] == errno.EINVAL


def test_write_multi_needs_the_offer(served: ServedVf) -> None:
    client = RawClient(served.path, version=False)
    assert client.ask(1, bytes(4) + b'{"capabilities":{"write_multiple":false}}\0')[0] == 0
    assert client.ask(15, struct.pack("<Q", 0))[0] == errno.EINVAL
    client.close()


def test_device_features_are_refused(client: RawClient) -> None:
    assert client.ask(16, struct.pack("<II", 8, 1 << 18 | 1))[0] == errno.ENOTTY


# ---- config space


HEADERS = {
    # vendor, device, command, status, revision and class, ..., subsystem, capabilities
    "e810": b"\x86\x80\x89\x18\x00\x00\x10\x00\x02\x00\x00\x02",
    "x710": b"\x86\x80\x4c\x15\x00\x00\x10\x00\x02\x00\x00\x02",
    "x722": b"\x86\x80\xcd\x37\x00\x00\x10\x00\x09\x00\x00\x02",
}


@pytest.mark.parametrize("personality", HEADERS)
def test_config_header(serve: Serve, personality: str) -> None:
    client = RawClient(serve(personality).path)
    config = client.read(7, 0, 4096)
    assert config[:12] == HEADERS[personality]
    assert config[0x10:0x28] == b"\x0c\0\0\0\0\0\0\0\0\0\0\0\x0c\0\0\0\0\0\0\0\0\0\0\0"
    assert config[0x2C:0x30] == b"\x86\x80\0\0"
    assert config[0x34] == 0x70
    assert config[0x3D] == 0, "a VF has no INTx"
    vectors = {"e810": 17}.get(personality, 5)
    assert config[0x70:0x7C] == struct.pack("<BBHII", 0x11, 0xA0, vectors - 1, 3, 0x2003)
    assert config[0xA0:0xA2] == b"\x10\0"
    assert struct.unpack_from("<I", config, 0xA4)[0] & 1 << 28, "FLR capable"
    client.close()


@pytest.mark.parametrize(
    ("personality", "chain"),
    [
        ("e810", {0x100: 0x0001, 0x148: 0x000E, 0x1A0: 0x0017, 0x1B0: 0x000D}),
        ("x710", {0x100: 0x0001, 0x150: 0x000E, 0x1A0: 0x0017, 0x1D0: 0x000D}),
    ],
)
def test_extended_capabilities(serve: Serve, personality: str, chain: dict[int, int]) -> None:
    client = RawClient(serve(personality).path)
    config = client.read(7, 0, 4096)
    found, at = {}, 0x100
    while at:
        (header,) = struct.unpack_from("<I", config, at)
        found[at] = header & 0xFFFF
        at = header >> 20
    assert found == chain
    client.close()


def test_bars_are_sized_by_all_ones(client: RawClient) -> None:
    client.write(7, 0x10, b"\xff" * 24)
    assert client.read(7, 0x10, 24) == struct.pack(
        "<IIIIII", 0xFFFE000C, 0xFFFFFFFF, 0, 0xFFFFC00C, 0xFFFFFFFF, 0
    )
    client.write(7, 0x10, struct.pack("<II", 0xE0000000, 1))
    assert client.read(7, 0x10, 8) == struct.pack("<II", 0xE000000C, 1)


def test_only_writable_bits_change(client: RawClient) -> None:
    before = client.read(7, 0, 4096)
    client.write(7, 0, b"\xff" * 4 + b"\xff\xff")
    assert client.read(7, 4, 2) == b"\6\0", "Memory and Bus Master"
    client.write(7, 4, bytes(2))
    client.write(7, 0xAC, b"\xff" * 0x10)
    client.write(7, 0x100, b"\xff" * 0x200)
    assert client.read(7, 0, 4096) == before


def test_reset_clears_bus_master(served: ServedVf, client: RawClient) -> None:
    client.write(7, 4, b"\6\0")
    client.write32(0x2004, 5)
    assert client.ask(13) == (0, b"")
    assert client.read(7, 4, 2) == b"\0\0"
    assert client.read32(0x2004) == 0
    assert served.pf.calls == [("flr", 0)]
    assert client.ask(13, b"x")[0] == errno.EINVAL


def test_flr_by_device_control(served: ServedVf, client: RawClient) -> None:
    client.write(7, 4, b"\6\0")
    client.write(7, 0xA8, b"\x00\x80")
    assert client.read(7, 4, 2) == b"\0\0"
    assert client.read(7, 0xA8, 2) == b"\0\0"
    assert served.pf.calls == [("flr", 0)]


def test_many_resets_do_no_harm(served: ServedVf, client: RawClient) -> None:
    for _ in range(300):
        client.post(13, flags=0x10)
    assert client.ask(13) == (0, b"")
    assert len(served.pf.calls) == 301


def test_disconnect_is_an_flr(served: ServedVf, client: RawClient) -> None:
    client.write(7, 4, b"\6\0")
    client.close()
    again = RawClient(served.path)
    assert again.read(7, 4, 2) == b"\0\0"
    assert served.pf.calls == [("client_gone", 0), ("flr", 0)]
    again.close()


def test_gone_reads_all_ones(served: ServedVf, client: RawClient) -> None:
    served.vf.set_gone(True)
    assert client.read32(0x8800) == 0xFFFFFFFF
    assert client.read(7, 0, 4) == b"\xff" * 4
    client.write(7, 4, b"\6\0")
    served.vf.set_gone(False)
    assert client.read32(0x8800) == 2
    assert client.read(7, 4, 2) == b"\0\0"


def test_pyvfio_opens_it(served: ServedVf) -> None:
    device = UserDevice(str(served.path))
    try:
        assert device.info().resettable
        assert device.region(0).size == 0x20000
        assert device.read(7, 0, 4) == b"\x86\x80\x89\x18"
        assert device.irq(2).count == 17
        bar = device.map_bar(0)
        assert bar.read32(0x8800) == 2
        bar.write32(0x2000, 7)
        assert bar.read32(0x2000) == 7
        device.reset()
        fds = [os.eventfd(0) for _ in range(17)]
        device.set_irqs(2, 0, fds)
        device.disable_irqs(2)
        for fd in fds:
            os.close(fd)
    finally:
        device.close()
    assert served.rules() == []
