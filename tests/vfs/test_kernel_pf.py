# SPDX-License-Identifier: BSD-3-Clause
"""VFs of a card's PF: set, read back, recorded, put back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from iavfio.errors import ConfigError
from iavfio.host.errors import InUse, KernelRefused
from iavfio.vfs import WORDS, apply, find, undo
from iavfio.vfs.change import Ignored
from iavfio.vfs.undo import resize
from tests.vfs.fake_pf import INTERFACE, PF, UNTOLD, FakePf, fresh

MAC = "02:00:00:00:00:07"


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePf:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return FakePf(tmp_path, vfs=2)


def quiet(line: str) -> None:
    """A report that nobody reads."""


def recorded(host: FakePf) -> dict[str, Any]:
    path = host.root / "run/iavfio/vfs.json"
    return dict(json.loads(path.read_text())["records"]) if path.exists() else {}


ROWS: list[tuple[str, Any, dict[str, Any]]] = [
    ("mac", MAC, {"mac": MAC}),
    ("vlan", 100, {"vlan": {"vlan": 100, "qos": 0}}),
    ("trust", True, {"trust": 1}),
    ("spoofchk", False, {"spoofchk": 0}),
    ("link", "disable", {"link_state": 2}),
    ("link", "enable", {"link_state": 1}),
    ("rate", 1000, {"rate": {"max_tx_rate": 1000, "min_tx_rate": 0}}),
    ("min-rate", 10, {"rate": {"max_tx_rate": 0, "min_tx_rate": 10}}),
]


@pytest.mark.parametrize(("name", "value", "request_"), ROWS)
def test_a_setting_reaches_the_kernel_and_is_read_back(
    host: FakePf, name: str, value: Any, request_: dict[str, Any]
) -> None:
    before = host.pf().vfs()[1].value(name)
    (changed,) = apply(host.pf(), 1, {name: value})
    assert host.links.requests == [{"vf": 1} | request_]
    assert (changed.before, changed.after, changed.verified) == (before, value, True)
    assert host.pf().vfs()[1].value(name) == value
    assert host.links.vfs[0] == fresh()
    assert recorded(host)[PF]["vfs"] == {"1": {name: before}}

    undo(host.pf(), quiet)
    assert host.links.vfs[1] == fresh()
    assert recorded(host) == {}


def test_what_shares_an_attribute_keeps_its_value(host: FakePf) -> None:
    apply(host.pf(), 0, {"vlan": 100, "qos": 3})
    apply(host.pf(), 0, {"rate": 1000})
    apply(host.pf(), 0, {"vlan": 200, "min-rate": 50})
    assert host.links.vfs[0] | {"vlan": 200, "qos": 3} == host.links.vfs[0]
    assert (host.links.vfs[0]["max_tx_rate"], host.links.vfs[0]["min_tx_rate"]) == (1000, 50)
    apply(host.pf(), 0, {"vlan": 0})
    assert (host.links.vfs[0]["vlan"], host.links.vfs[0]["qos"]) == (0, 0)


def test_what_is_so_already_is_not_sent(host: FakePf) -> None:
    (changed,) = apply(host.pf(), 0, {"trust": False})
    assert str(changed) == "VF 0: trust is off already"
    assert (host.links.requests, recorded(host)) == ([], {})


def test_a_change_back_by_hand_leaves_nothing_to_undo(host: FakePf) -> None:
    apply(host.pf(), 0, {"trust": True})
    apply(host.pf(), 0, {"trust": False})
    assert recorded(host) == {}


def test_the_first_value_is_the_one_that_comes_back(host: FakePf) -> None:
    host.links.vfs[0]["vlan"] = 5
    for vlan in (100, 200, 300):
        apply(host.pf(), 0, {"vlan": vlan})
    done = undo(host.pf(), quiet)
    assert host.links.vfs[0]["vlan"] == 5
    assert [(each.before, each.after) for each in done.changed] == [(300, 5)]


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_change_that_the_kernel_ignores_is_an_error_that_names_it(
    host: FakePf, name: str
) -> None:
    field = {"link": "link_state", "rate": "max_tx_rate", "min-rate": "min_tx_rate"}
    host.links.ignores.add(field.get(name, name))
    host.links.vfs[0]["vlan"] = 9
    value: dict[str, Any] = {"mac": MAC, "vlan": 7, "qos": 3, "trust": True, "spoofchk": False}
    value |= {"link": "enable", "rate": 10, "min-rate": 10}
    with pytest.raises(Ignored, match=f"^{name} of VF 0 is ") as ignored:
        apply(host.pf(), 0, {name: value[name]})
    assert "ice answered success and kept the old value" in ignored.value.cause
    assert recorded(host) == {}  # nothing was changed, so there is nothing to undo


def test_settings_before_a_refused_one_stay_recorded(host: FakePf) -> None:
    host.links.ignores.add("spoofchk")
    with pytest.raises(Ignored):
        apply(host.pf(), 0, {"trust": True, "spoofchk": False})
    assert recorded(host)[PF]["vfs"] == {"0": {"trust": False}}
    undo(host.pf(), quiet)
    assert host.links.vfs[0] == fresh()


def test_a_setting_that_the_driver_does_not_tell_is_said_to_be_unverified(host: FakePf) -> None:
    host.links.vfs[0]["trust"] = UNTOLD
    host.links.ignores.add("trust")
    assert host.pf().vfs()[0].trust is None
    (changed,) = apply(host.pf(), 0, {"trust": True})
    assert (changed.before, changed.verified) == (None, False)
    assert "does not tell whether it is in force" in str(changed)


def test_dry_run_tells_the_command_and_changes_nothing(host: FakePf) -> None:
    told: list[str] = []
    apply(host.pf(), 1, {"trust": True, "qos": 2, "vlan": 10, "rate": 5}, told.append, dry=True)
    assert told == [
        f"ip link set {INTERFACE} vf 1 trust on",
        f"ip link set {INTERFACE} vf 1 vlan 10 qos 2",
        f"ip link set {INTERFACE} vf 1 max_tx_rate 5",
    ]
    assert (host.links.requests, recorded(host)) == ([], {})


@pytest.mark.parametrize(
    ("vf", "asked", "words"),
    [
        (2, {"trust": True}, "has no VF 2: it has VF 0 to 1"),
        (0, {"qos": 3}, "qos needs a port VLAN"),
        (0, {"rate": 10, "min-rate": 20}, "rate 10 is below min-rate 20"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_sent(
    host: FakePf, vf: int, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        apply(host.pf(), vf, asked)
    assert (host.links.requests, recorded(host)) == ([], {})


def test_vfs_are_made_destroyed_and_the_number_is_put_back(host: FakePf) -> None:
    host.links.vfs[1] |= {"trust": 1, "vlan": 77}
    with pytest.raises(ConfigError, match="has 2 VFs") as refused:
        resize(host.pf(), 4, quiet)
    assert f"iavfio vf {PF} destroy" in refused.value.remedy
    assert resize(host.pf(), 0, quiet) == 2
    assert host.pf().vfs() == []
    assert resize(host.pf(), 4, quiet) == 0
    assert [state.bdf for state in host.pf().vfs()] == [host.bdf(vf) for vf in range(4)]
    done = undo(host.pf(), quiet)
    assert (done.number_before, done.number) == (4, 2)
    assert host.links.vfs == {0: fresh(), 1: fresh() | {"trust": 1, "vlan": 77}}
    assert recorded(host) == {}


def test_vfs_that_were_made_by_iavfio_leave_no_record_when_they_go(tmp_path: Path) -> None:
    host = FakePf(tmp_path)
    resize(host.pf(), 2, quiet)
    apply(host.pf(), 1, {"trust": True})
    assert recorded(host)[PF]["number"] == 0
    resize(host.pf(), 0, quiet)
    assert recorded(host) == {}


def test_fewer_vfs_than_asked_for_are_told(tmp_path: Path) -> None:
    host = FakePf(tmp_path)
    host.makes = lambda wanted: wanted - 1
    with pytest.raises(KernelRefused, match="has 3 VFs now, not 4"):
        resize(host.pf(), 4, quiet)
    undo(host.pf(), quiet)
    assert host.pf().vfs() == []


def test_more_than_the_card_has_room_for(tmp_path: Path) -> None:
    host = FakePf(tmp_path, room=4)
    with pytest.raises(KernelRefused, match="cannot have 5 VFs: the card has room for 4"):
        resize(host.pf(), 5, quiet)
    assert (host.writes, recorded(host)) == ([], {})


def test_the_kernel_s_refusal_of_a_number_leaves_no_record(tmp_path: Path) -> None:
    host = FakePf(tmp_path)
    host.numvfs_failure = OSError(12, "Cannot allocate memory")
    with pytest.raises(KernelRefused, match="Cannot allocate memory"):
        resize(host.pf(), 2, quiet)
    assert recorded(host) == {}


def test_vfs_in_use_are_not_destroyed_without_force(host: FakePf) -> None:
    host.interface(host.bdf(1), "v1")
    host.route("v1")
    with pytest.raises(InUse, match=r"0000:3b:01\.1 is in use") as refused:
        resize(host.pf(), 0, quiet)
    assert "--force" in refused.value.remedy
    assert len(host.pf().vfs()) == 2
    assert recorded(host) == {}
    resize(host.pf(force=True), 0, quiet)
    assert host.pf().vfs() == []


def test_records_of_another_boot_undo_nothing(host: FakePf) -> None:
    apply(host.pf(), 0, {"trust": True})
    (host.root / "proc/sys/kernel/random/boot_id").write_text("another\n")
    assert undo(host.pf(), quiet).recorded is False
    assert host.links.vfs[0]["trust"] == 1


def test_what_is_no_pf_is_told_what_it_is(host: FakePf) -> None:
    host.device("0000:02:00.0", (0x1AF4, 0x1041), driver="virtio-pci")
    with pytest.raises(ConfigError, match="is VF 1 of the PF") as wrong:
        find(host.tree, host.bdf(1), host, host.netlink)
    assert wrong.value.remedy == f"use: iavfio vf {PF}"
    with pytest.raises(ConfigError, match="is no PF with SR-IOV"):
        find(host.tree, "0000:02:00.0", host, host.netlink)
    with pytest.raises(ConfigError, match="no software PF serves"):
        find(host.tree, "/nowhere", host, host.netlink)
    assert find(host.tree, INTERFACE, host, host.netlink).name == PF


def test_a_pf_without_an_interface_lists_and_refuses_settings(host: FakePf) -> None:
    (host.root / "sys/bus/pci/devices" / PF / "net" / INTERFACE).rename(host.root / "elsewhere")
    assert [state.trust for state in host.pf().vfs()] == [None, None]
    with pytest.raises(KernelRefused, match="cannot be set up"):
        apply(host.pf(), 0, {"trust": True})


VALUES: dict[str, st.SearchStrategy[Any]] = {
    "mac": st.sampled_from([MAC, "02:00:00:00:00:08", "00:00:00:00:00:00"]),
    "vlan": st.integers(0, 4094),
    "trust": st.booleans(),
    "spoofchk": st.booleans(),
    "link": st.sampled_from(["auto", "enable", "disable"]),
    "rate": st.integers(0, 100_000),
}
CHANGE = st.tuples(
    st.integers(0, 2),
    st.sampled_from(sorted(VALUES)).flatmap(lambda name: st.tuples(st.just(name), VALUES[name])),
)


@settings(
    max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(start=st.lists(CHANGE, max_size=6), changes=st.lists(CHANGE, max_size=12))
def test_undo_comes_back_to_where_it_began(
    start: list[Any], changes: list[Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    host = FakePf(tmp_path_factory.mktemp("host"), vfs=3)
    pf = host.pf()
    for vf, (name, value) in start:
        apply(pf, vf, {name: value})
    (host.root / "run/iavfio/vfs.json").unlink(missing_ok=True)  # as if others had done it
    before = pf.vfs()
    for vf, (name, value) in changes:
        apply(pf, vf, {name: value})
        assert pf.vfs()[vf].value(name) == value
    undo(pf, quiet)
    assert pf.vfs() == before
    assert recorded(host) == {}
