# SPDX-License-Identifier: BSD-3-Clause
"""Frames steered by rules of the flow director (docs/spec/descriptors.md 14)."""

from __future__ import annotations

import dataclasses
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from iavfio.softvf._device import lib
from iavfio.softvf.vf_config import FlowAction, FlowRule, HashRule
from tests.softvf.dataplane.flow_patterns import (
    D4,
    IPS,
    PATTERNS,
    PORTS,
    S4,
    bits,
    flow,
    gtpu,
    ip4,
    ip6,
    udp,
)
from tests.softvf.dataplane.plane_rig import Received, Vf, mac, rig, wait_for

MARK = 0x80C0FFEE
RSS_QUEUE = 7  # of everything that is hashed
QUEUES = 8


@pytest.fixture
def vf() -> Iterator[Vf]:
    with rig() as r:
        r.vfs[0].open(queues=QUEUES)
        yield r.vfs[0]


def publish(vf: Vf, *flows: FlowRule, **changes: Any) -> None:
    """Whatever RSS hashes goes to RSS_QUEUE."""
    settings = {"num_queues": QUEUES, "comms": True, "rss_lut": bytes([RSS_QUEUE] * 64)}
    vf.publish(**(settings | changes), flows=flows)


def counts(vf: Vf) -> list[int]:
    return [vf.plane.queue_stats(vf.index, queue, True)[0] for queue in range(QUEUES)]


def send(vf: Vf, frame: Any, to: Vf | None = None) -> tuple[int, Received] | None:
    """Where a frame arrived, None for nowhere."""
    to = to or vf
    before = counts(to)
    vf.send(bytes(frame))
    vf.settle()
    queues = [queue for queue, (a, b) in enumerate(zip(before, counts(to), strict=True)) if a != b]
    if not queues:
        return None
    (queue,) = queues
    got = to.take(queue)
    assert got.data == bytes(frame).ljust(60, b"\0")
    return queue, got


def by_rss(got: Received) -> int:
    return 0 if got.hash is None else RSS_QUEUE


@pytest.mark.parametrize("name", PATTERNS)
def test_a_frame_goes_where_the_rule_says(vf: Vf, name: str) -> None:
    headers, fields, template, fitting, missing = PATTERNS[name]
    publish(vf, flow(headers, fields, template, queue=2, mark=MARK))
    for frame in [template, *fitting]:
        found = send(vf, frame)
        assert found is not None
        assert (found[0], found[1].mark) == (2, MARK), frame.summary()
    for frame in missing:
        found = send(vf, frame)
        assert found is not None
        assert (found[0], found[1].mark) == (by_rss(found[1]), None), frame.summary()


@pytest.mark.parametrize("name", PATTERNS)
def test_each_action(vf: Vf, name: str) -> None:
    headers, fields, template, *_ = PATTERNS[name]
    plain = flow(headers, fields, template, mark=MARK)

    def sent(action: FlowAction, **more: Any) -> tuple[int, Received] | None:
        publish(vf, dataclasses.replace(plain, action=action, **more))
        return send(vf, template)

    for queue in (0, 6):
        found = sent(FlowAction.QUEUE, queue=queue)
        assert found is not None
        assert (found[0], found[1].mark) == (queue, MARK)
    for queue, queues in ((0, 8), (3, 4), (5, 1)):
        found = sent(FlowAction.QUEUES, queue=queue, queues=queues)
        assert found is not None
        assert found[0] == queue + (found[1].hash or 0) % queues
        assert found[1].mark == MARK
    found = sent(FlowAction.PASS, queue=3)
    assert found is not None
    assert (found[0], found[1].mark) == (by_rss(found[1]), MARK)
    before = vf.stat("rx_discard")
    assert sent(FlowAction.DROP) is None
    assert vf.stat("rx_discard") == before + 1


