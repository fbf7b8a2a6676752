# SPDX-License-Identifier: BSD-3-Clause
"""What ice writes to its card, by hand, and what is read from it."""

from __future__ import annotations

import struct

from iavfio.softvf.linux_pf.ice.queues import VECTORS, decode
from iavfio.softvf.linux_pf.ice.switch import Switch
from iavfio.softvf.linux_pf.queues import RxQueue, TxQueue, Vector

VSI = 17  # of VF 1
MAC = bytes.fromhex("020000000001")
ANYBODY = bytes(6)


def vsi(valid: int, **bytes_at: int) -> bytes:
    """Properties of a VSI, with bytes at offsets such as b12."""
    data = bytearray(128)
    struct.pack_into("<H", data, 0, valid)
    for name, value in bytes_at.items():
        data[int(name[1:])] = value
    return bytes(data)


def rule(recipe: int, index: int, destination: int, mac: bytes = MAC, vlan: int = 0) -> bytes:
    """A rule about frames on their way in."""
    head = struct.pack("<4H I 2H", 0, 0, recipe, 0, destination << 4, index, 16)
    return head + mac + bytes(6) + struct.pack(">2H", 0x8100, vlan)


def says(switch: Switch, opcode: int, buffer: bytes, parameters: bytes = b"\x11") -> set[int]:
    return switch.commands([(opcode, parameters.ljust(16, b"\0") + buffer)])


def made() -> Switch:
    switch = Switch()
    assert says(switch, 0x210, vsi(0)) == {1}
    return switch


def test_properties_of_a_vsi_are_taken_where_they_are_valid() -> None:
    switch = made()
    says(switch, 0x211, vsi(1 << 1 | 1 << 2, b6=1 << 2 | 1 << 4, b8=7, b12=3 << 3))
    held = switch.vsis[VSI]
    assert (held.check_mac, held.prunes_tx, held.prunes_rx) == (True, True, False)
    assert (held.port_vlan, held.strip(double_vlan=False)) == (7, "none")
    says(switch, 0x211, vsi(1 << 3, b6=0, b26=1 | 2 << 2))
    assert held.check_mac
    assert (held.strip(double_vlan=True), held.outer_tpid) == ("l2tag2_2", 0x8100)
    for kind, what in ((0, (False, False)), (1, (True, False)), (2, (False, True))):
        says(switch, 0x211, vsi(1 << 7, b78=kind << 6))
        assert (held.symmetric, held.xor) == what
    assert says(switch, 0x213, b"") == {1}
    assert switch.vsis == {}


def test_rules_concern_a_vsi_or_the_members_of_a_list() -> None:
    switch = made()
    assert says(switch, 0x2A0, rule(1, 5, VSI)) == {1}
    assert says(switch, 0x2A0, rule(4, 6, VSI, ANYBODY, vlan=9)) == {1}
    assert switch.filters(VSI).macs == {MAC}
    assert switch.filters(VSI).vlans == {(0x8100, 9)}
    says(switch, 0x208, struct.pack("<2H2H", 3, 0, 2, 0))
    assert says(switch, 0x2A0, struct.pack("<6H", 3, 0, 2, 2, VSI, VSI + 1)) == {1, 2}
    in_list = rule(1, 5, 2)
    in_list = in_list[:8] + struct.pack("<I", 2 << 4 | 1 << 14) + in_list[12:]
    assert says(switch, 0x2A1, in_list) == {1, 2}
    assert switch.filters(VSI + 1).macs == {MAC}
    says(switch, 0x2A1, struct.pack("<5H", 4, 0, 2, 1, VSI))
    assert switch.filters(VSI).macs == set()
    assert says(switch, 0x2A2, rule(1, 5, 0)) == {2}
    assert switch.filters(VSI + 1).macs == set()


def test_promiscuity_and_the_default_vsi_are_rules_too() -> None:
    switch = made()
    says(switch, 0x2A0, rule(3, 1, VSI, b"\1" + bytes(5)))
    says(switch, 0x2A0, rule(5, 2, VSI))
    filters = switch.filters(VSI)
    assert (filters.unicast, filters.multicast, filters.default) == (False, True, True)
    says(switch, 0x2A2, rule(3, 1, VSI, b"\1" + bytes(5)))
    assert not switch.filters(VSI).multicast


def test_send_queues_run_from_add_to_disable() -> None:
    switch = made()
    context = (0x1000 >> 7 | 512 << 135).to_bytes(22, "little")
    group = struct.pack("<IBB2x", 4, 1, 0) + struct.pack("<H2xI", 33, 0) + context + bytes(18)
    assert says(switch, 0xC30, group, b"\1") == set()
    assert switch.tx == {33: TxQueue(0x1000, 512)}
    says(switch, 0xC31, struct.pack("<IBBH", 4, 1, 0, 33), b"\0\1")
    assert switch.tx == {}


def test_registers_of_a_vf() -> None:
    context = 0x2000 >> 7 << 32 | 128 << 89 | 16 << 102 | 1 << 117 | 1522 << 174
    head = struct.pack("<2H6sI4BI", 2, VSI, MAC, 500_000, 1, 0, 1, 0, 1 << 16 | 1)
    runs = struct.pack("<2H4I", 0, 33, 1 << 2, 1 << 30 | 3, 1 << 30 | 1 << 11 | 3, 22)
    stands = struct.pack("<2H4I", 1, 34, 0, 3, 1 << 30 | 4, 1)
    queues = decode(head + runs + context.to_bytes(32, "little") + stands + bytes(32))
    assert queues.rx == {0: RxQueue(0x2000, 128, 2048, 1522, keep_crc=False, rxdid=22)}
    assert queues.tx_numbers == (33, 34)
    assert (queues.vsi, queues.mac, queues.rate) == (VSI, MAC, 500_000)
    assert (queues.link_up, queues.trusted, queues.spoof_check) == (True, False, True)
    assert queues.version == (1, 1)
    expected = [Vector()] * VECTORS
    expected[3] = Vector(rx_map=1, tx_map=1, rx_itr=0, tx_itr=1)
    expected[4] = Vector(tx_map=2)
    assert queues.vectors == tuple(expected)
