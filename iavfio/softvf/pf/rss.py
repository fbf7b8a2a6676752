# SPDX-License-Identifier: BSD-3-Clause
"""RSS by messages: key, table, function, packet classes (spec: virtchnl 9, descriptors 12)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf.resources import LUT_SIZE
from iavfio.softvf.pf.status import Refused, Status
from iavfio.softvf.pf.vf import Vf

if TYPE_CHECKING:
    from iavfio.softvf.personality import Personality
    from iavfio.softvf.pf.driver import Pf

KEY_SIZE = 52
BASIC = sum(1 << n for n in (31, 33, 34, 35, 36, 41, 43, 44, 45, 46, 63))
EXPANDED = sum(1 << n for n in (29, 30, 32, 39, 40, 42))


def classes(personality: Personality) -> int:
    """The packet classes that the device can hash (descriptors 12.1)."""
    return BASIC | EXPANDED if personality.expanded_pctypes else BASIC


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
        vf.hardware.violation("virtchnl 9", text + ": frames hashed there are lost")
    vf.rss_lut = lut
    pf.publish(vf)
    return b""


def config_rss_hfunc(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Toeplitz, plain or symmetric; ice only."""
    message = ffi.from_buffer("struct vc_rss_hfunc *", payload)
    vf.require_vsi(message.vsi_id, pf.personality.vsi_id(vf.index))
    algorithm = int(message.rss_algorithm)
    if algorithm not in (lib.VC_RSS_TOEPLITZ, lib.VC_RSS_TOEPLITZ_SYMMETRIC):
        raise Refused(Status.PARAM, f"RSS algorithm {algorithm}: only 0 and 2", kind="note")
    vf.symmetric = algorithm == lib.VC_RSS_TOEPLITZ_SYMMETRIC
    pf.publish(vf)
    return b""


def get_rss_hashcfg_caps(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The packet classes on offer."""
    vf.require_active()
    return classes(pf.personality).to_bytes(8, "little")


def set_rss_hashcfg(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """0 turns hashing off; ice has thrown the old set away before it refuses a class."""
    vf.require_active()
    if pf.personality.hashcfg_refused:
        raise Refused(Status.UNSUPPORTED, "SET_RSS_HASHCFG is not served by this PF", kind="note")
    wanted = int.from_bytes(payload, "little")
    unknown = wanted & ~classes(pf.personality)
    vf.hashcfg = wanted & ~unknown
    if unknown and pf.personality.is_ice:
        vf.hashcfg = 0
        pf.publish(vf)
        raise Refused(Status.PARAM, f"packet classes {unknown:#x} are not supported")
    pf.publish(vf)
    return b""
