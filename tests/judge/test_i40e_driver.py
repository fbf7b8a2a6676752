# SPDX-License-Identifier: BSD-3-Clause
"""What iavfio's driver says in all its ways of being set up, said to the real i40e driver.

Each way of use runs on a software X710 first. Its messages are said again to the judge, in the same
order; each reply must make sense to the driver's decoders, and a request that succeeded there must
succeed here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Unpack

import pytest

import iavfio
from iavfio.linuxpf.process import JudgeProcess, What
from iavfio.port.port import Port
from iavfio.port.settings import Change
from iavfio.virtchnl.journal import Entry
from iavfio.virtchnl.messages.events import decode_event
from iavfio.virtchnl.messages.names import opcode_name
from iavfio.virtchnl.messages.registry import MESSAGES
from tests.judge.i40e_pair import JudgeSide

EVENT = 17
Judged = tuple[str, JudgeProcess]
Use = Callable[[Port], None]


def _configured(**settings: Unpack[Change]) -> Use:
    """A port with these settings, started and stopped."""

    def use(port: Port) -> None:
        port.configure(**settings)
        port.start(wait_link=2)
        port.refresh_stats()
        port.stop()

    return use


def _changing(port: Port) -> None:
    """Promiscuity changes and a reset comes while the port runs; the rest while it is stopped."""
    port.configure(queues=2, extra_macs=["02:00:00:00:00:71", "02:00:00:00:00:72"])
    port.start(wait_link=2)
    port.set_promiscuous(True, all_multicast=True)
    port.set_promiscuous(False)
    port.reset()
    port.refresh_stats()
    port.stop()
    port.configure(extra_macs=["02:00:00:00:00:72", "01:00:5e:00:00:01"])
    port.configure(rss=iavfio.Rss.make(key=bytes(range(52)), lut=[1, 0]))
    port.start(wait_link=2)
    port.stop()


USES: Mapping[str, Use] = MappingProxyType(
    {
        "as it comes": _configured(),
        "one queue": _configured(queues=1),
        "four queues, all metadata of the card": _configured(
            queues=4, metadata={"rss", "ptype", "csum", "vlan"}
        ),
        "long frames": _configured(queues=2, mtu=9000),
        "small rings": _configured(queues=3, rx_ring=64, tx_ring=96),
        "large rings": _configured(ring=4096),
        "its own address": _configured(mac="02:00:00:00:00:99"),
        "sixteen addresses": _configured(extra_macs=[f"02:00:00:00:03:{i:02x}" for i in range(15)]),
        "everything received": _configured(promiscuous=True, all_multicast=True),
        "a table of its own": _configured(
            queues=4, rss=iavfio.Rss.make(lut=[3, 2, 1, 0], fields=["ipv4-udp"])
        ),
        "more queues than the VF has": _configured(queues=8),
        "changing": _changing,
    }
)


def said(use: Use) -> list[tuple[Entry, Entry | None]]:
    """What the driver said in this use, each request with its reply."""
    with iavfio.softvf(personality="x710", options={"trusted": True, "mac": "zero"}) as pf:
        with pf.open(0) as port:
            use(port)
        entries = list(port.journal)
        assert port.journal.dropped == 0
    found: list[tuple[Entry, Entry | None]] = []
    for at, entry in enumerate(entries):
        if entry.direction == "out":
            replies = (e for e in entries[at:] if e.direction == "in" and e.opcode == entry.opcode)
            found.append((entry, next(replies, None)))
    return found


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", USES)
def test_the_driver_understands_the_real_pf(i40e: Judged, name: str) -> None:
    _, process = i40e
    judge = JudgeSide(process)
    judge.fresh(trusted=True)
    conversation = said(USES[name])
    assert len(conversation) > 5
    for request, answered in conversation:
        replies = process.say(request.opcode, request.payload)
        for opcode, status, payload in replies:
            if opcode == EVENT:
                decode_event(payload, request.adv_link_speed)
            elif status == 0:
                MESSAGES[opcode].read(payload)
        own = [status for opcode, status, _ in replies if opcode == request.opcode]
        if answered is not None and answered.status == 0:
            assert own == [0], f"{opcode_name(request.opcode)} {request.payload.hex()}"
    process.request(What.FLR)
