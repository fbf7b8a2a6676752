# SPDX-License-Identifier: BSD-3-Clause
"""Each request with its bytes, written by hand from docs/spec/virtchnl.md 5, and its journal line.

A row of the driver's table without an entry here fails `test_rows`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from iavfio.virtchnl.messages import (
    filters,
    queues,
    resources,
    rss,
    rss_rules,
    stats,
    vlan,
    vlan_v2,
)
from iavfio.virtchnl.messages.message_type import Request
from iavfio.virtchnl.messages.queues import QueuePairConfig, VectorMap
from iavfio.virtchnl.messages.resources import Version
from iavfio.virtchnl.messages.rss import HashFunction
from iavfio.virtchnl.messages.rss_rules import Header
from iavfio.virtchnl.messages.vlan_v2 import Setting, Tag, VlanFilter

MAC_A, MAC_B = bytes.fromhex("020000000001"), bytes.fromhex("01005e000001")
PAIRS = [
    QueuePairConfig(0, 512, 0x1_0000_0000, 1024, 0x1_0000_4000, 2048, 1522, rxdid=22),
    QueuePairConfig(1, 64, 0x80, 96, 0x100, 128, 64, crc_disable=True, rx_timestamp=True),
]
DOUBLE = VlanFilter(outer=Tag(0x2064, 0x88A8, 0xFFF), inner=Tag(7))


@dataclass(frozen=True)
class Golden:
    """A request to the VSI `vsi`, its bytes, how many elements it lists, and its line."""

    request: Request[Any]
    bytes_: str
    line: str
    count: int = 0
    vsi: int = 10

    @property
    def name(self) -> str:
        return self.request.type.name

    @property
    def payload(self) -> bytes:
        return bytes.fromhex(self.bytes_)


GOLDEN: tuple[Golden, ...] = (
    Golden(resources.VERSION(Version(1, 1)), "01000000 01000000", "1.1"),
    Golden(resources.RESET_VF(), "", ""),
    Golden(
        resources.GET_VF_RESOURCES(0x180B80A1, Version(1, 1)),
        "a1800b18",
        "0x180b80a1 (L2 WB_ON_ITR ADV_LINK_SPEED VLAN_V2 VLAN RX_POLLING RSS_PF ADV_RSS_PF "
        "FDIR_PF)",
    ),
    Golden(
        queues.CONFIG_VSI_QUEUES(PAIRS),
        "0a00 0200 00000000"
        # Tx 0: vsi, queue, ring, head write-back off, base, no head write-back address
        "0a00 0000 0002 0000 0000000001000000 0000000000000000"
        # Rx 0: vsi, queue, ring, header split off, buffer, max, crc/rxdid/flags/pad, base, split
        "0a00 0000 00040000 0000 0000 00080000 f2050000 00160000 0040000001000000 0000000000000000"
        "0a00 0100 4000 0000 8000000000000000 0000000000000000"
        "0a00 0100 60000000 0000 0000 80000000 40000000 01000100 0001000000000000 0000000000000000"
        # the historic extra element
        + "00"
        * 64,
        "vsi 10, 2 pairs, ring 512/1024, buffer 2048, max 1522, rxdid 22",
        2,
    ),
    Golden(
        queues.CONFIG_IRQ_MAP([VectorMap(1, 0x5, 0xA), VectorMap(0, 0, 0, 3, 3)]),
        "0200 0100 0100 0500 0a00 0000 0100 0100 0000 0000 0000 0300 0300" + "00" * 12,
        "2 vectors, 1: rx 0x5 tx 0xa; 0: rx 0x0 tx 0x0",
        2,
        vsi=1,
    ),
    Golden(
        queues.ENABLE_QUEUES(0xF, 0x8000),
        "0201 0000 0f000000 00800000",
        "vsi 258, rx 0xf, tx 0x8000",
        vsi=0x102,
    ),
    Golden(
        queues.DISABLE_QUEUES(0xF, 0),
        "0a00 0000 0f000000 00000000",
        "vsi 10, rx 0xf, tx 0x0",
    ),
    Golden(
        filters.ADD_ETH_ADDR([MAC_A, MAC_B], primary=MAC_A),
        "0a00 0200 020000000001 01 00 01005e000001 02 00" + "00" * 8,
        "vsi 10, 2: 02:00:00:00:00:01 01:00:5e:00:00:01",
        2,
    ),
    Golden(
        filters.DEL_ETH_ADDR([MAC_A]),
        "0a00 0100 020000000001 02 00" + "00" * 8,
        "vsi 10, 1: 02:00:00:00:00:01",
        1,
    ),
    Golden(vlan.ADD_VLAN([1, 0xFFF]), "0a00 0200 0100 ff0f 0000", "vsi 10, 2: 1 4095", 2),
    Golden(vlan.DEL_VLAN([5]), "0a00 0100 0500 0000", "vsi 10, 1: 5", 1),
    Golden(
        filters.CONFIG_PROMISCUOUS_MODE(True, True), "0a00 0300", "vsi 10, unicast and multicast"
    ),
    Golden(stats.GET_STATS(), "0a00 0000 00000000 00000000", "vsi 10"),
    Golden(
        rss.CONFIG_RSS_HFUNC(HashFunction.SYMMETRIC_TOEPLITZ),
        "0100 0200 00000000",
        "vsi 1, symmetric toeplitz",
        vsi=1,
    ),
    Golden(
        rss.CONFIG_RSS_KEY(bytes(range(52))),
        "0a00 3400" + bytes(range(52)).hex() + "00",
        "vsi 10, 52 bytes",
        52,
    ),
    Golden(
        rss.CONFIG_RSS_LUT([q % 4 for q in range(64)], 4),
        "0a00 4000" + "00010203" * 16 + "00",
        "vsi 10, 64 entries over 4 queues (0..3)",
        64,
    ),
    Golden(rss.GET_RSS_HASHCFG_CAPS(), "", ""),
    Golden(rss.SET_RSS_HASHCFG(0x8000_0000_0000_0003), "0300000000000080", "0x8000000000000003"),
    Golden(
        rss_rules.ADD_RSS_CFG([Header(4), Header(9, 1), Header(10)]),
        # outermost level, three headers: IPv4, GTP-U by its TEID, its extension header
        "00 000000 03000000 04000000 00000000"
        + "00" * 64
        + "09000000 01000000"
        + "00" * 64
        + "0a000000 00000000"
        + "00" * 64
        + "00" * 72 * 29
        + "00000000"
        + "00" * 128,  # Toeplitz
        "ipv4 / gtpu(teid) / gtpu-eh",
    ),
    Golden(
        rss_rules.DEL_RSS_CFG([Header(5, 3), Header(17, 2)], HashFunction.SYMMETRIC_TOEPLITZ),
        "00 000000 02000000 05000000 03000000"
        + "00" * 64
        + "11000000 02000000"
        + "00" * 64
        + "00" * 72 * 30
        + "02000000"
        + "00" * 128,
        "ipv6(src, dst) / pfcp(seid), symmetric",
    ),
    Golden(vlan.ENABLE_VLAN_STRIPPING(), "", ""),
    Golden(vlan.DISABLE_VLAN_STRIPPING(), "", ""),
    Golden(resources.REQUEST_QUEUES(16), "1000", "16 queue pairs"),
    Golden(resources.GET_SUPPORTED_RXDIDS(), "", ""),
    Golden(vlan_v2.GET_OFFLOAD_VLAN_V2_CAPS(), "", ""),
    Golden(
        vlan_v2.ADD_VLAN_V2([VlanFilter(inner=Tag(100))]),
        "0100 0100 00000000 6400 0000 0081 0000" + "00" * 24,
        "vport 1, 1: inner 8100.100",
        1,
        vsi=1,
    ),
    Golden(
        vlan_v2.DEL_VLAN_V2([DOUBLE]),
        "0a00 0100 00000000 0700 0000 0081 0000 6420 ff0f a888 0000" + "00" * 16,
        "vport 10, 1: outer 88a8.100 inner 8100.7",
        1,
    ),
    Golden(
        vlan_v2.ENABLE_VLAN_STRIPPING_V2(Setting(inner=1)),
        "00000000 01000000 0100 000000000000",
        "vport 1, outer 0x0, inner 0x1",
        vsi=1,
    ),
    Golden(
        vlan_v2.DISABLE_VLAN_STRIPPING_V2(Setting(outer=2)),
        "02000000 00000000 0a00 000000000000",
        "vport 10, outer 0x2, inner 0x0",
    ),
    Golden(
        vlan_v2.ENABLE_VLAN_INSERTION_V2(Setting(outer=1)),
        "01000000 00000000 0a00 000000000000",
        "vport 10, outer 0x1, inner 0x0",
    ),
    Golden(
        vlan_v2.DISABLE_VLAN_INSERTION_V2(Setting(inner=1)),
        "00000000 01000000 0a00 000000000000",
        "vport 10, outer 0x0, inner 0x1",
    ),
)
