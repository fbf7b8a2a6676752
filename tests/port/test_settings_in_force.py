# SPDX-License-Identifier: BSD-3-Clause
"""The PF holds what the settings say, after any sequence of changes, and nothing else.

IAVFIO_SEQUENCES=1000 runs more sequences than the few of a usual run.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import PfRefused
from iavfio.port.rss import FIELDS
from iavfio.softvf.launch import SoftPf
from tests.port.expected import RULES, expected, held, snapshot
from tests.port.rig import healthy, until, works

SEQUENCES = int(os.environ.get("IAVFIO_SEQUENCES", "12"))  # for each personality and trust
# A personality, and the DDP package where it matters: without the one there are no rules for RSS.
CARDS = ("e810", "e810 comms", "x710", "x722")
OWN = [bytes.fromhex(f"0200000001{n:02x}") for n in range(3)]
EXTRA = [bytes.fromhex(f"0200000002{n:02x}") for n in range(18)] + [
    bytes.fromhex(f"01005e0000{n:02x}") for n in range(8)
]
NONE = "00:00:00:00:00:00"
UNTRUSTED_FEW = 12  # addresses that any PF gives an untrusted VF, and room for one that is replaced

RSS = st.builds(
    iavfio.Rss.make,
    key=st.none() | st.binary(min_size=52, max_size=52).filter(any),
    lut=st.none() | st.just([0]),
    fields=st.none() | st.sets(st.sampled_from(sorted(FIELDS))),
    symmetric=st.booleans(),
    tunnels=st.sets(st.sampled_from(sorted(RULES))),
)
CHANGES: dict[str, st.SearchStrategy[Any]] = {
    "mac": st.just("auto") | st.sampled_from(OWN),
    "extra_macs": st.lists(st.sampled_from(EXTRA), max_size=26, unique=True),
    "promiscuous": st.booleans(),
    "all_multicast": st.booleans(),
    "rss": RSS,
    "metadata": st.sets(st.sampled_from(["rss", "vlan", "csum"])),
    "queues": st.integers(1, 4),
    "mtu": st.sampled_from([1500, 1400, 2500]),
    "ring": st.sampled_from([64, 96, 128]),
}


@pytest.fixture(scope="module", params=CARDS)
def card(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def pf(card: str) -> Iterator[SoftPf]:
    personality, _, ddp = card.partition(" ")
    options: dict[str, Any] = {"reset_ms": 1, "notice_lead_ms": 0} | ({"ddp": ddp} if ddp else {})
    with iavfio.softvf(personality=personality, options=options) as pf:
        yield pf


@pytest.fixture(scope="module")
def pool() -> Pool:
    return Pool(8192, huge="never")


def fits(card: str, change: dict[str, Any]) -> dict[str, Any]:
    """The change without rules for tunnels that the PF would refuse."""
    if "rss" in change and card != "e810 comms":
        change["rss"] = replace(change["rss"], tunnels=frozenset())
    return change


class Administered(RuleBasedStateMachine):
    """A port whose settings change, and an administrator who looks at the PF."""

    card: str
    pf: SoftPf
    pool: Pool
    trusted: bool

    @initialize()
    def begin(self) -> None:
        self.pf.control("trust", vf=0, on=self.trusted)
        self.open()

    def open(self) -> None:
        self.port = self.pf.open(0, pool=self.pool)
        self.default = snapshot(self.pf)["default_mac"]

    @property
    def stopped(self) -> bool:
        return self.port.state == "stopped"

    @property
    def running(self) -> bool:
        return self.port.state == "running"

    @precondition(lambda self: self.stopped)
    @rule(data=st.data(), names=st.sets(st.sampled_from(sorted(CHANGES)), min_size=1, max_size=3))
    def configure(self, data: st.DataObject, names: set[str]) -> None:
        change = {name: data.draw(CHANGES[name], name) for name in sorted(names)}
        self.port.configure(**fits(self.card, change))

    @precondition(lambda self: self.stopped)
    @rule()
    def start(self) -> None:
        settings = self.port.settings
        few = self.trusted or len(settings.extra_macs) <= UNTRUSTED_FEW
        before = held(self.pf)["macs"]
        try:
            self.port.start()
        except PfRefused:
            assert not few, "a start was refused that any PF allows"
            assert self.stopped
            assert held(self.pf)["macs"] == before  # what the PF had accepted is gone again
            self.port.configure(extra_macs=settings.extra_macs[:3])
            self.port.start()

    @precondition(lambda self: self.running)
    @rule()
    def stop(self) -> None:
        self.port.stop()

    @precondition(lambda self: self.stopped or self.running)
    @rule(on=st.booleans(), multicast=st.none() | st.booleans())
    def promiscuous(self, on: bool, multicast: bool | None) -> None:
        self.port.set_promiscuous(on, all_multicast=multicast)

    @rule()
    def reset(self) -> None:
        self.port.reset()

    @rule()
    def reset_by_the_host(self) -> None:
        count = len(self.port.resets)
        self.pf.control("reset", vf=0)
        assert until(lambda: len(self.port.resets) > count and (self.stopped or self.running))

    @rule()
    def close_and_open(self) -> None:
        resets = snapshot(self.pf)["resets"]
        self.port.close()
        assert until(lambda: snapshot(self.pf)["resets"] > resets)  # of the client that is gone
        assert until(lambda: snapshot(self.pf)["state"] != "resetting")
        seen = snapshot(self.pf)
        assert seen["macs"] == [mac for mac in [seen["default_mac"]] if mac != NONE]
        assert not seen["promisc"]["unicast"] and not seen["promisc"]["multicast"]
        # What the PF gave is back. ice keeps an own address where it gave none: only another one
        # would replace that.
        if self.default != NONE or seen["personality"] != "e810":
            assert seen["default_mac"] == self.default
        self.open()

    @invariant()
    def in_force(self) -> None:
        if self.running:
            assert held(self.pf) == expected(self.port, self.pf)

    def teardown(self) -> None:
        self.port.close()
        assert healthy(self.pool)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("trusted", [True, False], ids=["trusted", "untrusted"])
def test_pf_holds_the_settings_after_any_sequence(
    card: str, pf: SoftPf, pool: Pool, trusted: bool
) -> None:
    known = {"card": card, "pf": pf, "pool": pool, "trusted": trusted}
    machine = type("Machine", (Administered,), known)
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=SEQUENCES,
            stateful_step_count=15,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
        ),
    )


ONE_BY_ONE: list[dict[str, Any]] = [
    {"mac": "02:00:00:00:01:00"},
    {"extra_macs": ["02:00:00:00:02:00", "01:00:5e:00:00:01"]},
    {"promiscuous": True},
    {"all_multicast": True},
    {"queues": 4},
    {"metadata": {"vlan"}},
    {"mtu": 1400},
    {"ring": 256},
    {"rss": iavfio.Rss.make(key=bytes(range(52)))},
    {"rss": iavfio.Rss.make(lut=[0])},
    {"rss": iavfio.Rss.make(fields=["ipv4-tcp"])},
    {"rss": iavfio.Rss.make(fields=[])},
    {"rss": iavfio.Rss.make(symmetric=True)},
    *({"rss": iavfio.Rss.make(tunnels=[name])} for name in RULES),
    {"rss": iavfio.Rss.make(tunnels=list(RULES), symmetric=True)},
]


@pytest.mark.parametrize("change", ONE_BY_ONE, ids=lambda change: "-".join(change))
def test_each_setting_is_there_after_a_reset_and_gone_after_it_is_taken_back(
    card: str, pf: SoftPf, pool: Pool, change: dict[str, Any]
) -> None:
    if fits(card, dict(change)) != change:
        pytest.skip("the PF of this card has no rules for tunnels")
    pf.control("trust", vf=0, on=True)
    with pf.open(0, pool=pool) as port:
        port.start()
        plain, plainly = held(pf), port.settings
        port.stop()
        port.configure(**change)
        port.start(wait_link=5)
        with_it = held(pf)
        assert with_it == expected(port, pf)
        port.reset()
        assert held(pf) == with_it
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 2 and port.state == "running")
        assert held(pf) == with_it
        port.wait_link(5)
        works(port)
        port.stop()
        name = next(iter(change))
        back = "rx_ring" if name == "ring" else name
        undone: dict[str, Any] = {name: "auto" if name == "mac" else getattr(plainly, back)}
        port.configure(**undone)
        port.start()
        assert held(pf) == plain


def test_the_symmetric_function_leaves_the_packet_classes_as_they_are(
    pf: SoftPf, pool: Pool
) -> None:
    """ice makes all classes anew when it goes to the symmetric function."""
    few = ["ipv4-tcp", "ipv6-tcp"]
    with pf.open(0, pool=pool) as port:
        for symmetric in (False, True, False, True):
            port.configure(rss=iavfio.Rss.make(fields=few, symmetric=symmetric))
            port.start()
            assert held(pf) == expected(port, pf)
            port.stop()


def test_both_ways_into_promiscuous_mode_are_the_same(pf: SoftPf, pool: Pool) -> None:
    pf.control("trust", vf=0, on=True)
    with pf.open(0, pool=pool) as port:
        port.configure(promiscuous=True)
        port.start()
        configured, told = held(pf), port.settings
        port.stop()
        port.configure(promiscuous=False)
        port.start()
        assert not held(pf)["unicast"] and not held(pf)["multicast"]
        port.set_promiscuous(True)
        assert (held(pf), port.settings) == (configured, told)
        assert configured["unicast"] and configured["multicast"]
        port.set_promiscuous(False)
        assert not held(pf)["unicast"] and not held(pf)["multicast"]


def test_many_addresses_of_an_untrusted_vf_survive_a_second_start(pf: SoftPf, pool: Pool) -> None:
    pf.control("trust", vf=0, on=False)
    with pf.open(0, pool=pool) as port:
        most = 16  # of 18, broadcast and the VF's own address count as well
        port.configure(extra_macs=EXTRA[:most])
        for _ in range(3):
            port.start()
            assert held(pf) == expected(port, pf)
            port.stop()
        port.configure(extra_macs=EXTRA[4 : 4 + most])  # some go, some come
        port.start()
        assert held(pf) == expected(port, pf)


def test_refused_list_of_addresses_leaves_nothing_behind(pf: SoftPf, pool: Pool) -> None:
    pf.control("trust", vf=0, on=False)
    with pf.open(0, pool=pool) as port:
        port.configure(extra_macs=[bytes.fromhex(f"0200000003{n:02x}") for n in range(30)])
        before = held(pf)["macs"]
        with pytest.raises(PfRefused):
            port.start()
        assert (port.state, held(pf)["macs"]) == ("stopped", before)
        port.configure(extra_macs=EXTRA[:3])
        port.start()
        assert held(pf) == expected(port, pf)
        assert port.resets == []


def test_own_address_goes_with_the_port(pf: SoftPf, pool: Pool) -> None:
    pf.control("trust", vf=0, on=True)
    with pf.open(0, pool=pool) as port:
        own = list(snapshot(pf)["macs"])
        port.configure(mac=OWN[0], extra_macs=EXTRA[:5], promiscuous=True)
        port.start()
    left = held(pf)
    assert (left["macs"], left["unicast"], left["multicast"]) == (own, False, False)


@pytest.mark.parametrize("running", [False, True], ids=["stopped", "started-again"])
def test_an_address_that_was_taken_back_is_not_the_pfs_after_a_reset(
    pf: SoftPf, pool: Pool, running: bool
) -> None:
    """ice tells the VF's last own address as the default after a reset: that is no choice of it."""
    pf.control("trust", vf=0, on=True)
    with pf.open(0, pool=pool) as port:
        automatic = port.mac
        port.configure(mac="02:00:00:00:01:02")
        port.start()
        port.stop()
        port.configure(mac="auto")
        if running:
            port.start()
        port.reset()
        assert port.mac == automatic
        assert not [note for note in port.notes if "changed the MAC" in note]
        if not running:
            port.start()
        assert held(pf)["macs"] == [automatic.hex(":")]


