# SPDX-License-Identifier: BSD-3-Clause
"""What is punted when nobody says what; masks over bursts; parts of a burst that are given back."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

import iavfio
from iavfio.capture.filter import STEP, Filter
from iavfio.errors import StateError
from iavfio.port.port import Port
from iavfio.punt import everything, usual
from iavfio.softvf.launch import SoftPf
from tests.port.rig import healthy, udp

A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")


def frame(start: str, *fields: tuple[int, int], length: int = 80) -> bytes:
    """A frame with an EtherType, tags in front of it included, and bytes behind that."""
    head = A + B + bytes.fromhex(start)
    out = bytearray(head + bytes(length - len(head)))
    for at, value in fields:
        out[len(head) + at] = value
    return bytes(out)


PUNTED = {
    "ARP": frame("0806"),
    "LACP": frame("8809"),
    "LLDP": frame("88cc"),
    "ICMP": frame("0800", (9, 1)),
    "ICMPv6": frame("86dd", (6, 58)),
    "MLD": frame("86dd", (6, 0), (40, 58)),
    "ARP in a VLAN": frame("8100000a0806"),
    "ICMP in a VLAN": frame("8100000a0800", (9, 1)),
    "ND in QinQ": frame("88a8000a8100000b86dd", (6, 58)),
    "MLD in QinQ": frame("8100000a8100000b86dd", (6, 0), (40, 58)),
}
OTHERS = {
    "UDP": udp(A, B),
    "TCP over IPv6": frame("86dd", (6, 6)),
    "options of UDP": frame("86dd", (6, 0), (40, 17)),
    "UDP in a VLAN": frame("8100000a0800", (9, 17)),
    "three tags": frame("8100000a8100000b8100000c0806"),
    "MPLS": frame("8847"),
    "cut in its header": frame("0800", length=18),
    "ICMP's number elsewhere": frame("0800", (9, 17), (10, 1)),
}


def test_the_usual_selection() -> None:
    chosen = usual()
    assert [name for name, each in PUNTED.items() if not chosen.matches(each)] == []
    assert [name for name, each in OTHERS.items() if chosen.matches(each)] == []
    assert all(everything().matches(each) for each in (*OTHERS.values(), b""))


@pytest.fixture(scope="module")
def port(pf: SoftPf) -> Iterator[Port]:
    with iavfio.open(pf.sockets[2]) as opened:
        opened.configure(mtu=9000)
        opened.start(wait_link=10)
        yield opened


def test_a_mask_selects_what_the_filter_lets_through(port: Port) -> None:
    frames = [*PUNTED.values(), *OTHERS.values()]
    expected = [True] * len(PUNTED) + [False] * len(OTHERS)
    with port.tx[0].build(frames) as burst:
        mask = usual().mask(burst)
        assert mask.dtype == np.bool_ and mask.tolist() == expected
    with pytest.raises(StateError, match="released"):
        usual().mask(burst)


def test_a_mask_sees_all_segments_of_a_packet(port: Port) -> None:
    last = [(0x30, 0, 0, 4999), (0x15, 0, 1, 7), (0x06, 0, 0, 1), (0x06, 0, 0, 0)]
    chosen = Filter.of_steps(np.array(last, dtype=STEP))
    long = bytearray(5000)
    long[4999] = 7
    with port.tx[0].build([bytes(5000), bytes(long), bytes(60), bytes(4999)]) as burst:
        assert chosen.mask(burst).tolist() == [False, True, False, False]


def test_a_selection_may_be_given_back_alone(port: Port) -> None:
    held = port.pool.idle
    with port.tx[0].build([bytes(60), bytes(5000), bytes(60), bytes(60)]) as burst:
        assert port.pool.idle == held - 6
        burst[[1, 2]].release()
        assert port.pool.idle == held - 2 and burst.left == 2
        with pytest.raises(StateError, match="sent before"):
            burst[[0, 1]].release()
        assert burst.left == 2
    assert port.pool.idle == held


def test_nothing_is_held_at_the_end(port: Port) -> None:
    port.stop()
    assert healthy(port.pool)
    port.start(wait_link=10)
