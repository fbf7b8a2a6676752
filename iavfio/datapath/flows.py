# SPDX-License-Identifier: BSD-3-Clause
"""Numbers that name flows: the same for packets of one flow, in every process and on every card."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from iavfio.datapath.layers import FrameHeaders, Masked

Words = NDArray[np.uint64]
ODD = np.uint64(0x9E3779B97F4A7C15)  # 2^64 over the golden ratio
FIRST, SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)  # of SplitMix64


def flow_hash(layers: FrameHeaders, both_ways: bool = False) -> Masked:
    """64 bits over addresses, protocol and ports; masked where there is no IP.

    `both_ways`: the two directions of a connection give the same number. All fragments of a
    datagram have the same, without ports.
    """
    here = _end(layers.ip4_src, layers.ip6_src, layers.l4_src)
    there = _end(layers.ip4_dst, layers.ip6_dst, layers.l4_dst)
    if both_ways:
        here, there = np.minimum(here, there), np.maximum(here, there)
    protocol = layers.ip_proto
    total = _mix(_mix(here) + there * ODD + protocol.filled(0).astype(np.uint64))
    return np.ma.MaskedArray(total, mask=~(layers.is_ip4 | layers.is_ip6))


def _end(ip4: Masked, ip6: Masked, port: Masked) -> Words:
    """One end of a flow in a word: address and port."""
    halves = np.ascontiguousarray(ip6.filled(0)).view(">u8").astype(np.uint64)
    address = ip4.filled(0).astype(np.uint64) + _mix(halves[:, 0]) + halves[:, 1] * ODD
    return _mix(address + _mix(port.filled(0).astype(np.uint64) + ODD))


def _mix(words: Any) -> Words:
    """SplitMix64's last step: each bit of the result depends on each bit of the word."""
    words = (words ^ (words >> np.uint64(30))) * FIRST
    words = (words ^ (words >> np.uint64(27))) * SECOND
    mixed: Words = words ^ (words >> np.uint64(31))
    return mixed
