# SPDX-License-Identifier: BSD-3-Clause
"""RSS by messages: key, table, function, packet classes.

See docs/spec/virtchnl.md 9 and docs/spec/descriptors.md 12.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.resources import LUT_SIZE
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Vf
from iavfio.softvf.vf_config import HashRule

if TYPE_CHECKING:
    from iavfio.softvf.personality import Personality
    from iavfio.softvf.pf.driver import Pf

KEY_SIZE = 52


def _bits(*numbers: int) -> int:
    return sum(1 << n for n in numbers)


BASIC = _bits(31, 33, 34, 35, 36, 41, 43, 44, 45, 46)
L2_PAYLOAD = _bits(63)  # ice neither offers nor takes it
EXPANDED = _bits(29, 30, 32, 39, 40, 42)
# ice makes flow profiles of the classes, and knows no finer ones than UDP, TCP, SCTP and the rest
# of IPv4 and of IPv6: any class of a family stands for all of it, any of a version for its rest.
FAMILIES = (_bits(29, 30, 31), _bits(32, 33), _bits(39, 40, 41), _bits(42, 43))
VERSIONS = ((_bits(*range(29, 37)), _bits(35, 36)), (_bits(*range(39, 47)), _bits(45, 46)))


def classes(personality: Personality) -> int:
    """The packet classes that the PF offers (docs/spec/descriptors.md 12.1)."""
    other = 0 if personality.is_ice else L2_PAYLOAD
    return BASIC | other | (EXPANDED if personality.expanded_pctypes else 0)


def tells_apart(personality: Personality) -> bool:
    """Whether unicast UDP, multicast UDP and SYN are classes of their own: X722's hardware."""
    return personality.expanded_pctypes and not personality.is_ice


def programmed(personality: Personality, hashcfg: int) -> int:
    """What the hardware hashes: i40e writes the classes into registers, ice makes profiles."""
    if not personality.is_ice:
        return hashcfg & classes(personality)  # the card has no other classes
    for family in FAMILIES:
        hashcfg |= family if hashcfg & family else 0
    for version, rest in VERSIONS:
        hashcfg |= rest if hashcfg & version else 0
    return hashcfg


def set_defaults(personality: Personality, vf: Vf) -> None:
    """What the PF programs in a reset: ice spreads over all queues, i40e leaves an empty table."""
    vf.hashcfg = classes(personality)
    if personality.is_ice:
        vf.rss_key = bytes((i * 151 + 44) & 0xFF for i in range(KEY_SIZE))
        vf.rss_lut = bytes(i % max(vf.num_queue_pairs, 1) for i in range(LUT_SIZE))
    else:
        vf.rss_key, vf.rss_lut = bytes(KEY_SIZE), bytes(LUT_SIZE)


def config_rss_key(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Exactly the size of GET_VF_RESOURCES."""
    message = ffi.from_buffer("struct vc_rss_key *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    if message.key_len != KEY_SIZE:
        raise Refused(Status.PARAM, f"RSS key of {message.key_len} bytes, {KEY_SIZE} wanted")
    vf.rss_key = bytes(ffi.buffer(message.key, KEY_SIZE))
    pf.publish(vf)
    return b""


def config_rss_lut(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Exactly the size of GET_VF_RESOURCES; i40e checks each entry, ice trusts."""
    message = ffi.from_buffer("struct vc_rss_lut *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    if message.lut_entries != LUT_SIZE:
        raise Refused(Status.PARAM, f"RSS table of {message.lut_entries}, {LUT_SIZE} wanted")
    lut = bytes(ffi.buffer(message.lut, LUT_SIZE))
    if max(lut) >= vf.num_queue_pairs:
        text = f"RSS table names queue {max(lut)}, the VF has {vf.num_queue_pairs}"
        if not pf.personality.is_ice:
            raise Refused(Status.PARAM, text)
        vf.hardware.violation("docs/spec/virtchnl.md 9", text + ": frames hashed there are lost")
    vf.rss_lut = lut
    pf.publish(vf)
    return b""


def _in_pairs(rule: HashRule) -> bool:
    """Whether source and destination are hashed alike: ice makes no other rule symmetric."""
    return all(
        bool(rule.fields & one) == bool(rule.fields & other)
        for one, other in (
            (lib.SOFTVF_OF_IP_SRC, lib.SOFTVF_OF_IP_DST),
            (lib.SOFTVF_OF_SRC_PORT, lib.SOFTVF_OF_DST_PORT),
        )
    )


def config_rss_hfunc(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """ice only, which takes every algorithm but symmetric Toeplitz for plain Toeplitz.

    The function that was chosen last is no change: rules of the other symmetry stay as they are.
    """
    message = ffi.from_buffer("struct vc_rss_hfunc *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    algorithm = int(message.rss_algorithm)
    if algorithm not in (lib.VC_RSS_TOEPLITZ, lib.VC_RSS_TOEPLITZ_SYMMETRIC):
        vf.hardware.violation(
            "docs/spec/virtchnl.md 9",
            f"RSS algorithm {algorithm}: reported as success, Toeplitz is used",
            "note",
        )
    symmetric = algorithm == lib.VC_RSS_TOEPLITZ_SYMMETRIC
    if symmetric == vf.symmetric_chosen:
        return b""
    stay = [
        rule
        for rule in vf.rules
        if rule.symmetric == symmetric or (symmetric and not _in_pairs(rule))
    ]
    # Those that ice makes anew are its youngest.
    anew = [replace(rule, symmetric=symmetric) for rule in vf.rules if rule not in stay]
    vf.rules = anew + stay
    if symmetric:
        # ice makes every profile anew that the VF has ever had (docs/spec/pf-dialects.md 2).
        vf.hashcfg = classes(pf.personality)
    vf.symmetric = vf.symmetric_chosen = symmetric
    pf.publish(vf)
    return b""


def get_rss_hashcfg_caps(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The packet classes on offer."""
    vf.require_active()
    return classes(pf.personality).to_bytes(8, "little")


def set_rss_hashcfg(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """0 turns hashing off.

    ice throws all profiles away, those of rules too, before it refuses a class.
    """
    vf.require_active()
    if pf.personality.hashcfg_refused:
        raise Refused(Status.UNSUPPORTED, "SET_RSS_HASHCFG is not served by this PF", kind="note")
    wanted = int.from_bytes(payload, "little")
    unknown = wanted & ~classes(pf.personality)
    vf.rules = []
    vf.hashcfg = wanted  # i40e writes it into registers, whatever it is
    if unknown and pf.personality.is_ice:
        vf.hashcfg = 0
        pf.publish(vf)
        raise Refused(Status.ADMIN_QUEUE, f"packet classes {unknown:#x} are not supported")
    pf.publish(vf)
    return b""


CAP = lib.VC_CAP_RSS_PF
ROWS: tuple[Message, ...] = (
    Message(
        "CONFIG_RSS_HFUNC",
        config_rss_hfunc,
        fixed=8,
        gate=CAP,
        served_by="ice",
        unknown_to=("6.1",),
    ),
    Message("CONFIG_RSS_KEY", config_rss_key, fixed=5, per=1, count_at=2, gate=CAP),
    Message("CONFIG_RSS_LUT", config_rss_lut, fixed=5, per=1, count_at=2, gate=CAP),
    Message("GET_RSS_HASHCFG_CAPS", get_rss_hashcfg_caps, gate=CAP, unserved_by_ice=("6.1",)),
    Message("SET_RSS_HASHCFG", set_rss_hashcfg, fixed=8, gate=CAP, unserved_by_ice=("6.1",)),
)
