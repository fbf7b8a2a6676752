# SPDX-License-Identifier: BSD-3-Clause
"""Runs between VFs of a software PF: what is counted at both ends, and what is told before.

Counts stay below the receive ring, so that no packet can be lost however slow the machine is.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

import iavfio
from iavfio.capture.sending import own_on_wire
from iavfio.errors import ConfigError, IavfioError
from iavfio.generator import Generator, Stream
from iavfio.generator import generator as module
from iavfio.generator.receiver import QUIET, Receiver
from iavfio.port import inquiry
from iavfio.port.draining import drain
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from iavfio.stats import Snapshot
from tests.port.rig import pressed_once, until

RING = 4096


@pytest.fixture
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2, uplink="none") as made:
        yield made


def opened(pf: SoftPf, vf: int, **settings: Any) -> Port:
    port = iavfio.open(pf.sockets[vf])
    port.configure(**{"ring": RING} | settings)
    port.start(wait_link=30)
    return port


STREAMS = [
    Stream(name="web", proto="tcp", dst_ip="198.19.0.0/28", dport="80,443", size="imix", count=700),
    Stream(name="tagged", vlan="10-19", qinq=5, size="random:100-1500", count=300, burst=7),
    Stream(name="six", proto="icmp", src_ip="2001:db8::1-2001:db8::9", size=100, count=500),
    Stream(name="bare", proto="ethernet", count=100),
]


@pytest.mark.parametrize("rate", ["max", "20kpps"])
def test_each_stream_is_counted_at_both_ends(pf: SoftPf, rate: str) -> None:
    streams = [Stream(**_keys(stream) | {"rate": rate}) for stream in STREAMS]
    with opened(pf, 0) as sender, opened(pf, 1) as receiver:
        generator = Generator(sender, streams, expect=receiver)
        generator.preflight()
        done = generator.run(progress=lambda seconds, packets: None)
        sizes = [int(each.lengths[:1].sum()) for each in generator.crafted]
        assert sender.tx[0].in_flight == 0
    assert (done.ended_by, done.error, done.reasons) == ("done", None, [])
    assert [(s.name, s.sent, s.received) for s in done.streams] == [
        ("web", 700, 700), ("tagged", 300, 300), ("six", 500, 500), ("bare", 100, 100)
    ]  # fmt: skip
    assert {(s.lost, s.duplicated, s.reordered) for s in done.streams} == {(0, 0, 0)}
    assert done.on_wire == done.sent == 1600 and done.sound
    assert done.streams[2].bytes == 500 * 96 and sizes[2] == 96
    imix = (7 * 60 + 4 * 590 + 1514) * 58 + 4 * 60  # 700 are 58 dozens and 4 small ones
    assert done.streams[0].bytes - imix == pytest.approx(0, abs=12 * 700)


def test_probes_that_go_beside_the_streams_make_nothing_unsound(pf: SoftPf) -> None:
    """As `iavfio why` sends them when it is asked meanwhile."""
    with opened(pf, 0) as sender:
        asked: list[object] = []

        def ask(seconds: float, packets: int) -> None:
            if not asked:
                asked.append(inquiry.ask(sender.name))

        stream = Stream(count=1500, rate="500pps")
        done = Generator(sender, [stream]).run(progress=ask)
        posted = sender.stats.snapshot().sq[0]["posted"]
    assert asked and posted > 1500
    assert (done.sent, done.on_wire, done.reasons) == (1500, 1500, [])


@pytest.mark.parametrize(
    ("counted", "posted", "told"),
    [
        (100, 100, 100),
        (99, 100, 99),  # lost
        (102, 103, 100),  # two of three that went beside
        (99, 103, 99),
        (104, 103, 104),  # more than anybody sent
        (101, 100, 101),
    ],
)
def test_the_pf_s_count_of_own_frames(counted: int, posted: int, told: int) -> None:
    pf = dict.fromkeys(("tx_unicast", "tx_multicast", "tx_broadcast"), 0) | {"tx_unicast": counted}
    moved = SimpleNamespace(pf=pf, sq=[{"posted": posted - 1}, {"posted": 1}])
    assert own_on_wire(cast(Snapshot, moved), 100) == told


def _keys(stream: Stream) -> dict[str, Any]:
    names = ("name", "proto", "vlan", "qinq", "src_ip", "dst_ip", "dport", "size", "count", "burst")
    return {name: getattr(stream, name) for name in names}


def test_long_frames_keep_their_signature(pf: SoftPf) -> None:
    with opened(pf, 0, mtu=9000) as sender, opened(pf, 1, mtu=9000) as receiver:
        stream = Stream(size="64,2051,2052,2053,4100,9018", count=300)
        generator = Generator(sender, [stream], expect=receiver)
        generator.preflight()
        done = generator.run()
    assert (done.streams[0].received, done.reasons) == (300, [])


@pytest.mark.parametrize(
    ("owner", "step"), [(module, "drain"), (Receiver, "wait"), (module, "on_wire")]
)
def test_a_signal_after_the_last_frame_keeps_the_result(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch, owner: object, step: str
) -> None:
    with opened(pf, 0) as sender, opened(pf, 1) as receiver:
        generator = Generator(sender, [Stream(count=300)], expect=receiver)
        pressed = pressed_once(monkeypatch, owner, step)
        done = generator.run()
    assert pressed == [step] and isinstance(done.interrupted, KeyboardInterrupt)
    assert done.ended_by == "done" and done.sent == done.on_wire == 300


def test_count_ends_all_streams_together(pf: SoftPf) -> None:
    with opened(pf, 0) as sender:
        generator = Generator(sender, [Stream(rate="3kpps"), Stream(rate="1kpps")])
        done = generator.run(count=400)
    assert [s.sent for s in done.streams] == [300, 100]
    assert (done.sent, done.on_wire, done.ended_by) == (400, 400, "count")
    assert done.streams[0].received is None and done.sound


def test_duration_ends_what_has_no_count(pf: SoftPf) -> None:
    with opened(pf, 0) as sender:
        done = Generator(sender, [Stream(rate="100pps")]).run(duration=0.3)
    assert done.ended_by == "duration" and done.on_wire == done.sent <= 30


def test_what_does_not_arrive_is_counted_by_stream_and_not_sound(pf: SoftPf) -> None:
    with opened(pf, 0) as sender, opened(pf, 1) as receiver:
        streams = [Stream(name="good", count=50), Stream(name="gone", dst_mac="02:00:00:00:00:77")]
        done = Generator(sender, streams, expect=receiver).run(count=100)
    assert [(s.name, s.sent, s.lost) for s in done.streams] == [("good", 50, 0), ("gone", 50, 50)]
    assert not done.sound and done.reasons == ["gone: 50 of 50 did not arrive"]


def test_templates_are_counted_on_the_wire(pf: SoftPf) -> None:
    frames = [bytes(12) + bytes.fromhex("88b5") + bytes(50)] * 3
    with opened(pf, 0) as sender, opened(pf, 1) as receiver:
        stream = Stream(frames=frames, dst_mac=receiver.mac)
        generator = Generator(sender, [stream])
        generator.preflight()
        done = generator.run(count=10)
        assert (done.sent, done.on_wire, done.bytes) == (10, 10, 640)
        with pytest.raises(ConfigError, match="without a signature"):
            Generator(sender, [stream], expect=receiver)


def test_what_would_vanish_is_told_before_the_first_packet(pf: SoftPf) -> None:
    with opened(pf, 0) as sender, opened(pf, 1) as receiver:

        def told(words: str, **keys: Any) -> None:
            with pytest.raises(IavfioError, match=f"(?s){words}"):
                Generator(sender, [Stream(**keys)], expect=receiver).preflight()

        told("spoof check.*leave src_mac out", src_mac="02:00:00:00:00:09")
        told("do not reach vf1.*leave dst_mac out", dst_mac="02:00:00:00:00:77")
        told("frames of 3000 bytes.*configure\\(mtu=2974\\)", size=3000)
        pf.control("link", vf=1, state="disable")
        assert until(lambda: not receiver.link.up, 60)
        told("link of vf1 is down")


def test_streams_of_one_name_and_none_at_all_are_refused(pf: SoftPf) -> None:
    with opened(pf, 0) as sender:
        with pytest.raises(ConfigError, match="two streams are named a"):
            Generator(sender, [Stream(name="a"), Stream(name="a")])
        with pytest.raises(ConfigError, match="0 streams"):
            Generator(sender, [])


# docs/spec/reliability.md F66
def test_after_a_signal_nothing_is_waited_for_that_a_stopped_server_does_not_do(
    pf: SoftPf, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited = []
    with opened(pf, 0) as sender, opened(pf, 1) as receiver:
        generator = Generator(sender, [Stream(rate="1kpps")], expect=receiver)
        wait = Receiver.wait

        def drained(port: Port, seconds: float) -> int:
            waited.append(seconds)
            return drain(port, seconds)

        def received(of: Receiver, packets: int, quiet: float = QUIET) -> None:
            waited.append(quiet)
            wait(of, packets, quiet)

        def interrupt(*_: object) -> str:
            raise KeyboardInterrupt

        monkeypatch.setattr(module, "drain", drained)
        monkeypatch.setattr(Receiver, "wait", received)
        monkeypatch.setattr(generator, "_send", interrupt)
        done = generator.run()
    assert done.interrupted is not None
    assert len(waited) == 2 and sum(waited) < 0.05
