# SPDX-License-Identifier: BSD-3-Clause
"""The vfio-user client against servers that are strict, odd or broken (docs/spec/vfio-user.md)."""

from __future__ import annotations

import errno
import gc
import os
import socket
import struct
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory, connection
from tests.pyvfio import vfio_user_peer as wire
from tests.pyvfio.fake_kernel import open_fds
from tests.pyvfio.vfio_user_peer import Peer, Refusal, Reply


@pytest.fixture
def peer(tmp_path: Path) -> Iterator[Peer]:
    peer = Peer(tmp_path / "d.sock")
    yield peer
    peer.close()


@pytest.fixture
def target(peer: Peer) -> str:
    return f"vfio-user:{peer.path}"


@pytest.fixture
def memory() -> Iterator[DmaMemory]:
    memory = DmaMemory.allocate(4096, huge="never")
    yield memory
    memory.close()


def refuse(code: int) -> object:
    def handler(payload: bytes, fds: list[int]) -> Reply | None:
        raise Refusal(code)

    return handler


# ---- reaching a server


def test_no_socket(tmp_path: Path) -> None:
    with pytest.raises(pyvfio.NotFound, match="iavfio softvf") as caught:
        pyvfio.open(f"vfio-user:{tmp_path}/none.sock")
    assert caught.value.errno == errno.ENOENT
    with pytest.raises(pyvfio.NotFound, match="107"):
        pyvfio.open("vfio-user:/" + "x" * 107)


def test_nobody_listens(tmp_path: Path) -> None:
    path = tmp_path / "dead.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(pyvfio.NotFound, match="nobody listens"):
        pyvfio.open(f"vfio-user:{path}")


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_is_no_socket_is_named(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "vfs"
    path.mkdir() if kind == "directory" else path.write_bytes(b"")
    with pytest.raises(pyvfio.UnknownDevice, match=f"{path} is no socket: it is a {kind}"):
        pyvfio.open(f"vfio-user:{path}")


def test_server_hangs_up_at_once(tmp_path: Path) -> None:
    path = tmp_path / "busy.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        thread = threading.Thread(target=lambda: listener.accept()[0].close())
        thread.start()
        with pytest.raises(pyvfio.Busy, match="one client"):
            pyvfio.open(f"vfio-user:{path}")
        thread.join()


def test_server_never_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "TIMEOUT_MS", 20)
    path = tmp_path / "mute.sock"
    before = open_fds()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(1)
        with pytest.raises(pyvfio.DeviceLost, match="no reply to VERSION") as caught:
            pyvfio.open(f"vfio-user:{path}")
        assert caught.value.errno == errno.ETIMEDOUT
    assert open_fds() == before


# ---- negotiation


def test_what_the_client_says_first(peer: Peer, target: str) -> None:
    seen: list[bytes] = []

    def version(payload: bytes, fds: list[int]) -> Reply:
        seen.append(payload)
        return struct.pack("=HH", 0, 0) + wire.CAPABILITIES, []

    peer.override[wire.VERSION] = version
    pyvfio.open(target).close()
    assert seen[0][:4] == bytes(4)
    assert seen[0].endswith(b"}}\0")
    assert b'"max_msg_fds":16' in seen[0]
    assert peer.violations == []


@pytest.mark.parametrize("text", [b"", b"{}\0", b'{"capabilities":{"new":[1]},"x":null}\0'])
def test_version_data_may_be_poor(peer: Peer, target: str, text: bytes) -> None:
    """Absent keys mean the defaults: one fd a message (docs/spec/vfio-user.md 2)."""
    peer.capabilities = text
    with pyvfio.open(target) as device:
        device.enable_msix(3)
        assert [entry for entry in peer.log if entry[0] == wire.SET_IRQS] == [
            (wire.SET_IRQS, 0, 1)
        ] * 3
        assert peer.fire(2, 2)


def test_eventfds_go_in_pieces_that_the_server_takes(peer: Peer, target: str) -> None:
    peer.capabilities = b'{"capabilities":{"max_msg_fds":2}}\0'
    with pyvfio.open(target) as device:
        device.enable_msix(5)
        assert [fds for command, _, fds in peer.log if command == wire.SET_IRQS] == [2, 2, 1]
        assert all(peer.fire(2, vector) for vector in range(5))


@pytest.mark.parametrize(
    "text",
    [
        b"not json\0",
        b"[]\0",
        b'{"capabilities":7}\0',
        b'{"capabilities":{"max_msg_fds":"many"}}\0',
        b'{"capabilities":{"max_msg_fds":0}}\0',
        b'{"capabilities":{"max_msg_fds":Infinity}}\0',
        b'{"capabilities":{"max_data_xfer_size":-1}}\0',
        b'{"capabilities":' + b"[" * 2000 + b"\0",
        b"\xff\xfe\0",
    ],
)
def test_malformed_version_data(peer: Peer, target: str, text: bytes) -> None:
    peer.capabilities = text
    with pytest.raises(pyvfio.ProtocolError, match="version data"):
        pyvfio.open(target)


