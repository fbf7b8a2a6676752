# SPDX-License-Identifier: BSD-3-Clause
"""The check of VLAN tags and filters: on each kind of PF, and with each fault that it is for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from iavfio._driver import lib
from iavfio.port.port import Port
from iavfio.qualify.checks import vlan
from iavfio.qualify.vfs import Vfs
from iavfio.softvf import softvf
from iavfio.softvf.launch import SoftPf
from tests.qualify.rig import CARDS, FAST, run, spoil

# What a PF answers of filters, and whether frames are held back. A PF without pruning holds back
# what a VF sends alone.
KINDS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    ("e810", {}, {"capability": "VLAN_V2", "filtering": "none"}),
    ("e810", {"vlan_pruning": True}, {"capability": "VLAN_V2", "filtering": "in force"}),
    ("e810", {"double_vlan": True}, {"capability": "VLAN_V2", "filtering": "none"}),
    (
        "e810",
        {"double_vlan": True, "vlan_pruning": True},
        {"capability": "VLAN_V2", "filtering": "in force"},
    ),
    ("x710", {}, {"capability": "VLAN", "filtering": "none"}),
    ("x722", {"vlan_pruning": True}, {"capability": "VLAN", "filtering": "in force"}),
]


@pytest.mark.parametrize(("card", "options", "facts"), KINDS)
def test_each_kind_of_pf(card: str, options: dict[str, Any], facts: dict[str, str]) -> None:
    with softvf(vfs=2, uplink="none", personality=card, options=FAST | options) as pf:
        vfs = Vfs(pf.sockets, {})
        outcome = run(vfs, "vlan")
        assert outcome.status == "passed", outcome.reason
        assert facts.items() <= outcome.facts.items(), outcome.facts
        assert run(vfs, "both-ways").status == "passed"
        assert [pf.control("snapshot", vf=vf)["snapshot"]["vlans"] for vf in (0, 1)] == [[], []]
        vfs.close()
        assert not [
            each for each in pf.violations() if "VLAN" in str(each) and "200" not in str(each)
        ]


@pytest.mark.parametrize("card", CARDS)
def test_one_vf_alone_has_its_tags_tried(card: str) -> None:
    with softvf(vfs=1, uplink="loopback", personality=card, options=FAST) as pf:
        vfs = Vfs(pf.sockets, {})
        outcome = run(vfs, "vlan")
        vfs.close()
    assert outcome.status == "passed", outcome.reason
    assert outcome.facts["filtering"] == "not tried: two VFs are needed"


@pytest.mark.parametrize("card", ["e810"])
def test_a_vf_in_a_port_vlan_has_no_tags(pf: SoftPf, vfs: Vfs) -> None:
    for vf in range(2):
        pf.control("vlan", vf=vf, vlan=100)
    outcome = run(vfs, "vlan")
    assert outcome.status == "not run" and "port VLAN" in outcome.reason, outcome


FAULTS: list[tuple[Callable[[SoftPf], object], str]] = [
    (spoil("tag", 1), "stripping on: a frame with tag 0x0064 came with 0x0065"),
    (spoil("tag_kept", 1), "stripping on: the tag of a frame with tag 0x0064 was not stripped"),
    (spoil("tag_lost", 1), "stripping on: a frame with tag 0x0064 came with none"),
    (spoil("tagged_lost", 1), "stripping on: a frame with tag 0x0064 did not arrive"),
    (spoil("tagged_lost", 2), "stripping on: a frame with tag 0x0064 did not arrive"),
    (spoil("corrupt", 1), "stripping on: a frame without a tag was changed on the way"),
    (spoil("lose", 1), "stripping on: a frame without a tag did not arrive"),
]


@pytest.mark.parametrize("card", CARDS)
def test_each_fault_is_named_for_what_it_is(pf: SoftPf, vfs: Vfs, card: str) -> None:
    vfs.way()
    for fault, words in FAULTS:
        fault(pf)
        outcome = run(vfs, "vlan")
        assert outcome.status == "failed", (words, outcome)
        assert outcome.reason == f"auto descriptors, {words}"
        pf.control("fault", vf=1, kind="clear")
    outcome = run(vfs, "vlan")
    assert outcome.status == "passed", outcome.reason


STRIPPING = {
    "e810": (lib.VC_OP_ENABLE_VLAN_STRIPPING_V2, lib.VC_OP_DISABLE_VLAN_STRIPPING_V2),
    "x710": (lib.VC_OP_ENABLE_VLAN_STRIPPING, lib.VC_OP_DISABLE_VLAN_STRIPPING),
}


@pytest.mark.parametrize("card", CARDS)
def test_stripping_that_is_not_switched(pf: SoftPf, vfs: Vfs, card: str) -> None:
    on, off = STRIPPING[card]
    vfs.way()
    if card == "e810":  # on an X710 the filters switch it on all the same
        pf.control("fault", vf=1, kind="ignore", opcode=on, count=100)
        assert "was not stripped" in run(vfs, "vlan").reason
        pf.control("fault", vf=1, kind="clear")
    pf.control("fault", vf=1, kind="ignore", opcode=off, count=100)
    outcome = run(vfs, "vlan")
    assert outcome.status == "failed"
    assert outcome.reason == (
        "auto descriptors, stripping off: a frame with tag 0x0064 came without it"
    )


def test_filters_that_are_not_in_force() -> None:
    """Beyond its limit an untrusted VF is told of success, and nothing is added."""
    options = FAST | {"vlan_pruning": True}
    for opcode, skip, words in (
        (lib.VC_OP_ADD_VLAN_V2, 1, "a frame with tag 0x0064 did not arrive"),
        (lib.VC_OP_DEL_VLAN_V2, 0, "still arrives after its filter was withdrawn"),
    ):
        with softvf(vfs=2, uplink="none", personality="e810", options=options) as pf:
            vfs = Vfs(pf.sockets, {})
            vfs.way()
            pf.control("fault", vf=1, kind="ignore", opcode=opcode, value=skip, count=100)
            outcome = run(vfs, "vlan")
            vfs.close()
        assert outcome.status == "failed" and words in outcome.reason, outcome


def test_filters_that_the_pf_refuses_are_a_fact() -> None:
    with softvf(vfs=2, uplink="none", personality="e810", options=FAST) as pf:
        vfs = Vfs(pf.sockets, {})
        vfs.way()
        opcode = int(lib.VC_OP_ADD_VLAN_V2)
        pf.control("fault", vf=1, kind="retval", opcode=opcode, value=-5, count=100)
        outcome = run(vfs, "vlan")
        vfs.close()
    assert outcome.status == "passed", outcome.reason
    assert "refused: the PF refused ADD_VLAN_V2" in outcome.facts["filtering"]


def test_a_sender_that_may_not_send_is_no_filtering(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PF that adds fewer filters than it says drops the sender's frame, not the receiver's."""
    add = vlan.set_filters

    def all_but_one(port: Port, vids: Sequence[int], adding: bool = True) -> str:
        return add(port, [vid for vid in vids if vid != vlan.STRANGE], adding)

    monkeypatch.setattr(vlan, "set_filters", all_but_one)
    monkeypatch.setattr(vlan, "ANSWER", 0.5)
    with softvf(vfs=2, uplink="none", personality="x710", options=FAST) as pf:
        vfs = Vfs(pf.sockets, {})
        outcome = run(vfs, "vlan")
        vfs.close()
    assert outcome.status == "passed", outcome.reason
    assert outcome.facts["filtering"] == "not known: the PF does not let the sender send it"
