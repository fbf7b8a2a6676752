# SPDX-License-Identifier: BSD-3-Clause
"""A TAP beside a port: exact frames both ways, one reason for each loss, link and groups alike."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import iavfio
from iavfio.datapath.burst import Burst
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, IavfioError, StateError
from iavfio.host.errors import KernelRefused
from iavfio.port.port import Port
from iavfio.punt import FromTap, Punt, Punted, Tap, ToTap, everything
from iavfio.softvf.launch import SoftPf
from tests.port.rig import collect, kept, send_all, udp, until
from tests.punt import kernel

RUNNING = 0x40  # of IFF_ flags: the interface has a link
LACP, LLDP = bytes.fromhex("0180c2000002"), bytes.fromhex("0180c200000e")


@pytest.fixture(scope="module")
def here() -> Iterator[kernel.Namespace]:
    kernel.require()
    with kernel.Namespace() as namespace:
        yield namespace


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(2048)


@pytest.fixture(scope="module")
def peer(pf: SoftPf, pool: Pool) -> Iterator[Port]:
    """Who sends to the port that is punted, and receives what it sends."""
    with iavfio.open(pf.sockets[1], pool=pool) as port:
        port.configure(mtu=9000, ring=64)
        port.start(wait_link=10)
        yield port


Opened = Callable[..., tuple[Port, Punt]]


@pytest.fixture
def punted(pf: SoftPf, pool: Pool, here: kernel.Namespace) -> Iterator[Opened]:
    """Opens the port and its TAP, vf0; both are closed at the end."""
    made: list[Any] = []

    def opened(filter: Any = None, **settings: Any) -> tuple[Port, Punt]:
        port = iavfio.open(pf.sockets[0], pool=pool)
        made.append(port)
        port.configure(**{"ring": 64} | settings)
        port.start(wait_link=10)
        made.append(here.run(lambda: Punt(port, "vf0", filter)))
        return port, made[-1]

    yield opened
    for each in reversed(made):
        each.close()


def arp(destination: bytes, source: bytes, length: int = 60) -> bytes:
    return (destination + source + bytes.fromhex("0806")).ljust(length, b"\7")


def received(port: Port, count: int) -> Burst:
    """One burst with so many packets."""
    assert until(lambda: port.rx[0].waiting >= count)
    burst = port.rx[0].recv(count)
    assert len(burst) == count
    return burst


def read(raw: socket.socket, wanted: Callable[[bytes], bool] = bool) -> bytes:
    """The next frame that the kernel got from the TAP, tag and all, and that is wanted."""
    found: list[bytes] = []

    def look() -> bool:
        try:
            data, *_ = raw.recvmsg(16384)
        except BlockingIOError:
            return False
        if wanted(data):
            found.append(data)
        return bool(found)

    assert until(look)
    return found[0]


def flags(here: kernel.Namespace) -> int:
    """IFF_ flags of the TAP."""

    def ask() -> int:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query:
            answer = fcntl.ioctl(query, 0x8913, struct.pack("16sH22x", b"vf0", 0))
        return int(struct.unpack_from("H", answer, 16)[0])

    return here.run(ask)


def ip(here: kernel.Namespace, *words: str) -> None:
    here.run(lambda: subprocess.run(["ip", *words], check=True))


def test_what_is_selected_leaves_the_burst_and_reaches_the_kernel(
    punted: Opened, peer: Port, here: kernel.Namespace
) -> None:
    port, punt = punted()
    frames = [arp(port.mac, peer.mac, 60 + i) for i in range(3)]
    others = [udp(port.mac, peer.mac, sport=i) for i in range(4)]
    with here.run(lambda: kernel.packets("vf0")) as raw:
        send_all(peer, [others[0], frames[0], frames[1], others[1], others[2], frames[2]])
        with received(port, 6) as burst:
            rest = punt.step(burst)
            assert [bytes(p) for p in rest.headers(60)] == [o[:60] for o in others[:3]]
            with pytest.raises(StateError, match="sent before"):
                punt.take(burst)
            assert burst.left == 3
        send_all(peer, [others[3]])
        with received(port, 1) as burst:
            assert punt.take(burst) is burst and kept(burst) == [others[3]]
        assert [read(raw) for _ in range(3)] == frames
    counts = punt.counts
    assert counts.to_tap == ToTap(packets=3, delivered=3, bytes=sum(map(len, frames)))
    assert (counts.received, counts.passed) == (7, 4)


def test_what_the_kernel_sends_leaves_by_the_port(
    punted: Opened, peer: Port, here: kernel.Namespace
) -> None:
    port, punt = punted(mtu=9000)
    frames = [udp(peer.mac, port.mac, payload=bytes([n % 256]) * n) for n in (18, 2000, 8900)]
    with here.run(lambda: kernel.packets("vf0")) as raw:
        ip(here, "link", "set", "vf0", "mtu", "9300")  # by somebody who knows better
        for each in frames:
            raw.send(each)
        raw.send(udp(peer.mac, port.mac, payload=bytes(9200)))
        raw.send(port.mac + port.mac + b"\x08\x06")  # 14 bytes, which no device sends
        assert until(lambda: punt.counts.from_tap.frames + punt.fetch() >= 5)
    own = collect(peer.rx, 3)
    assert own == frames
    counts = punt.counts.from_tap
    assert counts == FromTap(
        frames=5, sent=3, bytes=sum(map(len, frames)), drops={"too_long": 1, "refused": 1}
    )


def test_chains_and_stripped_tags_are_whole_again(
    punted: Opened, peer: Port, here: kernel.Namespace
) -> None:
    port, punt = punted(everything(), mtu=9000, metadata=["vlan"])
    long = arp(port.mac, peer.mac, 5000)
    tagged = (port.mac + peer.mac + bytes.fromhex("810060050806")).ljust(64, b"\3")
    tap = punt.tap
    with here.run(lambda: kernel.packets("vf0")) as raw:
        raw.setsockopt(263, 8, 1)  # PACKET_AUXDATA: the kernel takes the tag out once more
        send_all(peer, [long, tagged])
        with received(port, 2) as burst:
            assert len(punt.take(burst)) == 0
        assert read(raw) == long
        data, extra, *_ = raw.recvmsg(2000, 200)
        tci, kind = struct.unpack("HH", extra[0][2][16:20])
        assert (data, tci, kind) == (tagged[:12] + tagged[16:], 0x6005, 0x8100)
    assert punt.counts.to_tap == ToTap(2, 2, 5064, 1) and tap.fd >= 0


def test_each_loss_has_its_reason(punted: Opened, peer: Port, here: kernel.Namespace) -> None:
    port, punt = punted()
    send_all(peer, [arp(port.mac, peer.mac, 1522), arp(port.mac, peer.mac, 1514)])
    with received(port, 2) as burst:
        punt.take(burst)
    assert punt.counts.to_tap.drops == {"too_long": 1}
    with here.run(lambda: kernel.packets("vf0")) as raw:
        raw.send(udp(peer.mac, port.mac))
        raw.send(udp(peer.mac, port.mac))
        held = []
        with contextlib.suppress(IavfioError):
            while True:
                held.append(port.tx[0].build([bytes(60)]))
        assert until(lambda: punt.counts.from_tap.frames + punt.fetch() >= 2)
        for each in held:
            each.release()
    ip(here, "link", "set", "vf0", "down")
    send_all(peer, [arp(port.mac, peer.mac)] * 2)
    with received(port, 2) as burst:
        punt.take(burst)
    counts = punt.counts
    assert counts.to_tap.drops == {"too_long": 1, "tap_down": 2}
    assert counts.to_tap.packets == 4 == counts.to_tap.delivered + 3
    assert counts.from_tap == FromTap(frames=2, drops={"no_buffer": 2})


def test_the_interface_is_like_the_port(punted: Opened, here: kernel.Namespace) -> None:
    port, punt = punted(mtu=1400)

    def look() -> tuple[str, str]:
        text = subprocess.run(
            ["ip", "-o", "link", "show", "vf0"], capture_output=True, text=True, check=True
        ).stdout
        return text.partition("mtu ")[2].split()[0], text.partition("link/ether ")[2].split()[0]

    assert here.run(look) == ("1400", port.mac.hex(":"))
    assert flags(here) & 1  # up
    punt.close()
    punt.close()
    assert "vf0" not in here.run(lambda: [name for _, name in socket.if_nameindex()])


def test_the_link_is_the_ports(punted: Opened, pf: SoftPf, here: kernel.Namespace) -> None:
    port, _ = punted()
    assert until(lambda: bool(flags(here) & RUNNING))
    pf.control("link", vf=0, state="disable")
    try:
        assert until(lambda: not flags(here) & RUNNING)
    finally:
        pf.control("link", vf=0, state="enable")
    assert until(lambda: bool(flags(here) & RUNNING)) and port.link.up


def test_the_groups_of_the_kernel_are_the_ports_meanwhile(
    punted: Opened, peer: Port, pf: SoftPf, here: kernel.Namespace
) -> None:
    own = "02:00:00:00:77:01"
    port, punt = punted(extra_macs=[own])

    def macs() -> list[str]:
        found: list[str] = pf.control("snapshot", vf=0)["snapshot"]["macs"]
        return [mac.replace(":", "") for mac in found]

    with here.run(lambda: kernel.packets("vf0")) as raw:
        index = here.run(lambda: socket.if_nametoindex("vf0"))
        for group in (LACP, LLDP):
            joined = struct.pack("iHH8s", index, 0, 6, group)
            raw.setsockopt(263, 1, joined)  # PACKET_ADD_MEMBERSHIP
        assert until(lambda: {LACP.hex(), LLDP.hex()} <= set(macs()))
        slow = (LACP + peer.mac + bytes.fromhex("8809")).ljust(124, b"\1")
        send_all(peer, [slow])
        with received(port, 1) as burst:
            punt.take(burst)
        assert read(raw, lambda data: data[:6] == LACP) == slow
        port.reset()
        assert {LACP.hex(), LLDP.hex(), own.replace(":", "")} <= set(macs())
        raw.setsockopt(263, 2, joined)  # PACKET_DROP_MEMBERSHIP
        assert until(lambda: LLDP.hex() not in macs()) and LACP.hex() in macs()
        port.set_extra_macs([own, another := "02:00:00:00:77:02"])  # without the groups
        assert until(lambda: LACP.hex() in macs())
    punt.close()
    kept = [mac.replace(":", "") for mac in (own, another)]
    assert set(macs()) == {*kept, port.mac.hex()} and punt.notes == []
    assert port.settings.extra_macs == tuple(map(bytes.fromhex, kept))


def test_a_pf_that_refuses_groups_is_asked_for_all_of_them(
    punted: Opened, pf: SoftPf, here: kernel.Namespace
) -> None:
    few = [f"02:00:00:00:78:{n:02x}" for n in range(16)]
    port, punt = punted(extra_macs=few)
    with here.run(lambda: kernel.packets("vf0")) as raw:
        index = here.run(lambda: socket.if_nametoindex("vf0"))
        raw.setsockopt(263, 1, struct.pack("iHH8s", index, 0, 6, LACP))
        assert until(lambda: port.settings.all_multicast)
        assert "does not take the groups of the TAP" in punt.notes[0]
        assert until(lambda: any("does not trust this VF" in note for note in port.notes))
    punt.close()
    assert not port.settings.all_multicast and len(port.settings.extra_macs) == 16


def test_further_addresses_may_change_while_a_port_runs(punted: Opened) -> None:
    port, punt = punted()
    punt.close()
    port.set_extra_macs(["33:33:00:00:00:05"])
    held = port.session.held.macs
    assert held == [port.mac, bytes.fromhex("333300000005")]
    with pytest.raises(iavfio.PfRefused):
        port.set_extra_macs([f"02:00:00:00:79:{n:02x}" for n in range(40)])
    assert port.settings.extra_macs == (bytes.fromhex("333300000005"),)
    assert sorted(port.session.held.macs) == sorted([port.mac, *port.settings.extra_macs])
    with pytest.raises(ConfigError):
        port.set_extra_macs(["x"])
    port.set_extra_macs([])
    assert port.session.held.macs == [port.mac]


class Running:
    """`Punt.run` in a thread; `result` ends it."""

    def __init__(self, punt: Punt, **how: Any) -> None:
        self._punt = punt
        self._result: list[Punted] = []
        self._thread = threading.Thread(target=lambda: self._result.append(punt.run(**how)))
        self._thread.start()

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def result(self) -> Punted:
        self._punt.stop()
        self._thread.join(60)
        return self._result[0]


def test_a_run_goes_on_after_a_reset_and_counts_all(
    punted: Opened, peer: Port, pf: SoftPf, here: kernel.Namespace
) -> None:
    port, punt = punted()
    running = Running(punt)
    with here.run(lambda: kernel.packets("vf0")) as raw:
        for number in range(2):
            send_all(peer, [arp(port.mac, peer.mac), udp(port.mac, peer.mac)])
            assert until(lambda n=number: punt.counts.received == 2 * n + 2)  # type: ignore[misc]
            assert read(raw) == arp(port.mac, peer.mac)
            raw.send(udp(peer.mac, port.mac))
            assert collect(peer.rx, 1) == [udp(peer.mac, port.mac)]
            if not number:
                pf.control("reset", vf=0)
                assert until(lambda: len(port.resets) == 1 and port.state == "running")
                assert until(lambda: bool(flags(here) & RUNNING))
    done = running.result()
    assert (done.ended_by, done.error, done.resets, done.drops) == ("stop", None, 1, {})
    counts = done.counts
    assert (counts.received, counts.passed, counts.to_tap.delivered) == (4, 2, 2)
    assert counts.from_tap.sent == counts.from_tap.frames == 2


def test_a_tap_that_is_deleted_ends_it(punted: Opened, peer: Port, here: kernel.Namespace) -> None:
    port, punt = punted()
    running = Running(punt)
    ip(here, "link", "del", "vf0")
    assert until(lambda: running.ended)
    done = running.result()
    assert done.ended_by == "error" and "the TAP vf0 is gone" in str(done.error)
    send_all(peer, [arp(port.mac, peer.mac)])
    with received(port, 1) as burst, pytest.raises(KernelRefused, match="is gone"):
        punt.take(burst)


@pytest.mark.parametrize("name", ["", "x" * 16, "a b", "a/b", "tap%d", "..", "a:b", "\n", 7])
def test_names_that_no_interface_can_have(name: Any) -> None:
    with pytest.raises(ConfigError, match="cannot name a network interface"):
        Tap(name)


def test_a_name_that_is_taken(punted: Opened, here: kernel.Namespace) -> None:
    port, _ = punted()
    for name in ("lo", "vf0"):
        with pytest.raises(ConfigError, match=f"there is a network interface {name}"):
            here.run(lambda name=name: Punt(port, name))  # type: ignore[misc]
    for wrong in ("192.0.2.1", "x", "0.0.0.0/0", "224.0.0.1/4"):
        with pytest.raises(ConfigError, match="is no address for an interface"):
            here.run(lambda wrong=wrong: Punt(port, "vf1", addresses=[wrong]))  # type: ignore[misc]
    assert "vf1" not in here.run(lambda: [name for _, name in socket.if_nameindex()])
    for words, why in (
        ({"tx": 1}, "has the send queues 0 to 0"),
        ({"tap": None}, "tap is a text or "),
        ({"filter": "arp"}, "filter is "),
        ({"filtr": None}, "did you mean filter"),
        ({"addresses": "192.0.2.1/24"}, "addresses"),
    ):
        given: dict[str, Any] = {"port": port, "tap": "vf1"} | words
        with pytest.raises(ConfigError, match=why):
            Punt(**given)