def test_a_region_spreads_by_the_hash(vf: Vf) -> None:
    publish(vf, flow("IPV4 UDP", "DST_PORT", ip4() / udp(), FlowAction.QUEUES, 2, queues=4),
            rss_key=bytes(range(52)))  # fmt: skip
    seen = set()
    for sport in range(4000, 4032):
        found = send(vf, ip4() / udp(sport))
        assert found is not None and found[1].hash is not None
        assert found[0] == 2 + (found[1].hash & 3)
        seen.add(found[0])
    assert seen == {2, 3, 4, 5}


def test_a_frame_without_a_hash_goes_to_the_first_of_a_region(vf: Vf) -> None:
    publish(vf, flow("IPV4", "", ip4(), FlowAction.QUEUES, 4, queues=4), hashcfg=0)
    found = send(vf, ip4() / udp())
    assert found is not None and found[1].hash is None
    assert found[0] == 4


def test_the_first_rule_that_fits_decides(vf: Vf) -> None:
    wide = flow("IPV4", "IP_SRC", ip4(), queue=1, mark=1)
    narrow = flow("IPV4 UDP", PORTS, ip4() / udp(), queue=2, mark=2)
    same = dataclasses.replace(narrow, queue=3, mark=3)
    for flows, expected in (
        ((wide, narrow), 1),
        ((narrow, wide), 2),
        ((narrow, same), 2),
        ((same, narrow, wide), 3),
        ((flow("IPV4 TCP", PORTS, ip4() / TCP(), queue=6), wide), 1),
    ):
        publish(vf, *flows)
        found = send(vf, ip4() / udp())
        assert found is not None
        assert (found[0], found[1].mark) == (expected, expected)


def test_patterns_of_the_same_values_are_apart(vf: Vf) -> None:
    """The bytes of both rules are alike; the frame has those of the first in another field."""
    sport = flow("IPV4 UDP", "SRC_PORT", ip4() / udp(53, 9), queue=1, mark=1)
    dport = flow("IPV4 UDP", "DST_PORT", ip4() / udp(9, 54), queue=2, mark=2)
    publish(vf, sport, dport)
    for ports, mark in (((53, 9), 1), ((9, 54), 2), ((9, 53), None), ((54, 9), None)):
        found = send(vf, ip4() / udp(*ports))
        assert found is not None and found[1].mark == mark


def test_a_rule_that_is_withdrawn_decides_nothing(vf: Vf) -> None:
    first = flow("IPV4 UDP", PORTS, ip4() / udp(), queue=2, mark=2)
    second = flow("IPV4 UDP", PORTS, ip4() / udp(4001), queue=3, mark=3)
    for flows in ((first, second), (second,), (first,), ()):
        publish(vf, *flows)
        for rule, sport in ((first, 4000), (second, 4001)):
            found = send(vf, ip4() / udp(sport))
            assert found is not None
            expected = (rule.queue, rule.mark) if rule in flows else (RSS_QUEUE, None)
            assert (found[0], found[1].mark) == expected


def test_rules_for_rss_hash_what_a_flow_steers(vf: Vf) -> None:
    """The hash of a region is that of the VF's rules, not of its packet classes."""
    by_port = HashRule(bits("HAS", "IPV4 UDP"), bits("OF", "DST_PORT"))
    publish(vf, flow("IPV4", "", ip4(), FlowAction.QUEUES, 0, queues=8), rules=(by_port,),
            rss_key=bytes(range(52)))  # fmt: skip
    found = [send(vf, ip4() / udp(sport)) for sport in range(4000, 4008)]
    assert len({each and (each[0], each[1].hash) for each in found}) == 1


# ---- other VFs


