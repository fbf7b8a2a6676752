# SPDX-License-Identifier: BSD-3-Clause
"""RSS messages: key, look-up table, hash function, hash fields (spec: virtchnl 5, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

from iavfio.errors import ConfigError
from iavfio.virtchnl.messages import opcodes as op
from iavfio.virtchnl.messages.resources import KEY_MAX, LUT_MAX, QUEUES_MAX
from iavfio.virtchnl.messages.wire import blank, bounded, check_reply, view, vsi


class HashFunction(IntEnum):
    """Algorithms of CONFIG_RSS_HFUNC; ice takes the Toeplitz kinds, i40e knows no such opcode."""

    TOEPLITZ = 0
    XOR = 1
    SYMMETRIC_TOEPLITZ = 2
    SYMMETRIC_XOR = 3


def encode_rss_key(vsi_id: int, key: bytes) -> bytes:
    """CONFIG_RSS_KEY; the key must have the size that the PF reported (52 bytes on all known)."""
    bounded("RSS key length", len(key), 1, KEY_MAX)
    data, info = blank("vc_rss_key", op.CONFIG_RSS_KEY, len(key))
    info.vsi_id, info.key_len = vsi(vsi_id), len(key)
    data[4 : 4 + len(key)] = key
    return bytes(data)


def encode_rss_lut(vsi_id: int, lut: Sequence[int], queues: int = QUEUES_MAX) -> bytes:
    """CONFIG_RSS_LUT: one queue number below `queues` for each entry. Raises ConfigError."""
    bounded("RSS table length", len(lut), 1, LUT_MAX)
    wrong = next((queue for queue in lut if not 0 <= queue < min(queues, QUEUES_MAX)), None)
    if wrong is not None:
        raise ConfigError(f"the RSS table names queue {wrong}, there are {queues}")
    data, info = blank("vc_rss_lut", op.CONFIG_RSS_LUT, len(lut))
    info.vsi_id, info.lut_entries = vsi(vsi_id), len(lut)
    data[4 : 4 + len(lut)] = bytes(lut)
    return bytes(data)


def encode_rss_hfunc(vsi_id: int, function: HashFunction) -> bytes:
    """CONFIG_RSS_HFUNC."""
    data, info = blank("vc_rss_hfunc", op.CONFIG_RSS_HFUNC)
    info.vsi_id, info.rss_algorithm = vsi(vsi_id), int(function)
    return bytes(data)


def encode_hashcfg(fields: int) -> bytes:
    """SET_RSS_HASHCFG: a bitmap of packet types; 0 turns RSS off."""
    return bounded("hash field bitmap", fields, 0, (1 << 64) - 1).to_bytes(8, "little")


def decode_hashcfg(payload: bytes) -> int:
    """GET_RSS_HASHCFG_CAPS reply: bitmap of packet types that can be hashed."""
    check_reply(op.GET_RSS_HASHCFG_CAPS, len(payload))
    return int.from_bytes(payload, "little")


def describe_rss_key(payload: bytes) -> str:
    """One line on CONFIG_RSS_KEY."""
    info = view("vc_rss_key", op.CONFIG_RSS_KEY, payload)
    return f"vsi {info.vsi_id}, {info.key_len} bytes"


def describe_rss_lut(payload: bytes) -> str:
    """One line on CONFIG_RSS_LUT."""
    info = view("vc_rss_lut", op.CONFIG_RSS_LUT, payload)
    used = sorted(set(payload[4 : 4 + int(info.lut_entries)]))
    shown = f"{used[0]}..{used[-1]}" if used else "none"
    return f"vsi {info.vsi_id}, {info.lut_entries} entries over {len(used)} queues ({shown})"


def describe_rss_hfunc(payload: bytes) -> str:
    """One line on CONFIG_RSS_HFUNC."""
    info = view("vc_rss_hfunc", op.CONFIG_RSS_HFUNC, payload)
    names = {int(function): function.name.lower().replace("_", " ") for function in HashFunction}
    return f"vsi {info.vsi_id}, {names.get(int(info.rss_algorithm), info.rss_algorithm)}"
