# SPDX-License-Identifier: BSD-3-Clause
"""The first packets of a burst as a notebook shows them."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from iavfio.datapath.layers import Masked
from iavfio.datapath.packets import Packets
from iavfio.notebook import table

MOST_SHOWN = 10
HEADS = ("packet", "bytes", "from", "to", "EtherType", "VLAN", "protocol", "ports")


def packets_html(packets: Packets, title: str) -> str:
    """A table of at most ten packets. Raises StateError after release."""
    count = len(packets)
    more = f", the first {MOST_SHOWN} of them" if count > MOST_SHOWN else ""
    return table(title + more, _rows(packets, min(count, MOST_SHOWN)), HEADS)


def _rows(packets: Packets, count: int) -> Iterator[tuple[object, ...]]:
    layers, lengths = packets.layers(), packets.lengths
    ends = _ends(layers.eth_src, layers.eth_dst, _mac)
    ends.update(_ends(layers.ip4_src, layers.ip4_dst, _ip))
    ends.update(_ends(layers.ip6_src, layers.ip6_dst, _ip))
    kind, source, target = (
        each.tolist() for each in (layers.eth_type, layers.l4_src, layers.l4_dst)
    )
    vlan, proto = layers.vlan_id().tolist(), layers.ip_proto.tolist()
    for i in range(count):
        here, there = ends.get(i, ("", ""))
        name = "" if kind[i] is None else f"0x{kind[i]:04x}"
        ports = "" if source[i] is None else f"{source[i]} to {target[i]}"
        numbers = ["" if each[i] is None else each[i] for each in (vlan, proto)]
        yield i, int(lengths[i]), here, there, name, *numbers, ports


def _ends(source: Masked, target: Masked, text: Callable[[Any], str]) -> dict[int, tuple[str, str]]:
    """Both ends of the packets that have such addresses, in words."""
    absent = np.ma.getmaskarray(source).reshape(len(source), -1).any(axis=1)
    chosen = np.flatnonzero(~absent)[:MOST_SHOWN].tolist()
    return {i: (text(source.data[i]), text(target.data[i])) for i in chosen}


def _mac(number: Any) -> str:
    return int(number).to_bytes(6, "big").hex(":")


def _ip(value: Any) -> str:
    return str(ipaddress.ip_address(bytes(value) if np.ndim(value) else int(value)))