def test_a_vfs_rules_are_its_own() -> None:
    with rig(vfs=3) as r:
        for vf in r.vfs:
            vf.open(queues=QUEUES)
            publish(vf)
        everyone = Ether(dst="ff:ff:ff:ff:ff:ff", src=mac(1)) / IP(src=S4, dst=D4) / udp()
        rule = flow("IPV4 UDP", f"{IPS} {PORTS}", everyone, queue=1, mark=10)
        publish(r.vfs[0], rule)
        publish(r.vfs[1], dataclasses.replace(rule, queue=4, mark=11))
        before = [counts(vf) for vf in r.vfs]
        r.vfs[0].send(bytes(everyone))
        r.vfs[0].settle()
        for vf, start, expected in zip(
            r.vfs, before, ((1, 10), (4, 11), (RSS_QUEUE, None)), strict=True
        ):
            (queue,) = (q for q in range(QUEUES) if counts(vf)[q] != start[q])
            assert (queue, vf.take(queue).mark) == expected


def test_plain_frames_of_another_vf_are_steered() -> None:
    """They would else take the fast path."""
    with rig(vfs=2) as r:
        for vf in r.vfs:
            vf.open(queues=QUEUES)
            publish(vf)
        frame = Ether(dst=mac(2), src=mac(1)) / IP(src=S4, dst=D4) / udp()
        rule = flow("IPV4 UDP", PORTS, frame, queue=1, mark=10)
        for flows, expected in (
            ((), (RSS_QUEUE, None)),
            ((rule,), (1, 10)),
            ((), (RSS_QUEUE, None)),
        ):
            publish(r.vfs[1], *flows)
            found = send(r.vfs[0], frame, to=r.vfs[1])
            assert found is not None
            assert (found[0], found[1].mark) == expected


# ---- what is counted


@pytest.mark.parametrize("queue", [5, 15, 16, 0x7FF])
def test_a_frame_for_a_queue_that_does_not_receive_is_discarded(vf: Vf, queue: int) -> None:
    vf.plane.disable_queue(0, 5, True)
    publish(vf, flow("IPV4 UDP", PORTS, ip4() / udp(), queue=queue))
    assert send(vf, ip4() / udp()) is None
    assert (vf.stat("rx_uc"), vf.stat("rx_discard")) == (1, 1)
    assert send(vf, ip4() / udp(4001)) is not None
    assert (vf.stat("rx_uc"), vf.stat("rx_discard")) == (2, 1)


def test_a_dropped_frame_reached_the_vsi_and_was_discarded(vf: Vf) -> None:
    publish(vf, flow("IPV4 UDP", PORTS, ip4() / udp(), FlowAction.DROP))
    assert send(vf, ip4() / udp()) is None
    assert (vf.stat("rx_uc"), vf.stat("rx_discard")) == (1, 1)
    assert vf.stat("rx_bytes") == 60 + 4
    assert not vf.plane.events(), "nothing is wrong with it"


# ---- formats


@pytest.mark.parametrize("rxdid", [1, 2, 6, 16, 21, 22, 23, 25])
def test_each_format_shows_hash_and_mark(rxdid: int) -> None:
    with rig(rxdid=rxdid) as r:
        vf = r.vfs[0]
        vf.open(queues=QUEUES)
        for mark in (None, 0, MARK, 0x1234):
            publish(vf, flow("IPV4 UDP", PORTS, ip4() / udp(), mark=mark), rss_key=bytes(range(52)))
            found, other = send(vf, ip4() / udp()), send(vf, ip4() / udp(4001))
            assert found is not None and other is not None
            assert found[1].mark == (mark if mark is None or rxdid != 6 else mark & 0xFFFF)
            assert found[1].hash is not None and found[1].hash != other[1].hash
            assert other[1].mark is None
            if rxdid == 1:
                assert found[1].words[1] >> 11 & 1, "FLM: a rule fits, whether it marks or not"
                assert not other[1].words[1] >> 11 & 1


def test_the_format_for_ipsec_shows_no_flow() -> None:
    with rig(rxdid=24) as r:
        r.vfs[0].open(queues=QUEUES)
        publish(r.vfs[0], flow("IPV4 UDP", PORTS, ip4() / udp(), mark=MARK))
        found = send(r.vfs[0], ip4() / udp())
        assert found is not None
        assert (found[0], found[1].words[3] & 0xFFFFFFFF) == (2, 0xFFFFFFFF)


