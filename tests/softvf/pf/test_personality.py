# SPDX-License-Identifier: BSD-3-Clause
"""Personalities: the values of docs/spec/field-evidence.md 10, and overrides from text."""

from __future__ import annotations

import pytest

from iavfio.errors import ConfigError
from iavfio.softvf.personality import NAMES, OPTIONS, Value, named, parse_option


def test_cards_show_the_ids_and_sizes_of_real_ones() -> None:
    told = {
        name: (p.vendor, p.device_id, p.revision, p.bar0_size, p.bar3_size, p.msix_count)
        for name, p in ((name, named(name)) for name in NAMES)
    }
    assert told == {
        "e810": (0x8086, 0x1889, 0x02, 128 << 10, 16 << 10, 17),
        "x710": (0x8086, 0x154C, 0x02, 64 << 10, 16 << 10, 5),
        "x722": (0x8086, 0x37CD, 0x09, 64 << 10, 16 << 10, 5),
    }


@pytest.mark.parametrize("card", NAMES)
def test_msix_table_and_pending_bits_lie_in_bar3(card: str) -> None:
    for vectors in (2, 5, 17, 65):
        p = named(card, vectors=vectors)
        assert p.msix_count == p.max_vectors == vectors
        assert vectors * 16 <= p.pba_offset
        assert p.pba_offset + 16 <= p.bar3_size


def test_only_e810_counts_its_receive_tail_in_steps() -> None:
    """docs/spec/registers.md 4."""
    assert [named(card).rx_tail_step for card in NAMES] == [8, 1, 1]


def test_default_macs_are_local_unicast_and_distinct() -> None:
    macs = [named(card).default_mac(vf) for card in NAMES for vf in range(64)]
    assert len(set(macs)) == len(macs)
    assert all(len(mac) == 6 and mac[0] & 3 == 2 for mac in macs)


def test_few_vectors_leave_ice_few_queues_and_i40e_its_own() -> None:
    assert named("e810", vectors=5).num_queue_pairs == 4
    assert named("e810", vectors=5, num_queue_pairs=8).num_queue_pairs == 8
    assert named("x710", vectors=17).num_queue_pairs == 4


def test_out_of_tree_dialect_changes_what_the_field_saw() -> None:
    assert (named("e810").vsi_id(3), named("e810", pf_kernel="oot").vsi_id(3)) == (1, 12)
    assert named("e810", pf_kernel="oot").msix_count == 65
    assert named("e810", pf_kernel="oot", vectors=33).msix_count == 33
    assert (named("x710").max_mtu, named("x710", pf_kernel="oot").max_mtu) == (9728, 0)


@pytest.mark.parametrize(
    ("text", "pair"),
    [
        ("max_mtu=0", ("max_mtu", 0)),
        ("bar0-size=256K", ("bar0_size", 262144)),
        ("trusted=on", ("trusted", True)),
        ("reset_ms=0.5", ("reset_ms", 0.5)),
        ("udp_tunnel=none", ("udp_tunnel", "")),
        ("udp-tunnel=vxlan:4789", ("udp_tunnel", "vxlan:4789")),
        ("udp_tunnel=geneve:1, vxlan:65535", ("udp_tunnel", "geneve:1,vxlan:65535")),
        ("pf_kernel=oot", ("pf_kernel", "oot")),
        ("vectors=0x11", ("vectors", 17)),
    ],
)
def test_options_are_read_from_text(text: str, pair: tuple[str, object]) -> None:
    assert parse_option(text) == pair


@pytest.mark.parametrize(
    "text",
    ["nothing=1", "max_mtu", "max_mtu=many", "vectors=66", "bar0_size=100K", "mac=random",
     "wb_group=3", "trusted=perhaps", "reset_ms=-1", "reset_ms=nan", "link_speed=12345",
     "udp_tunnel=4789", "udp_tunnel=gre:1", "udp_tunnel=vxlan:0", "udp_tunnel=vxlan:65536",
     "udp_tunnel=vxlan:1,vxlan:1", "udp_tunnel=vxlan:-1", "udp_tunnel=vxlan:4789,",
     "udp_tunnel=" + ",".join(f"vxlan:{port}" for port in range(1, 18))],
)  # fmt: skip
def test_bad_options_say_what_would_be_right(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_option(text)
    assert text.partition("=")[0] in str(caught.value)


def test_every_option_is_taken_by_named_and_described() -> None:
    samples: dict[str, Value] = {
        "pf_kernel": "oot", "mac": "zero", "reset_messages": "drop", "bar0_size": 262144,
        "link_speed": 40000, "wb_group": 8, "max_ring": 512, "num_queue_pairs": 2,
        "udp_tunnel": "vxlan:4789,geneve:6081", "rxdid_written": 16, "rxdids_unknown": True,
        "ddp": "comms",
    }  # fmt: skip
    for name, option in OPTIONS.items():
        assert str(option)
        value: Value = samples.get(name, 5 if "on or off" not in _complaint(name) else True)
        changed = named("x710", **{name: value})
        if name not in ("vectors", "pf_kernel"):
            assert getattr(changed, name) == value


@pytest.mark.parametrize("card", NAMES)
def test_every_card_has_the_pf_of_every_kernel(card: str) -> None:
    for kernel in ("6.1", "6.12", "7.x", "oot"):
        changed = named(card, pf_kernel=kernel)
        assert changed.pf_kernel == kernel
        assert changed.is_ice_6_1 == ((card, kernel) == ("e810", "6.1"))


def test_ice_of_6_12_by_name_knows_no_formats_until_asked() -> None:
    """As the judge has it; without the name, or with the option, it is as it is said."""
    assert named("e810", pf_kernel="6.12").rxdids_unknown
    for options in ({}, {"pf_kernel": "7.x"}, {"pf_kernel": "6.12", "rxdids_unknown": False}):
        assert not named("e810", **options).rxdids_unknown
    assert not named("x710", pf_kernel="6.12").rxdids_unknown


def _complaint(name: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_option(f"{name}=?")
    return str(caught.value)


def test_impossible_overrides_are_refused() -> None:
    with pytest.raises(ConfigError):
        named("e811")
    with pytest.raises(ConfigError):
        named("e810", device_id=1)
    with pytest.raises(ConfigError):
        named("e810", num_queue_pairs=8, max_queue_pairs=4)