@pytest.mark.parametrize("others", [0, 15], ids=["alone", "full"])
def test_an_address_that_is_there_already_becomes_the_own_one(
    pf: SoftPf, pool: Pool, others: int
) -> None:
    """It was one of extra_macs: the PF has its filter, and has to learn whose it is."""
    pf.control("trust", vf=0, on=False)
    new = "02:00:00:00:01:02"
    with pf.open(0, pool=pool) as port:
        port.configure(extra_macs=[new, *EXTRA[:others]])
        port.start()
        before = port.mac.hex(":")
        assert snapshot(pf)["primary_mac"] == before
        port.stop()
        port.configure(mac=new, extra_macs=EXTRA[:others])
        port.start()
        assert snapshot(pf)["primary_mac"] == new
        assert held(pf) == expected(port, pf)
        assert not port.notes
        port.reset()
        assert snapshot(pf)["primary_mac"] == new
        assert held(pf) == expected(port, pf)
        if snapshot(pf)["personality"] == "e810":
            assert snapshot(pf)["default_mac"] == new  # ice tells the own address after a reset


def test_a_refused_change_leaves_the_own_address_that_there_was(pf: SoftPf, pool: Pool) -> None:
    pf.control("trust", vf=0, on=False)
    with pf.open(0, pool=pool) as port:
        port.start()
        before = port.mac.hex(":")
        port.stop()
        port.configure(mac="02:00:00:00:01:02", extra_macs=[before, *EXTRA])
        with pytest.raises(PfRefused):
            port.start()
        assert snapshot(pf)["primary_mac"] == before
        assert snapshot(pf)["macs"] == [before]
        port.reset()
        if snapshot(pf)["personality"] == "e810":
            assert snapshot(pf)["default_mac"] == before
