# SPDX-License-Identifier: BSD-3-Clause
"""VERSION and framing (docs/spec/vfio-user.md 1, 2, 8)."""

from __future__ import annotations

import errno
import json
import os
import socket
import stat
import struct
import time
from pathlib import Path

import pytest

from tests.softvf.server.raw_client import VERSION_TEXT, RawClient
from tests.softvf.server.served_vf import ServedVf


def propose(path: Path, text: bytes, major: int = 0, minor: int = 0) -> tuple[int, bytes]:
    client = RawClient(path, version=False)
    try:
        return client.ask(1, struct.pack("<HH", major, minor) + text)
    finally:
        client.close()


def test_reply_is_a_subset_no_longer_than_the_proposal(served: ServedVf) -> None:
    client = RawClient(served.path)
    assert client.version[:4] == bytes(4)
    assert client.version[-1:] == b"\0"
    assert len(client.version) <= 4 + len(VERSION_TEXT)
    assert json.loads(client.version[4:-1]) == {
        "capabilities": {"max_msg_fds": 16, "max_data_xfer_size": 1 << 20, "write_multiple": True}
    }
    client.close()


@pytest.mark.parametrize(
    ("text", "reply"),
    [
        (b"", b""),
        (b"{}\0", b"{}\0"),
        (b'{"capabilities":{"max_msg_fds":3}}\0', b'{"capabilities":{"max_msg_fds":3}}\0'),
        (b'{"capabilities":{"new_thing":{}}}\0', b"{}\0"),
    ],
)
def test_only_what_was_proposed_is_answered(served: ServedVf, text: bytes, reply: bytes) -> None:
    assert propose(served.path, text) == (0, bytes(4) + reply)


def test_minor_of_the_reply_is_not_above_the_proposal(served: ServedVf) -> None:
    error, payload = propose(served.path, VERSION_TEXT, minor=2)
    assert error == 0
    assert struct.unpack_from("<HH", payload) == (0, 0)


@pytest.mark.parametrize(
    "payload",
    [
        b"\0\0",
        bytes(4) + b'{"capabilities":{}}',
        bytes(4) + b"{nonsense}\0",
        bytes(4) + b"[1]\0",
        bytes(4) + b'{"capabilities":[]}\0',
        bytes(4) + b'{"capabilities":{"max_msg_fds":-1}}\0',
        bytes(4) + b'{"capabilities":{"max_msg_fds":1025}}\0',
        bytes(4) + b'{"capabilities":{"max_data_xfer_size":"x"}}\0',
        bytes(4) + b"[" * 60000 + b"\0",
        b"\1\0\0\0" + VERSION_TEXT,
    ],
)
def test_malformed_version_is_refused_and_hung_up(served: ServedVf, payload: bytes) -> None:
    client = RawClient(served.path, version=False)
    assert client.ask(1, payload) == (errno.EINVAL, b"")
    assert client.hung_up()
    client.close()
    assert propose(served.path, VERSION_TEXT)[0] == 0, "the next client is served"


def test_version_with_an_fd_is_refused(served: ServedVf) -> None:
    client = RawClient(served.path, version=False)
    error, _ = client.ask(1, bytes(4) + VERSION_TEXT, (0,))
    assert error == errno.EINVAL
    assert client.hung_up()
    client.close()


def test_version_must_come_first(served: ServedVf) -> None:
    client = RawClient(served.path, version=False)
    assert client.ask(4, struct.pack("<IIII", 16, 0, 0, 0)) == (errno.EINVAL, b"")
    assert client.hung_up()
    client.close()


def test_a_second_version_is_an_error(client: RawClient) -> None:
    assert client.ask(1, bytes(4) + VERSION_TEXT)[0] == errno.EINVAL
    assert client.ask(4, struct.pack("<IIII", 16, 0, 0, 0))[0] == 0


@pytest.mark.parametrize("size", [0, 15, (1 << 20) + 33, 0xFFFFFFFF])
def test_impossible_sizes_end_the_connection(served: ServedVf, size: int) -> None:
    client = RawClient(served.path)
    client.post(4, size=size)
    assert client.hung_up()
    client.close()
    RawClient(served.path).close()


@pytest.mark.parametrize("command", [0, 11, 12, 14, 17, 18, 19, 0xFFFF])
def test_unknown_commands_are_errors(client: RawClient, command: int) -> None:
    assert client.ask(command, bytes(16)) == (errno.EINVAL, b"")
    assert client.ask(13)[0] == 0


def test_a_reply_of_the_client_ends_the_connection(client: RawClient) -> None:
    client.post(9, bytes(16), flags=1)
    client.take(client.number, 9)
    assert client.hung_up()


def test_no_reply_is_honoured_also_for_errors(client: RawClient) -> None:
    client.post(10, struct.pack("<QII", 1 << 40, 0, 4) + bytes(4), flags=0x10)
    client.post(99, flags=0x10)
    client.post(10, struct.pack("<QII", 4, 7, 2) + b"\2\0", flags=0x10)
    assert client.read(7, 4, 2) == b"\2\0", "the first reply is that of the read"


def test_bytes_may_come_one_at_a_time(client: RawClient) -> None:
    message = struct.pack("<HHIII", 77, 9, 32, 0, 0) + struct.pack("<QII", 0, 7, 4)
    for byte in message:
        client.sock.sendall(bytes([byte]))
    error, payload = client.take(77, 9)
    assert (error, payload[16:]) == (0, b"\x86\x80\x89\x18")


def test_commands_may_be_pipelined(client: RawClient) -> None:
    numbers = [client.post(9, struct.pack("<QII", 0, 7, 256)) for _ in range(200)]
    for number in numbers:
        error, payload = client.take(number, 9)
        assert (error, len(payload)) == (0, 16 + 256)


def test_posted_writes_are_read_while_replies_wait(client: RawClient) -> None:
    """A client may be blocked in writing, so the server must not block in writing (8.5)."""
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    reads = [client.post(9, struct.pack("<QII", 0, 7, 4096)) for _ in range(200)]
    for _ in range(5000):
        client.post(10, struct.pack("<QII", 0x3C, 7, 1) + b"\7", flags=0x10)
    for number in reads:
        assert client.take(number, 9)[0] == 0
    assert client.read(7, 0x3C, 1) == b"\7"


def test_an_end_inside_a_message_leaves_the_server_well(served: ServedVf) -> None:
    client = RawClient(served.path)
    client.sock.sendall(struct.pack("<HHIII", 1, 9, 32, 0, 0) + b"xx")
    client.close()
    RawClient(served.path).close()


def test_one_client_at_a_time(served: ServedVf, client: RawClient) -> None:
    second = RawClient(served.path, version=False)
    assert second.hung_up()
    second.close()
    assert client.ask(13)[0] == 0
    client.close()
    for _ in range(20):  # coming back at once always works
        RawClient(served.path).close()


def test_surplus_fds_are_closed(served: ServedVf, client: RawClient) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        assert client.ask(13, fds=(0, 1, 2))[0] == 0
        assert client.ask(2, bytes(32), fds=tuple([0] * 40))[0] == errno.EINVAL
    deadline = time.monotonic() + 20
    while len(list(Path("/proc/self/fd").iterdir())) > before:  # a thread closes them
        assert time.monotonic() < deadline
        time.sleep(0.01)


# docs/spec/reliability.md D5
def test_the_socket_is_private(served: ServedVf) -> None:
    assert stat.S_IMODE(served.path.stat().st_mode) == 0o600
    assert served.path.stat().st_uid == os.getuid()