def test_another_major_version(peer: Peer, target: str) -> None:
    peer.override[wire.VERSION] = lambda _, __: (struct.pack("=HH", 1, 0), [])
    with pytest.raises(pyvfio.ProtocolError, match=r"vfio-user\b.1"):
        pyvfio.open(target)


def test_version_refused(peer: Peer, target: str) -> None:
    peer.override[wire.VERSION] = refuse(errno.EINVAL)  # type: ignore[assignment]
    with pytest.raises(pyvfio.ProtocolError, match="refused") as caught:
        pyvfio.open(target)
    assert caught.value.errno == errno.EINVAL


# ---- replies that cannot be trusted


# docs/spec/reliability.md S2
@pytest.mark.parametrize("command", [wire.GET_INFO, wire.REGION_INFO, wire.IRQ_INFO])
@pytest.mark.parametrize("size", [0, 4, 15])
def test_replies_cut_short(peer: Peer, target: str, command: int, size: int) -> None:
    peer.override[command] = lambda _, __: (bytes(size), [])
    with (
        pytest.raises(pyvfio.ProtocolError, match="cut short"),
        pyvfio.open(target) as device,
    ):
        device.region(7)
        device.irq(2)


def test_reply_longer_than_asked_for(peer: Peer, target: str) -> None:
    with pyvfio.open(target) as device:
        peer.override[wire.IRQ_INFO] = lambda _, __: (bytes(17), [])
        with pytest.raises(pyvfio.ProtocolError, match="DEVICE_GET_IRQ_INFO"):
            device.irq(2)
        assert device.lost


def test_not_a_pci_device(peer: Peer, target: str) -> None:
    peer.override[wire.GET_INFO] = lambda _, __: (struct.pack("=IIII", 16, 1, 9, 5), [])
    with pytest.raises(pyvfio.Unsupported, match="no PCI"):
        pyvfio.open(target)


def region(areas: list[tuple[int, int]], cap_offset: int = 32, following: int = 0) -> bytes:
    caps = struct.pack("=HHIII", 1, 1, following, len(areas), 0)
    caps += b"".join(struct.pack("=QQ", *area) for area in areas)
    return struct.pack("=IIIIQQ", 32 + len(caps), 15, 0, cap_offset, 0x20000, 0) + caps


# docs/spec/reliability.md S2
@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (region([(0x1F000, 0x2000)]), "outside"),
        (region([(0x800, 0x1000)]), "outside"),
        (region([(2**64 - 4096, 8192)]), "outside"),
        (region([], cap_offset=8), "chain"),
        (region([], cap_offset=4000), "chain"),
        (region([(0, 4096)], following=32), "chain"),
        (region([(0, 4096)])[:-4], "cut short"),
    ],
)
def test_region_capabilities_that_lie(peer: Peer, target: str, reply: bytes, why: str) -> None:
    peer.override[wire.REGION_INFO] = lambda _, __: (reply, [peer.memory])
    with pyvfio.open(target) as device:
        before = open_fds()
        with pytest.raises(pyvfio.ProtocolError, match=why):
            device.region(0)
        assert open_fds() == before


def test_mappable_region_without_its_fd(peer: Peer, target: str) -> None:
    peer.override[wire.REGION_INFO] = lambda _, __: (region([(0, 4096)]), [])
    with pyvfio.open(target) as device, pytest.raises(pyvfio.ProtocolError, match="fd"):
        device.map_bar(0)


def test_file_that_may_not_be_written(peer: Peer, target: str) -> None:
    only_read = os.open(f"/proc/self/fd/{peer.memory}", os.O_RDONLY)
    peer.override[wire.REGION_INFO] = lambda _, __: (region([(0, 4096)]), [only_read])
    with pyvfio.open(target) as device:
        gc.collect()
        before = open_fds()
        with pytest.raises(pyvfio.ProtocolError, match="promised"):
            device.map_bar(0)
        assert open_fds() == before
    os.close(only_read)


def test_read_answered_short(peer: Peer, target: str) -> None:
    with pyvfio.open(target) as device:
        device.region(7)
        peer.override[wire.REGION_READ] = lambda payload, _: (payload + b"\1", [])
        with pytest.raises(pyvfio.ProtocolError, match="short"):
            device.config.read16(0)
        bar = device.map_bar(3)
        assert bar.read32(0) == 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 15, 2**31])
