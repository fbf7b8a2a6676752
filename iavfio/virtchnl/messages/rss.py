# SPDX-License-Identifier: BSD-3-Clause
"""RSS messages: key, indirection table, hash function, hash fields (docs/spec/virtchnl.md 5, 9)."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import Final

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.virtchnl.messages.message_type import Advice, MessageType, ReplyLength, nothing
from iavfio.virtchnl.messages.resources import KEY_MAX, LUT_MAX, QUEUES_MAX
from iavfio.virtchnl.messages.wire import NO_CONTENT, Length, blank, bounded, view, vsi

KEY: Final = Length(5, 1)
LUT: Final = Length(5, 1)
HFUNC: Final = Length(8)
HASHCFG: Final = Length(8)
RETRY: Final = "leave key and lut out for the default ones; with one queue a refusal is only noted"


class HashFunction(IntEnum):
    """Algorithms of CONFIG_RSS_HFUNC; ice takes the Toeplitz kinds, i40e knows no such opcode."""

    TOEPLITZ = 0
    XOR = 1
    SYMMETRIC_TOEPLITZ = 2
    SYMMETRIC_XOR = 3


def _encode_key(vsi_id: int, key: bytes) -> list[bytes]:
    bounded("RSS key length", len(key), 1, KEY_MAX)
    data, info = blank("vc_rss_key", KEY, len(key))
    info.vsi_id, info.key_len = vsi(vsi_id), len(key)
    data[4 : 4 + len(key)] = key
    return [bytes(data)]


def _show_key(payload: bytes) -> str:
    info = view("vc_rss_key", payload)
    return f"vsi {info.vsi_id}, {info.key_len} bytes"


def _encode_lut(vsi_id: int, lut: Sequence[int], queues: int = QUEUES_MAX) -> list[bytes]:
    bounded("RSS table length", len(lut), 1, LUT_MAX)
    wrong = next((queue for queue in lut if not 0 <= queue < min(queues, QUEUES_MAX)), None)
    if wrong is not None:
        raise ConfigError(f"the RSS table names queue {wrong}, there are {queues}")
    data, info = blank("vc_rss_lut", LUT, len(lut))
    info.vsi_id, info.lut_entries = vsi(vsi_id), len(lut)
    data[4 : 4 + len(lut)] = bytes(lut)
    return [bytes(data)]


def _show_lut(payload: bytes) -> str:
    info = view("vc_rss_lut", payload)
    used = sorted(set(payload[4 : 4 + int(info.lut_entries)]))
    shown = f"{used[0]}..{used[-1]}" if used else "none"
    return f"vsi {info.vsi_id}, {info.lut_entries} entries over {len(used)} queues ({shown})"


def _encode_hfunc(vsi_id: int, function: HashFunction) -> list[bytes]:
    data, info = blank("vc_rss_hfunc", HFUNC)
    info.vsi_id, info.rss_algorithm = vsi(vsi_id), int(function)
    return [bytes(data)]


def _show_hfunc(payload: bytes) -> str:
    info = view("vc_rss_hfunc", payload)
    names = {int(function): function.name.lower().replace("_", " ") for function in HashFunction}
    return f"vsi {info.vsi_id}, {names.get(int(info.rss_algorithm), info.rss_algorithm)}"


def _encode_hashcfg(vsi_id: int, fields: int) -> list[bytes]:
    """The message names no VSI."""
    return [bounded("hash field bitmap", fields, 0, (1 << 64) - 1).to_bytes(8, "little")]


def _decode_hashcfg(payload: bytes) -> int:
    return int.from_bytes(payload[:8], "little")


def _show_hashcfg(payload: bytes) -> str:
    return f"{_decode_hashcfg(payload):#x}"


# Argument: the key, of the size that the PF reported (52 bytes on all known PFs).
CONFIG_RSS_KEY = MessageType(
    "CONFIG_RSS_KEY",
    _encode_key,
    KEY,
    nothing,
    gate=lib.VC_CAP_RSS_PF,
    show=_show_key,
    advice=Advice("another length is wanted, or the card failed", RETRY),
)

# Arguments: a queue number for each entry, and how many queues there are.
CONFIG_RSS_LUT = MessageType(
    "CONFIG_RSS_LUT",
    _encode_lut,
    LUT,
    nothing,
    gate=lib.VC_CAP_RSS_PF,
    show=_show_lut,
    advice=Advice("another length is wanted, it names a missing queue, or the card failed", RETRY),
)

# Argument: a HashFunction. i40e does not know this message.
CONFIG_RSS_HFUNC = MessageType(
    "CONFIG_RSS_HFUNC",
    _encode_hfunc,
    HFUNC,
    nothing,
    gate=lib.VC_CAP_RSS_PF,
    show=_show_hfunc,
    advice=Advice("the PF cannot choose the hash function", "leave it alone"),
)

# No arguments. Says as a bitmap which packet types the PF can hash.
GET_RSS_HASHCFG_CAPS = MessageType(
    "GET_RSS_HASHCFG_CAPS",
    lambda vsi_id: [b""],
    NO_CONTENT,
    _decode_hashcfg,
    ReplyLength(8),
    gate=lib.VC_CAP_RSS_PF,
    show_reply=_show_hashcfg,
)

# Argument: the bitmap of packet types to hash; 0 turns RSS off. Some PFs refuse the message
# although they granted RSS_PF (docs/spec/field-evidence.md 9).
SET_RSS_HASHCFG = MessageType(
    "SET_RSS_HASHCFG",
    _encode_hashcfg,
    HASHCFG,
    nothing,
    gate=lib.VC_CAP_RSS_PF,
    show=_show_hashcfg,
    advice=Advice("it cannot hash these packet types", "use its default set"),
)