def test_the_mark_stands_in_the_last_descriptor_of_a_chain() -> None:
    with rig(buffer=128) as r:
        vf = r.vfs[0]
        vf.open(queues=QUEUES)
        publish(vf, flow("IPV4 UDP", PORTS, ip4() / udp(), mark=MARK))
        found = send(vf, ip4() / UDP(sport=4000, dport=53) / Raw(bytes(300)))
        assert found is not None
        assert (found[0], found[1].mark, len(found[1].parts)) == (2, MARK, 3)


# ---- templates and limits


def refused(vf: Vf, number: int, *flows: FlowRule, **changes: Any) -> None:
    with pytest.raises(OSError) as told:
        publish(vf, *flows, **changes)
    assert told.value.errno == number


def test_as_many_rules_as_promised(vf: Vf) -> None:
    first = flow("IPV4 UDP", PORTS, ip4() / udp())
    flows = [
        dataclasses.replace(
            first,
            frame=first.frame[:34] + (1000 + i).to_bytes(2) + first.frame[36:],
            queue=i % QUEUES,
            mark=i,
        )
        for i in range(lib.SOFTVF_FLOWS)
    ]
    assert len(flows) >= 512
    publish(vf, *flows)
    for i in (0, 1, 77, 510, 511):
        found = send(vf, ip4() / udp(1000 + i))
        assert found is not None
        assert (found[0], found[1].mark) == (i % QUEUES, i)
    refused(vf, errno.ENOSPC, *flows, first)
    assert send(vf, ip4() / udp(1001)), "and those of before stay"


def test_as_many_patterns_as_promised(vf: Vf) -> None:
    fields = [FlowRule(lib.SOFTVF_HAS_IPV4, of, bytes(ip4() / udp()), FlowAction.QUEUE, 3, mark=of)
              for of in range(lib.SOFTVF_FLOW_PATTERNS)
              if not of & (lib.SOFTVF_OF_GTPU_TEID)]  # fmt: skip
    more = [dataclasses.replace(each, headers=bits("HAS", "IPV4 UDP")) for each in fields]
    publish(vf, *fields, *more)
    found = send(vf, ip4() / udp())
    assert found is not None and found[1].mark == 0
    extra = flow("IPV6", "IP_SRC", ip6())
    publish(vf, *fields, *more[:-1], extra)
    refused(vf, errno.ENOSPC, *fields, *more, extra)
    publish(vf, *fields, *more, *fields)


# Where their inner headers are cut off, the ports of the outer ones are still there.
@pytest.mark.parametrize("name", sorted(PATTERNS.keys() - {"vxlan", "gtpu-inner"}))
def test_a_template_that_is_too_short_is_refused(vf: Vf, name: str) -> None:
    headers, fields, template, *_ = PATTERNS[name]
    rule = flow(headers, fields, template)
    publish(vf, rule)
    lengths = []
    for end in range(len(rule.frame)):
        try:
            publish(vf, dataclasses.replace(rule, frame=rule.frame[:end]))
        except OSError as error:
            assert error.errno == errno.EINVAL
            lengths.append(end)
    assert lengths == list(range(len(lengths))), "one that is long enough stays so"
    assert len(lengths) >= 14
    assert send(vf, template), "what was refused changed nothing"


