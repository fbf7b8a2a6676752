# SPDX-License-Identifier: BSD-3-Clause
"""What a PF and a device hold of a VF is the same before and after a reset, key by key.

One setting at a time differs from what a VF has by itself, so that each is seen to be asked for
again. A PF forgets everything at a reset but the VF's own address (docs/spec/virtchnl.md 8).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

import iavfio
from iavfio._driver import lib
from iavfio.datapath.pool import Pool
from iavfio.port.desired import ROWS
from iavfio.port.port import Port
from iavfio.port.settings import Change
from iavfio.softvf.launch import SoftPf
from tests.port.expected import snapshot
from tests.port.rig import until, works

CARDS = ("e810", "x710", "x722")
OWN, EXTRA, GROUP = "02:00:00:00:01:00", "02:00:00:00:02:00", "01:00:5e:00:00:01"
PAIR = 64  # bytes of a queue pair in CONFIG_VSI_QUEUES, behind a header of 8
IVEC = 4  # bytes between the vectors' control registers

# Setting -> the values to try, and the key by which each shows itself.
SETTINGS: dict[str, list[tuple[Any, str]]] = {
    "queues": [(4, "queues")],
    "ring": [(256, "message")],
    "rx_ring": [(1024, "message")],
    "tx_ring": [(1024, "message")],
    "mtu": [(9000, "message"), (1400, "message")],
    "metadata": [({"vlan"}, "vlan_strip"), ({"rss", "ptype"}, "")],
    "mac": [(OWN, "primary_mac")],
    "extra_macs": [([EXTRA, GROUP], "macs")],
    "promiscuous": [(True, "promisc")],
    "all_multicast": [(True, "promisc")],
    "rss": [
        (iavfio.Rss.make(key=bytes(range(52))), "rss"),
        (iavfio.Rss.make(lut=[0]), ""),  # with one queue every table is this one
        (iavfio.Rss.make(fields=["ipv4-tcp"]), "rss"),
        (iavfio.Rss.make(symmetric=True), "symmetric"),
    ],
    "isa": [("scalar", "")],
    "descriptors": [("legacy", "format")],
}
CASES = [
    pytest.param(name, value, key, id=f"{name}-{at}")
    for name, values in SETTINGS.items()
    for at, (value, key) in enumerate(values)
]
# What counts, and what a reset changes: a PF then tells the last own address as the default.
MOVES = ("resets", "state", "faults", "default_mac")


@pytest.fixture(scope="module", params=CARDS)
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    options: dict[str, Any] = {"reset_ms": 1, "notice_lead_ms": 0, "trusted": True}
    with iavfio.softvf(personality=request.param, options=options) as pf:
        yield pf


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(8192, huge="never")


def by_the_port(pf: SoftPf, port: Port) -> None:
    port.reset()


def by_the_host(pf: SoftPf, port: Port) -> None:
    pf.control("reset", vf=0)


def by_the_host_untold(pf: SoftPf, port: Port) -> None:
    pf.control("reset", vf=0, notify=False)


def by_the_pf(pf: SoftPf, port: Port) -> None:
    pf.control("pf_reset", kind="pfr", latency_ms=2)


def by_the_function(pf: SoftPf, port: Port) -> None:
    port.device.reset()


RESETS: list[Callable[[SoftPf, Port], None]] = [
    by_the_port,
    by_the_host,
    by_the_host_untold,
    by_the_pf,
    by_the_function,
]


def state_of(pf: SoftPf, port: Port) -> dict[str, Any]:
    """What PF, device and port say, but for what counts and for what a reset changes of itself."""
    told = {key: value for key, value in snapshot(pf).items() if key not in MOVES}
    del told["queues"]["stats"]
    told["queues"]["vectors"] = {
        vector: both for vector, both in told["queues"]["vectors"].items() if any(both)
    }
    device, bar = port.device, port.control.bar
    link = port.wait_link(10)
    return told | {
        "message": configured(pf),
        "bus master": device.config.bus_master,
        "mailbox cause": bool(bar.read32(lib.REG_VFINT_ICR0_ENA1) & lib.ICR0_ADMINQ),
        "vectors": [bar.read32(lib.REG_VFINT_DYN_CTLN1 + IVEC * v) for v in range(4)],
        "port": (port.state, port.mac, port.settings, link.up, link.mbps),
        "pairs": [(pair.rxdid, pair.isa, pair.settings) for pair in port.control.queues],
        "held buffers": port.pool.held,
        "shown": shown(port),
    }


def shown(port: Port) -> tuple[Any, ...]:
    """What other processes see of the port."""
    told = port.stats.snapshot()
    return told.state, told.link_up, told.link_mbps, told.mac, len(told.rq)


def configured(pf: SoftPf) -> bytes:
    """The last CONFIG_VSI_QUEUES that the PF took: sizes, formats and addresses of all rings."""
    found = [
        bytes.fromhex(entry["hex"])
        for entry in pf.control("journal", vf=0)["entries"]
        if entry["direction"] == "out" and entry["opcode"] == lib.VC_OP_CONFIG_VSI_QUEUES
    ]
    return found[-1]


def without_addresses(state: dict[str, Any]) -> dict[str, Any]:
    """Rings of another port lie elsewhere, which is no difference."""
    message = bytearray(state["message"])
    for at in range(8, len(message) - PAIR + 1, PAIR):
        message[at + 8 : at + 16] = bytes(8)  # of the send ring
        message[at + 48 : at + 56] = bytes(8)  # of the receive ring
    return state | {"message": bytes(message)}


def test_every_setting_has_its_row() -> None:
    assert set(SETTINGS) == set(Change.__annotations__)
    assert {row.field for row in ROWS} == {
        *("rss_key", "rss_table", "hash_function", "hash_fields"),
        *("vlan_stripping", "promiscuity"),
    }, "a new row wants a setting here"


@pytest.mark.parametrize(("name", "value", "key"), CASES)
def test_a_setting_outlives_every_kind_of_reset(
    pf: SoftPf, pool: Pool, name: str, value: Any, key: str
) -> None:
    card = snapshot(pf)["personality"]
    with pf.open(0, pool=pool) as port:
        port.start()
        plain = without_addresses(state_of(pf, port))
        port.stop()
        port.configure(**{name: value})
        port.start()
        before, said = state_of(pf, port), list(port.notes)
        differs(card, key, plain, before)
        for number, reset in enumerate(RESETS, 1):
            reset(pf, port)
            assert until(lambda n=number: len(port.resets) == n and port.state == "running")  # type: ignore[misc]
            after = state_of(pf, port)
            assert after.keys() == before.keys()
            for each in before:
                assert after[each] == before[each], f"{each} after a reset {reset.__name__}"
            # The VF's own address outlives a reset where the PF was told that it is the own one.
            assert snapshot(pf)["default_mac"] == port.mac.hex(":")
        works(port)
        assert not [note for note in port.notes if note not in said]


def differs(card: str, key: str, plain: dict[str, Any], with_it: dict[str, Any]) -> None:
    """A setting that changes nothing would be found again after any reset."""
    if key == "symmetric":
        assert with_it["rss"]["symmetric"] is (card == "e810")  # i40e knows no hash function
    elif key == "format":
        assert (with_it["message"][8 + 24 + 21] != plain["message"][8 + 24 + 21]) is (
            card == "e810"
        )
    elif key:
        assert without_addresses(with_it)[key] != plain[key]


@pytest.mark.parametrize(("on", "multicast"), [(True, None), (False, True), (True, True)])
def test_modes_that_were_set_while_running_outlive_every_kind_of_reset(
    pf: SoftPf, pool: Pool, on: bool, multicast: bool | None
) -> None:
    with pf.open(0, pool=pool) as port:
        port.start()
        port.set_promiscuous(on, all_multicast=multicast)
        before = state_of(pf, port)
        assert before["promisc"] == {"unicast": on, "multicast": True}
        for number, reset in enumerate(RESETS, 1):
            reset(pf, port)
            assert until(lambda n=number: len(port.resets) == n and port.state == "running")  # type: ignore[misc]
            assert state_of(pf, port) == before


def test_the_vf_s_queue_pairs_outlive_a_reset(pool: Pool) -> None:
    """More than the PF gives unasked, by REQUEST_QUEUES."""
    options: dict[str, Any] = {"reset_ms": 1, "trusted": True}
    with iavfio.softvf(personality="x710", options=options) as pf, pf.open(0, pool=pool) as port:
        port.configure(queues=8, ring=64)
        port.start()
        before = state_of(pf, port)
        assert before["num_queue_pairs"] == 8
        assert before["mailbox cause"] and before["bus master"]
        for reset in (by_the_port, by_the_host, by_the_function):
            count = len(port.resets)
            reset(pf, port)
            assert until(lambda n=count: len(port.resets) > n and port.state == "running")  # type: ignore[misc]
            assert state_of(pf, port) == before
