# SPDX-License-Identifier: BSD-3-Clause
"""Wrong arguments in Python: each raises ConfigError with the real reason, and changes nothing."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iavfio
from iavfio import ConfigError, IavfioError, Port, Rss, handlers
from iavfio.datapath.isa import usable
from iavfio.datapath.worker import Lane, Worker
from iavfio.port.settings import CHECKS
from iavfio.softvf.launch import SoftPf

OTHER_ISA = next(word for word in ("neon", "avx512", "avx2") if word not in usable())
MAC = "02:00:00:00:00:01"
# Callables without types: what mypy would refuse is what is tried here.
RSS: Any = Rss
WORKER: Any = Worker
HANDLER: Any = iavfio.handler
RUN: Any = handlers.run
SWAP = handlers.builtin("swap_macs")
NO_NUMBERS: list[Any] = [1.5, 0.0, None, "x", b"", [], [0], {}, True, np.zeros(1), np.float64(0)]
NO_UINT8 = np.zeros((2, 60))
ROWS = np.zeros((2, 60), dtype=np.uint8)


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2) as pf:
        yield pf


@pytest.fixture(scope="module")
def stopped(pf: SoftPf) -> Iterator[Port]:
    with pf.open(0) as port:
        yield port


@pytest.fixture(scope="module")
def running(pf: SoftPf) -> Iterator[Port]:
    with pf.open(1) as port:
        port.start(wait_link=10)
        yield port


def column(port: Port, name: Any) -> Any:
    return port.tx[0].build([bytes(60)]).column(name)


def numbers(name: str, unit: str, low: int, high: int) -> list[tuple[dict[str, Any], str]]:
    """What every setting that counts something refuses."""
    kind = f"{name} is a whole number of {unit}, not "
    return [
        ({name: str(low)}, f"{kind}the str '{low}'"),
        ({name: True}, f"{kind}the bool True"),
        ({name: float(low)}, f"{kind}the float {low:.1f}"),
        ({name: math.nan}, f"{kind}the float nan"),
        ({name: None}, f"{kind}None"),
        ({name: [low]}, f"{kind}the list [{low}]"),
        ({name: low - 1}, f"use {name}={low}"),
        ({name: -low}, f"{name} can be {low} to {high} {unit}"),
        ({name: high + 1}, f"use {name}={high}"),
        ({name: 10**30}, f"{name} can be {low} to {high} {unit}"),
    ]


SETTINGS: list[tuple[dict[str, Any], str]] = [
    *numbers("queues", "queue pairs", 1, 16),
    *numbers("ring", "descriptors", 64, 8160),
    *numbers("rx_ring", "descriptors", 64, 8160),
    *numbers("tx_ring", "descriptors", 64, 8160),
    *numbers("mtu", "bytes", 68, 9702),
    ({"queues": 17}, "iavfio drives at most 16"),
    ({"ring": 100}, "use ring=128"),
    ({"tx_ring": 8150}, "use tx_ring=8160"),
    ({"mtu": 9703}, "the longest frame of these cards has 9728 bytes"),
    # names of settings
    ({"quues": 4}, "did you mean queues?"),
    ({"rx_queues": 4}, "did you mean queues?"),
    ({"promiscuos": True}, "did you mean promiscuous?"),
    ({"Mtu": 1500}, "did you mean mtu?"),
    ({"extra_mac": MAC}, "did you mean extra_macs?"),
    ({"vlan_filter": [5]}, "known are queues, ring, rx_ring"),
    ({"": 1}, "there is no setting ''"),
    ({"queues": 2, "zzz": 1}, "there is no setting 'zzz'"),
    # metadata
    ({"metadata": ("time", "mark")}, "FDIR_PF, without which the column would always be 0"),
    ({"metadata": "time"}, "did not grant PTP"),
    ({"metadata": ["rss", "time"]}, "metadata 'time' is not possible"),
    ({"metadata": ["rsss"]}, "did you mean rss?"),
    ({"metadata": ["everything"]}, "known are rss, ptype, csum, vlan, mark, time"),
    ({"metadata": [3]}, "there is no metadata 3"),
    ({"metadata": 3}, "metadata is a list of names of metadata, not the int 3"),
    ({"metadata": None}, "not None"),
    ({"metadata": b"rss"}, "not the bytes b'rss'"),
    ({"metadata": {"rss": True}}, "not the dict"),
    # addresses
    ({"mac": None}, "mac is a MAC address, not None"),
    ({"mac": 5}, "mac is a MAC address, not the int 5"),
    ({"mac": ""}, "six bytes"),
    ({"mac": "02:00:00:00:00"}, "six bytes"),
    ({"mac": "02:00:00:00:00:0g"}, "six bytes"),
    ({"mac": "02 00 00 00 00 01"}, "six bytes"),
    ({"mac": b"12345"}, "six bytes"),
    ({"mac": bytes(6)}, "all six bytes are zero"),
    ({"mac": "ff:ff:ff:ff:ff:ff"}, "it is a group address"),
    ({"mac": "01:00:5e:00:00:01"}, "it is a group address"),
    ({"extra_macs": MAC}, "extra_macs is a list of MAC addresses, not the str"),
    ({"extra_macs": bytes(6)}, "not the bytes"),
    ({"extra_macs": None}, "not None"),
    ({"extra_macs": 7}, "not the int 7"),
    ({"extra_macs": [None]}, "extra_macs is a MAC address, not None"),
    ({"extra_macs": [MAC, "x"]}, "six bytes"),
    ({"extra_macs": ["ff:ff:ff:ff:ff:ff"]}, "receives broadcast without being told"),
    ({"extra_macs": [bytes(6)]}, "all six bytes are zero"),
    ({"extra_macs": {MAC: 1}}, "not the dict"),
    # flags
    ({"promiscuous": 1}, "promiscuous is True or False, not the int 1"),
    ({"promiscuous": "yes"}, "not the str 'yes'"),
    ({"promiscuous": None}, "not None"),
    ({"all_multicast": 0}, "all_multicast is True or False, not the int 0"),
    ({"all_multicast": []}, "not the list []"),
    # RSS
    *(
        ({"rss": Rss(key=b"k" * size)}, f"an RSS key of {size} bytes is not possible")
        for size in (1, 16, 39, 40, 51, 53, 100)
    ),
    ({"rss": Rss(key=b"k")}, "give 52 bytes, or leave key out"),
    ({"rss": Rss(lut=(0, 5))}, "names queue 5"),
    ({"rss": Rss(lut=(0,) * 65)}, "this PF's table has 64"),
    ({"rss": None}, "rss is an object of Rss, not None"),
    ({"rss": {"symmetric": True}}, "as in rss=iavfio.Rss.make"),
    ({"rss": "symmetric"}, "not the str 'symmetric'"),
    # code paths
    ({"isa": OTHER_ISA}, f"this CPU cannot run it; it can run {', '.join(usable())}"),
    ({"isa": "mmx"}, "known are auto, scalar, avx2, avx512, neon"),
    ({"isa": "AVX2"}, "did you mean avx2?"),
    ({"descriptors": "flex"}, "known are auto, legacy"),
    ({"descriptors": None}, "not None"),
    ({"isa": None}, "not None"),
    ({"isa": 3}, "not the int 3"),
    ({"isa": ""}, "there is no code path ''"),
]


@pytest.mark.parametrize(("change", "reason"), SETTINGS, ids=lambda value: str(value)[:40])
def test_a_wrong_setting_is_refused_and_changes_nothing(
    stopped: Port, change: dict[str, Any], reason: str
) -> None:
    before, queues, mac = stopped.settings, stopped.rx, stopped.mac
    with pytest.raises(ConfigError) as refused:
        stopped.configure(**change)
    assert reason in str(refused.value)
    assert refused.value.cause or refused.value.remedy
    assert len(str(refused.value).splitlines()) <= 2
    assert (stopped.settings, stopped.rx, stopped.mac) == (before, queues, mac)
    assert stopped.rx is queues


def test_rows_of_settings_are_complete() -> None:
    """Each setting has wrong values in the table."""
    assert set(CHECKS) <= {name for change, _ in SETTINGS for name in change}


Call = Callable[[Any], object]
CALLS: list[tuple[str, Call, str]] = [
    ("build 1523", lambda p: p.tx[0].build([bytes(1523)]), "has 1522 bytes, without FCS"),
    ("build 1523 mtu", lambda p: p.tx[0].build([bytes(1523)]), "port.configure(mtu=1501)"),
    ("build second", lambda p: p.tx[0].build([bytes(60), bytes(1523)]), "packet 1 of 1523 bytes"),
    ("build jumbo", lambda p: p.tx[0].build([bytes(9014)] * 2), "port.configure(mtu=8992)"),
    ("build giant", lambda p: p.tx[0].build([bytes(9725)]), "no MTU of these cards"),
    ("build 16", lambda p: p.tx[0].build([bytes(16)]), "at least 17 bytes"),
    ("build empty frame", lambda p: p.tx[0].build([b""]), "at least 17 bytes"),
    ("build both", lambda p: p.tx[0].build([bytes(16), bytes(1523)]), "packet 0 of 16 bytes"),
    ("build bytes", lambda p: p.tx[0].build(bytes(60)), "build([frame])"),
    ("build int", lambda p: p.tx[0].build(5), "packets is a list of frames, not the int 5"),
    ("build None", lambda p: p.tx[0].build(None), "not None"),
    ("build str", lambda p: p.tx[0].build("frame"), "not the str 'frame'"),
    ("build [str]", lambda p: p.tx[0].build(["frame"]), "not the str 'frame'"),
    ("build [int]", lambda p: p.tx[0].build([60]), "a frame is a bytes-like object"),
    ("build [None]", lambda p: p.tx[0].build([None]), "packet 0 is not possible"),
    ("build strided", lambda p: p.tx[0].build([memoryview(bytes(60))[::2]]), "in one piece"),
    ("build floats", lambda p: p.tx[0].build(NO_UINT8), "one row of uint8 per frame"),
    ("build 1-D", lambda p: p.tx[0].build(ROWS[0]), "shape (60,)"),
    ("lengths few", lambda p: p.tx[0].build(ROWS, [60]), "2 rows of 60 bytes"),
    ("lengths long", lambda p: p.tx[0].build(ROWS, [60, 61]), "2 rows of 60 bytes"),
    ("lengths negative", lambda p: p.tx[0].build(ROWS, -1), "2 rows of 60 bytes"),
    ("lengths float", lambda p: p.tx[0].build(ROWS, [60.5, 60.0]), "one whole number per row"),
    ("lengths str", lambda p: p.tx[0].build(ROWS, "60"), "one whole number per row"),
    ("lengths None", lambda p: p.tx[0].build(ROWS, [None, None]), "one whole number per row"),
    ("lengths of frames", lambda p: p.tx[0].build([bytes(60)], [60]), "leave lengths out"),
    ("send frame", lambda p: p.tx[0].send(bytes(60)), "a burst or a selection"),
    ("send view", lambda p: p.tx[0].send(memoryview(bytes(60))), "queue.send([frame])"),
    ("send row", lambda p: p.tx[0].send(ROWS[0]), "shape (60,)"),
    ("send str", lambda p: p.tx[0].send("frame"), "not the str 'frame'"),
    ("send [16]", lambda p: p.tx[0].send([bytes(16)]), "at least 17 bytes"),
    ("send [str]", lambda p: p.tx[0].send([bytes(60), "x"]), "packet 1 is not possible"),
    ("send None", lambda p: p.tx[0].send(None), "not None"),
    ("send int", lambda p: p.tx[0].send(1), "not the int 1"),
    ("wait str", lambda p: p.rx.wait("1"), "a number of seconds, not the str"),
    ("any nan", lambda p: p.rx.any(math.nan), "timeout is not a number"),
    ("bursts 0", lambda p: p.rx[0].bursts(0), "max can be 1 to 65536"),
    ("recv 0", lambda p: p.rx[0].recv(0), "max can be 1 to 65536"),
    ("recv -1", lambda p: p.rx[0].recv(-1), "use max=1"),
    ("recv str", lambda p: p.rx[0].recv("5"), "not the str '5'"),
    ("recv float", lambda p: p.rx[0].recv(2.5), "not the float 2.5"),
    ("recv None", lambda p: p.rx[0].recv(None), "not None"),
    ("recv True", lambda p: p.rx[0].recv(True), "not the bool True"),
    ("recv huge", lambda p: p.rx[0].recv(10**12), "use max=65536"),
    ("recv nan s", lambda p: p.rx[0].recv(timeout=math.nan), "timeout is not a number"),
    ("recv inf s", lambda p: p.rx[0].recv(timeout=math.inf), "use timeout=-1 for no limit"),
    ("recv -inf s", lambda p: p.rx[0].recv(timeout=-math.inf), "use timeout=-1 for no limit"),
    ("any inf", lambda p: p.rx.any(math.inf), "use timeout=-1 for no limit"),
    ("wait inf", lambda p: p.rx.wait(math.inf), "use timeout=-1 for no limit"),
    ("wait nan", lambda p: p.rx.wait(math.nan), "use timeout=-1 for no limit"),
    ("link inf", lambda p: p.wait_link(math.inf), "use timeout=1000000"),
    ("link -1", lambda p: p.wait_link(-1), "use timeout=0"),
    ("recv str s", lambda p: p.rx[0].recv(timeout="1"), "a number of seconds, not the str"),
    ("link nan", lambda p: p.wait_link(math.nan), "timeout is not a number"),
    ("link -1", lambda p: p.wait_link(-1), "0 to 1e+06 seconds"),
    ("link str", lambda p: p.wait_link("5"), "not the str '5'"),
    ("link None", lambda p: p.wait_link(None), "not None"),
    ("running inf", lambda p: p.wait_running(math.inf), "0 to 1e+06 seconds"),
    ("running True", lambda p: p.wait_running(True), "not the bool True"),
    ("start nan", lambda p: p.start(wait_link=math.nan), "wait_link is not a number"),
    ("start str", lambda p: p.start(wait_link="3"), "not the str '3'"),
    ("promiscuous 1", lambda p: p.set_promiscuous(1), "on is True or False"),
    ("promiscuous None", lambda p: p.set_promiscuous(None), "not None"),
    ("all_multicast 1", lambda p: p.set_promiscuous(True, all_multicast=1), "all_multicast is"),
    ("bytes 'x'", lambda p: p.tx[0].build([bytes(60)]).bytes("0"), "index is the number"),
    ("field 'a'", lambda p: p.tx[0].build([bytes(60)]).field("a", 2), "not the str 'a'"),
    ("field -1", lambda p: p.tx[0].build([bytes(60)]).field(-1, 2), "0 to 65535 bytes"),
    ("field 3", lambda p: p.tx[0].build([bytes(60)]).field(0, 3), "1, 2, 4 or 8 bytes"),
    ("field '2'", lambda p: p.tx[0].build([bytes(60)]).field(0, "2"), "1, 2, 4 or 8 bytes"),
    ("column", lambda p: p.tx[0].build([bytes(60)]).column("vlan"), "configure(metadata={..."),
    *(
        (
            f"{call} {index!r}",
            lambda p, call=call, index=index: getattr(p.tx[0].build([bytes(60)]), call)(index),
            "index is the number of a packet, not",
        )
        for call in ("bytes", "segments_of")
        for index in NO_NUMBERS
    ),
    *(
        (
            f"{call} {index}",
            lambda p, call=call, index=index: getattr(p.tx[0].build([bytes(60)]), call)(index),
            f"there is no packet {index}: packets are numbered 0 to 0",
        )
        for call in ("bytes", "segments_of", "__getitem__")
        for index in (1, -2, 1 << 40)
    ),
    ("column 2", lambda p: column(p, "nosuch"), "known are rss, ptype, csum, vlan, mark, time"),
    ("column 3", lambda p: column(p, "vlam"), "did you mean vlan?"),
    ("column 4", lambda p: column(p, 5), "there is no column 5"),
    ("column 5", lambda p: column(p, "chain"), "there is no column 'chain'"),
    ("column 6", lambda p: column(p, "segments"), "frames longer than a buffer"),
    ("column 7", lambda p: column(p, "flags"), "and none was"),
    ("headers 'a'", lambda p: p.tx[0].build([bytes(60)]).headers("a"), "not the str 'a'"),
    ("headers 0", lambda p: p.tx[0].build([bytes(60)]).headers(0), "use width=1"),
    ("set 'x'", lambda p: p.tx[0].build([bytes(60)]).set_field(0, 2, "x"), "0 to 65535"),
    ("set 65536", lambda p: p.tx[0].build([bytes(60)]).set_field(0, 2, 65536), "0 to 65535"),
    ("set -1", lambda p: p.tx[0].build([bytes(60)]).set_field(0, 1, -1), "0 to 255"),
    ("set 1.5", lambda p: p.tx[0].build([bytes(60)]).set_field(0, 2, 1.5), "one whole number"),
    ("set None", lambda p: p.tx[0].build([bytes(60)]).set_field(0, 2, None), "one whole number"),
    ("set 3 of 1", lambda p: p.tx[0].build([bytes(60)]).set_field(0, 2, [1, 2, 3]), "each of 1"),
    ("run None", lambda p: RUN(None, p.rx), "@iavfio.handler"),
    ("run no queues", lambda p: RUN(SWAP, 5), "a port or its receive queues, not the int 5"),
    ("run few queues", lambda p: RUN(SWAP, []), "1 to 32"),
    ("run burst", lambda p: RUN(SWAP, p.rx, burst=300), "use burst=256"),
    ("run ring", lambda p: RUN(SWAP, p.rx, pass_ring=-1), "pass_ring can be 0 to 1048576"),
    ("run ring 'x'", lambda p: RUN(SWAP, p.rx, pass_ring="x"), "not the str 'x'"),
    ("run tx", lambda p: RUN(SWAP, p.rx, tx="no"), "tx is True or False"),
    ("run redirect", lambda p: RUN(SWAP, p.rx, redirect=5), "a list of send queues"),
    ("run state", lambda p: RUN(SWAP, p.rx, state=5), "C-contiguous"),
    ("run cpu", lambda p: RUN(SWAP, p.rx, cpu="0"), "not the str '0'"),
    ("handler", lambda _: HANDLER(5), "a handler is a function"),
    ("worker mode", lambda p: WORKER("loopbck", [Lane(p.rx[0])]), "did you mean loopback?"),
    ("worker None", lambda p: WORKER(None, [Lane(p.rx[0])]), "not None"),
    ("worker lanes", lambda p: WORKER("rxdrop", []), "1 to 32"),
    ("worker no lane", lambda p: WORKER("rxdrop", [p.rx[0]]), "a lane is a Lane"),
    ("worker port", lambda p: WORKER("rxdrop", p), "lanes is a list of Lane objects"),
    ("worker burst", lambda p: WORKER("rxdrop", [Lane(p.rx[0])], burst=0), "use burst=1"),
    ("worker burst 257", lambda p: WORKER("rxdrop", [Lane(p.rx[0])], burst=257), "use burst=256"),
    ("worker burst str", lambda p: WORKER("rxdrop", [Lane(p.rx[0])], burst="8"), "not the str"),
    ("worker macs", lambda p: WORKER("forward", [Lane(p.rx[0])], macs="swop"), "mean swap?"),
    ("worker sizes", lambda p: WORKER("txonly", [Lane(p.rx[0])], sizes=[59]), "use sizes=60"),
    ("worker no sizes", lambda p: WORKER("txonly", [Lane(p.rx[0])], sizes=[]), "1 to 64"),
    ("worker sizes int", lambda p: WORKER("txonly", [Lane(p.rx[0])], sizes=60), "a list of frame"),
    ("worker flows", lambda p: WORKER("txonly", [Lane(p.rx[0])], flows=0), "use flows=1"),
    ("worker limit", lambda p: WORKER("txonly", [Lane(p.rx[0])], limit=-1), "use limit=0"),
    ("worker rate", lambda p: WORKER("txonly", [Lane(p.rx[0])], rate=math.nan), "rate is not a"),
    ("worker rate -1", lambda p: WORKER("txonly", [Lane(p.rx[0])], rate=-1), "packets a second"),
    ("worker window", lambda p: WORKER("txonly", [Lane(p.rx[0])], window=math.inf), "seconds"),
    ("worker cpu", lambda p: WORKER("rxdrop", [Lane(p.rx[0])], cpu=4095), "may run on"),
    ("worker cpu -1", lambda p: WORKER("rxdrop", [Lane(p.rx[0])], cpu=-1), "use cpu=0"),
    ("worker cpu str", lambda p: WORKER("rxdrop", [Lane(p.rx[0])], cpu="0"), "not the str"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "reason"), [row[1:] for row in CALLS], ids=[r[0] for r in CALLS])
def test_a_wrong_call_is_refused_and_moves_nothing(running: Port, call: Call, reason: str) -> None:
    held = running.pool.held
    before = running.settings
    with pytest.raises(ConfigError) as refused:
        call(running)
    message = str(refused.value)
    del refused  # its traceback holds the burst that a call may have built
    gc.collect()
    assert reason in message
    assert (running.state, running.settings, running.pool.held) == ("running", before, held)


# ---- whose limit it is


def test_the_pf_s_limit_of_queues_is_told_as_the_pf_s() -> None:
    """An i40e that grants no REQ_QUEUES is not there to test with: the words are made by hand."""
    from iavfio.port.settings import Limits, Settings, changed

    limits = Limits(queues=4, ring=4096, frame=1522, rss_key=52, rss_table=64, granted=0)
    for change, reason in (
        ({"queues": 5}, "the PF gives this VF 4 and does not grant REQ_QUEUES"),
        ({"ring": 4128}, "this card has no longer rings"),
        ({"mtu": 1497}, "the PF's longest frame has 1522 bytes: the MTU and 26 around it"),
        ({"metadata": "vlan"}, "did not grant VLAN_V2 or VLAN"),
        ({"metadata": "rss"}, "did not grant RSS_PF"),
        ({"rss": Rss(symmetric=True)}, "the PF did not grant RSS_PF"),
    ):
        with pytest.raises(ConfigError) as refused:
            changed(Settings(), limits, change)
        assert reason in str(refused.value)


@pytest.mark.parametrize(("frame", "mtu"), [(1522, 1496), (94, 68), (1526, 1500), (0, 1500)])
def test_a_port_starts_with_the_mtu_that_the_pf_allows(frame: int, mtu: int) -> None:
    with iavfio.softvf(options={"max_mtu": frame}) as pf, pf.open() as port:
        assert port.settings.mtu == mtu
        assert any(str(frame) in note for note in port.notes) == (mtu < 1500)
        port.start(wait_link=10)
        longest = port.tx[0].build([bytes(mtu + 22)])
        assert port.tx[0].send(longest) == 1


def test_a_pf_that_allows_no_frame_is_told() -> None:
    with (
        iavfio.softvf(options={"max_mtu": 93}) as pf,
        pytest.raises(iavfio.DeviceError, match="at most 93 bytes: a port needs 94"),
    ):
        pf.open()


def test_the_64th_address_of_a_trusted_vf_is_no_question_of_trust() -> None:
    macs = [f"02:00:00:00:01:{i:02x}" for i in range(70)]
    with iavfio.softvf(options={"trusted": True}) as pf, pf.open() as port:
        port.configure(extra_macs=macs)
        with pytest.raises(iavfio.PfRefused) as refused:
            port.start()
        assert "no room" in refused.value.cause
        assert "trust on" not in str(refused.value)
    with iavfio.softvf() as pf, pf.open() as port:
        port.configure(extra_macs=macs)
        with pytest.raises(iavfio.PfRefused, match="trust on"):
            port.start()


# ---- arbitrary values

anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.integers(-2, 20000),
        st.floats(),
        st.text(max_size=20),
        st.binary(max_size=60),
        st.complex_numbers(),
        st.decimals(),
        st.fractions(),
        st.dates(),
        st.uuids(),
        st.just(object()),
        st.just(Rss()),
        st.builds(np.int64, st.integers(-5, 9000)),
        st.builds(np.float32, st.floats(width=32)),
        st.builds(np.bool_, st.booleans()),
        st.integers(0, 7).map(lambda size: np.zeros(size, dtype=np.uint8)),
        st.sampled_from(["rss", "vlan", "auto", "scalar", MAC, "ff:ff:ff:ff:ff:ff", 512, 1500]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.tuples(inner, inner),
        st.dictionaries(st.text(max_size=5), inner, max_size=3),
        st.iterables(inner, max_size=3),
    ),
    max_leaves=6,
)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.dictionaries(
        st.one_of(st.sampled_from(sorted(CHECKS)), st.text(max_size=8)),
        anything,
        min_size=1,
        max_size=3,
    )
)
def test_arbitrary_settings_raise_nothing_else_and_change_nothing_when_refused(
    stopped: Port, change: dict[str, Any]
) -> None:
    before, queues, mac = stopped.settings, stopped.rx, stopped.mac
    try:
        stopped.configure(**change)
    except IavfioError as refused:
        assert isinstance(refused, ConfigError)
        assert refused.what
        assert stopped.settings is before
        assert stopped.rx is queues
        assert stopped.mac == mac
    else:
        assert len(stopped.rx) == stopped.settings.queues
        stopped.configure(queues=1, ring=512, mtu=1500, metadata=(), extra_macs=(), isa="auto")


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.sampled_from(["key", "lut", "fields", "symmetric"]), anything)
def test_arbitrary_arguments_of_rss_raise_nothing_else(name: str, value: Any) -> None:
    try:
        made = RSS(**{name: value})
    except ConfigError as refused:
        assert refused.what
    else:
        assert made == RSS(**{name: getattr(made, name)})