@pytest.mark.parametrize(
    "wrong",
    [
        {"frame": bytes(ip6() / udp())},
        {"frame": bytes(ip4() / TCP())},
        {"frame": bytes(ip4(frag=9) / udp())},
        {"frame": bytes(ip4() / udp()).ljust(lib.SOFTVF_FLOW_FRAME + 1, b"\0")},
        {"headers": bits("HAS", "IPV4 IPV6")},
        {"headers": bits("HAS", "IPV4 GTPU")},
        {"headers": bits("HAS", "PPPOE IPV4")},
        {"headers": 1 << 20},
        {"fields": bits("OF", "ESP_SPI")},
        {"fields": bits("OF", "GTPU_QFI")},
        {"fields": bits("OF", "C_VLAN")},
        {"fields": 1 << 19},
        {"queue": 0x800},
        {"queues": 0},
        {"queues": 3},
        {"queues": 256},
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(vf: Vf, wrong: dict[str, Any]) -> None:
    rule = flow("IPV4 UDP", PORTS, ip4() / udp(), mark=MARK)
    publish(vf, rule)
    refused(vf, errno.EINVAL, rule, dataclasses.replace(rule, **wrong))
    found = send(vf, ip4() / udp())
    assert found is not None and found[1].mark == MARK, "the rules of before stay"


def test_without_the_comms_package_there_are_no_tunnels(vf: Vf) -> None:
    for name in ("gtpu", "esp", "ah", "l2tpv3", "pfcp-node", "nat-t", "pppoe"):
        headers, fields, template, *_ = PATTERNS[name]
        refused(vf, errno.EINVAL, flow(headers, fields, template), comms=False)


@pytest.mark.parametrize("name", ["l2tpv3", "esp", "ah", "nat-t", "esp-v6", "l2tpv3-v6"])
def test_the_ip_lengths_of_a_template_do_not_count(vf: Vf, name: str) -> None:
    """A PF's training packets tell of the IP header alone, and zeros follow."""
    headers, fields, template, *_ = PATTERNS[name]
    frame = bytearray(bytes(template).ljust(lib.SOFTVF_FLOW_FRAME, b"\0"))
    frame[16:20] = b"\0\x14\0\0" if frame[12] == 8 else b"\0\0\0\0"
    if frame[12] != 8:
        frame[20] = template[IPv6].nh
    else:
        frame[18:20] = bytes(2)
    publish(vf, flow(headers, fields, bytes(frame), mark=MARK))
    found = send(vf, template)
    assert found is not None and found[1].mark == MARK


def test_a_template_of_one_gtpu_stands_for_the_others(vf: Vf) -> None:
    publish(vf, flow("IPV4 GTPU", "GTPU_TEID", gtpu(), mark=MARK))
    found, other = send(vf, gtpu(qfi=None)), send(vf, gtpu())
    assert found is not None and other is not None
    assert (found[1].mark, other[1].mark) == (MARK, None)


# ---- the wire


def test_frames_from_the_wire_are_steered_and_dropped(tmp_path: Path) -> None:
    frames = [bytes(ip4() / udp(4000 + i)) for i in range(4)]
    records = b"".join(
        (i).to_bytes(4, "little") + bytes(4) + len(f).to_bytes(4, "little") * 2 + f
        for i, f in enumerate(frames)
    )
    header = bytes.fromhex("d4c3b2a1 0200 0400 00000000 00000000 00000400 01000000")
    (tmp_path / "in").write_bytes(header + records)
    with rig(uplink=f"pcap:{tmp_path}/in,start=command,pace=10Mpps") as r:
        vf = r.vfs[0]
        vf.open(queues=QUEUES)
        publish(vf, flow("IPV4 UDP", PORTS, frames[0], queue=3, mark=1),
                flow("IPV4 UDP", PORTS, frames[1], FlowAction.DROP))  # fmt: skip
        r.plane.play()
        wait_for(lambda: r.plane.wire()["capture_ended"], "the end of the capture")
        assert vf.take(3).mark == 1
        assert [vf.take(RSS_QUEUE).data for _ in range(2)] == [
            f.ljust(60, b"\0") for f in frames[2:]
        ]
        assert r.plane.wire()["dropped"] == 1
        told = [event.text for event in r.plane.events()]
        assert "1 frames from the wire are lost: a rule of the flow director drops them" in told


def test_a_rig_of_many_rules_stops_cleanly() -> None:
    for _ in range(3):
        with rig(vfs=2) as r:
            publish(r.vfs[1], *[flow("IPV4", "IP_SRC", ip4())] * 100)