def test_a_server_that_broke_the_protocol_is_told_from_one_that_ended(
    peer: Peer, target: str, size: int
) -> None:
    """Nothing after the reply can be read: how long it is, nobody knows."""
    with pyvfio.open(target) as device:
        bar = device.map_bar(3)
        assert device.loss == ""
        assert "read all ones" in device.gone().cause
        peer.raw[wire.REGION_READ] = lambda ident: wire.HEADER.pack(
            ident, wire.REGION_READ, size, 1, 0
        )
        with pytest.raises(pyvfio.ProtocolError, match="broke the vfio-user protocol"):
            device.config.read16(0)
        why = "its server broke the vfio-user protocol, so the connection was given up"
        assert bar.read32(0) == 0xFFFFFFFF
        assert (device.loss, device.gone().cause) == (why, why)
        assert "was given up" in device.gone().what


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTTY, errno.EIO])
def test_refusals_are_typed(peer: Peer, target: str, memory: DmaMemory, code: int) -> None:
    with pyvfio.open(target) as device:
        device.region(7)
        for command in (wire.DMA_MAP, wire.SET_IRQS, wire.REGION_READ, wire.RESET):
            peer.override[command] = refuse(code)  # type: ignore[assignment]
        with pytest.raises(pyvfio.DmaError) as dma:
            device.space.map(memory)
        assert dma.value.errno == code and device.space.mappings == ()
        before = open_fds()
        with pytest.raises(pyvfio.VfioError, match="SET_IRQS"):
            device.enable_msix(2)
        assert open_fds() == before
        with pytest.raises(pyvfio.VfioError, match="REGION_READ"):
            assert device.config.vendor
        with pytest.raises(pyvfio.VfioError, match="RESET") as reset:
            device.reset()
        assert reset.value.errno == code
        assert not device.lost  # a refusal is not the end


def test_no_vectors_no_disable(peer: Peer, target: str) -> None:
    """Servers refuse "disable all" where there is nothing (docs/spec/vfio-user.md 4)."""
    with pyvfio.open(target) as device:
        device.disable_irqs(1)
        assert wire.SET_IRQS not in [command for command, _, _ in peer.log]
    assert peer.violations == []


# ---- traffic


def test_requests_of_the_server_in_between(peer: Peer, target: str, memory: DmaMemory) -> None:
    peer.chatter = True
    with pyvfio.open(target) as device:
        assert device.config.vendor == 0x8086
        iova = device.space.map(memory)
        device.space.unmap(iova, memory.size)
        device.reset()
        assert device.irq(2).count == 5
    assert len(peer.answers) >= 4
    assert all(flags == 0x21 and code for flags, code in peer.answers)


def test_register_writes_are_posted_and_in_order(peer: Peer, target: str) -> None:
    with pyvfio.open(target) as device:
        bar = device.map_bar(3)
        for value in range(50):
            bar.write32(8, value)
            assert bar.read32(8) == value
    writes = [flags for command, flags, _ in peer.log if command == wire.REGION_WRITE]
    assert writes == [0x10] * 50


def test_config_space_in_pieces(peer: Peer, target: str) -> None:
    peer.capabilities = b'{"capabilities":{"max_data_xfer_size":64}}\0'
    with pyvfio.open(target) as device:
        assert device.read(7, 0, 256) == bytes(peer.config)
    assert [command for command, _, _ in peer.log].count(wire.REGION_READ) == 4


def test_threads_share_one_connection(peer: Peer, target: str) -> None:
    wrong: list[int] = []
    with pyvfio.open(target) as device:
        bar = device.map_bar(3)

        def work(lane: int) -> None:
            for value in range(100):
                bar.write32(lane * 4, value)
                if bar.read32(lane * 4) != value or device.config.vendor != 0x8086:
                    wrong.append(value)

        threads = [threading.Thread(target=work, args=(lane,)) for lane in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


# ---- the end


def test_server_dies(peer: Peer, target: str, memory: DmaMemory) -> None:
    device = pyvfio.open(target)
    bar = device.map_bar(0)
    device.enable_msix(2)
    device.space.map(memory)
    peer.hang_up()
    with pytest.raises(pyvfio.DeviceLost, match="iavfio softvf"):
        device.irq(2)
    assert device.lost
    assert bar.read32(0x8000) == 0xFFFFFFFF
    assert bar.lost
    with pytest.raises(pyvfio.DeviceLost):
        bar.write32(0x2000, 1)
    with pytest.raises(pyvfio.DeviceLost):
        device.space.map(memory)
    device.close()
    device.close()
    with pytest.raises(pyvfio.Closed):
        device.space.map(memory)


def test_child_does_not_keep_the_connection(peer: Peer, target: str) -> None:
    """A forked child that lives on must not hide the parent's end from the server."""
    device = pyvfio.open(target)
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(writer)
        os.read(reader, 1)  # lives until the parent is done
        os._exit(0)
    os.close(reader)
    try:
        device.close()
        assert peer.idle.wait(5)
    finally:
        os.close(writer)
        os.waitpid(pid, 0)
    pyvfio.open(target).close()
