# SPDX-License-Identifier: BSD-3-Clause
"""PCI discovery and its listing, on a host in a directory."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iavfio.host import discover, listing, models, read, resolve
from iavfio.host.errors import BadAddress, NoSuchFunction
from tests.host.fake_host import FakeHost, link

PF, VF0, VF1 = "0000:3b:00.0", "0000:3b:01.0", "0000:3b:01.1"


@pytest.fixture
def host(tmp_path: Path) -> FakeHost:
    fake = FakeHost(tmp_path)
    fake.device("0000:00:1f.2", (0x8086, 0xA282), driver="ahci", class_code=0x010601)
    fake.device("0000:02:00.0", (0x1AF4, 0x1041), driver="virtio-pci")  # no SR-IOV
    fake.device(
        PF,
        (0x8086, 0x1592),
        driver="ice",
        group=10,
        sriov_totalvfs=128,
        current_link_speed="16.0 GT/s PCIe",
        current_link_width=16,
        numa_node=1,
    )
    fake.device(VF0, (0x8086, 0x1889), driver="vfio-pci", match="iavf", group=42)
    fake.device(VF1, (0x8086, 0x1889), driver="iavf", group=43, numa_node=-1)
    fake.vf(PF, 0, VF0)
    fake.vf(PF, 1, VF1)
    fake.interface(PF, "ens1f0", speed=100000)
    fake.interface(VF1, "ens1f0v1", speed=-1)
    fake.route("ens1f0")
    return fake


def test_lines_are_those_of_devbind_with_vfs_below_their_pf(host: FakeHost) -> None:
    pf, vf0, vf1 = listing.lines(discover(host.tree))
    assert pf == (
        "0000:3b:00.0 'Ethernet Controller E810-C for QSFP 1592' if=ens1f0 drv=ice "
        "unused=vfio-pci vfs=2/128 numa=1 *Active*"
    )
    assert vf0 == (
        "  0000:3b:01.0 'Ethernet Adaptive Virtual Function 1889' vf=0 drv=vfio-pci unused=iavf "
        f"numa=0 group=42 node={host.root}/dev/vfio/42"
    )
    assert vf1 == (
        "  0000:3b:01.1 'Ethernet Adaptive Virtual Function 1889' vf=1 if=ens1f0v1 drv=iavf "
        "unused=vfio-pci group=43"
    )


def test_json_has_the_same_order_and_names_the_relations(host: FakeHost) -> None:
    pf, vf0, vf1 = json.loads(json.dumps(listing.data(discover(host.tree))))
    assert (pf["kind"], pf["vfs"], pf["max_vfs"]) == ("pf", [VF0, VF1], 128)
    assert pf["pcie_link"] == "16.0 GT/s PCIe x16"
    assert pf["interfaces"] == [
        {
            "name": "ens1f0",
            "mac": "02:00:00:00:00:01",
            "mtu": 1500,
            "up": True,
            "speed_mbps": 100000,
            "uses": ["route 10.0.0.0/24"],
        }
    ]
    assert (vf0["kind"], vf0["pf"], vf0["vf"], vf0["supported"]) == ("vf", PF, 0, True)
    assert vf0["iommu_group"]["members"] == {VF0: "vfio-pci"}
    assert vf1["interfaces"][0]["speed_mbps"] is None
    assert vf1["numa_node"] is None
    assert vf1["active"] is False


def test_more_than_ten_vfs_keep_their_numeric_order(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    host.device(PF, (0x8086, 0x1572), driver="i40e", sriov_totalvfs=32)
    expected = []
    for index in range(12):
        bdf = f"0000:3b:{2 + index // 8:02x}.{index % 8}"
        host.device(bdf, (0x8086, 0x154C), driver="iavf")
        host.vf(PF, index, bdf)
        expected.append(bdf)
    assert list(read(host.tree, PF).vfs) == expected
    assert [f.vf_index for f in discover(host.tree)][1:] == list(range(12))


def test_a_vf_in_a_guest_is_found_without_its_pf(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    host.device("0000:00:05.0", (0x8086, 0x37CD))
    (found,) = discover(host.tree)
    assert (found.is_vf, found.is_pf, found.driver) == (True, False, "")
    assert "drv=" not in listing.line(found)


def test_another_vendor_s_pf_is_named_by_pci_ids(tmp_path: Path) -> None:
    host = FakeHost(tmp_path)
    host.device(PF, (0x15B3, 0x1017), driver="mlx5_core", sriov_totalvfs=8)
    ids = host.root / "usr/share/misc/pci.ids"
    ids.parent.mkdir(parents=True)
    ids.write_text(
        "# comment\n8086  Intel Corporation\n\t1017  Wrong\n"
        "15b3  Mellanox Technologies\n\t1016  Other\n\t1017  MT27800 Family\n\t\t15b3 0007  Sub\n"
    )
    assert discover(host.tree)[0].name == "MT27800 Family"
    assert models.listed(host.root, 0x8086, 0xFFFF) == ""


@pytest.mark.parametrize(
    ("prepare", "expected"),
    [
        ("nothing", ()),
        ("ipv4", ("route 10.0.0.0/24",)),
        ("default", ("default route",)),
        ("ipv6", ("route 2001:db8::/64",)),
        ("link-local", ()),
        ("bond", ("member of bond0",)),
        ("macvlan", ("below mv0",)),
        ("odd", ("route 10.0.0.0/24", "route 2001:db8::/64")),
    ],
)
def test_what_makes_an_interface_active(
    tmp_path: Path, prepare: str, expected: tuple[str, ...]
) -> None:
    host = FakeHost(tmp_path)
    host.device(VF0, (0x8086, 0x1889), driver="iavf")
    path = host.interface(VF0, "v0")
    ipv6 = host.root / "proc/net/ipv6_route"
    tail = "00000000000000000000000000000000 00 " + "0" * 32 + " 00000100 00000001 0 00000001 v0"
    match prepare:
        case "ipv4":
            host.route("v0")
        case "default":
            host.route("v0", "00000000", "00000000")
        case "ipv6":
            ipv6.write_text(f"20010db8{'0' * 24} 40 {tail}\n")
        case "link-local":
            ipv6.write_text(f"fe80{'0' * 28} 40 {tail}\nff{'0' * 30} 08 {tail}\n")
        case "bond":
            for name in ("master", "upper_bond0"):
                link(path / name, host.root / "sys/devices/virtual/net/bond0")
        case "macvlan":
            link(path / "upper_mv0", host.root / "sys/devices/virtual/net/mv0")
        case "odd":  # lines in another form are no routes, and hide none
            host.route("v0", "no number")
            host.route("v0", "1000000000A")
            host.route("v0")
            lines = [f"2001 40 {tail}", f"{'x' * 32} 40 {tail}", f"20010db8{'0' * 24} 4- {tail}"]
            ipv6.write_text("\n".join([*lines, f"20010db8{'0' * 24} 40 {tail}"]))
    (interface,) = read(host.tree, VF0).interfaces
    assert interface.uses == expected
    assert interface.active is bool(expected)


def test_addresses_are_accepted_as_users_write_them(host: FakeHost) -> None:
    assert resolve(host.tree, "3B:01.0") == VF0
    assert resolve(host.tree, "ens1f0v1") == VF1
    with pytest.raises(NoSuchFunction, match=r"no PCI device 0000:3b:01\.7") as missing:
        resolve(host.tree, "3b:01.7")
    assert "iavfio list" in missing.value.remedy
    for wrong in ("", "3b:01", "3b:20.0", "3b:01.8", "../net", "eth9"):
        with pytest.raises(BadAddress, match="neither a PCI address nor an interface"):
            resolve(host.tree, wrong)
