# SPDX-License-Identifier: BSD-3-Clause
"""Who the VF is and what it gets.

VERSION, RESET_VF, GET_VF_RESOURCES, REQUEST_QUEUES, GET_SUPPORTED_RXDIDS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from iavfio.softvf._device import ffi, lib
from iavfio.softvf.pf import ice_vlans
from iavfio.softvf.pf.messages import Message
from iavfio.softvf.pf.status import Refused, Silence, Status
from iavfio.softvf.pf.vf import ZERO_MAC, Phase, Vf

if TYPE_CHECKING:
    from iavfio.softvf.personality import Personality
    from iavfio.softvf.pf.driver import Pf

# RXDID 1, 2 and 16..25 (docs/spec/descriptors.md 7).
RXDIDS = 1 << 1 | 1 << 2 | sum(1 << n for n in range(16, 26))
I40E_REPLY_SIZE = 52
LUT_SIZE = 64


def version(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The PF's own version, or 1.0 to a 1.0 VF (docs/spec/virtchnl.md 1)."""
    said = ffi.from_buffer("struct vc_version_info *", payload)
    vf.version = (int(said.major), int(said.minor))
    answer = ffi.new("struct vc_version_info *")
    answer.major = lib.VC_VERSION_MAJOR
    answer.minor = 0 if vf.version == (1, 0) else lib.VC_VERSION_MINOR
    if vf.version not in ((1, 0), (1, 1)):
        vf.hardware.violation(
            "docs/spec/virtchnl.md 1",
            f"VERSION {vf.version[0]}.{vf.version[1]} is neither 1.0 nor 1.1: the PF will treat "
            "what follows as from a 1.0 VF",
        )
    return bytes(ffi.buffer(answer))


def reset_vf(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Begins a reset, which is the answer."""
    pf.resets.start(vf, "RESET_VF")
    raise Silence


def grantable(personality: Personality, port_vlan: int, asked: int) -> int:
    """The subset of `asked` that the PF gives (docs/spec/virtchnl.md 4)."""
    always = lib.VC_CAP_L2
    offered = lib.VC_CAP_REQ_QUEUES | lib.VC_CAP_RSS_PF | lib.VC_CAP_RX_POLLING | lib.VC_CAP_ENCAP
    if personality.expanded_pctypes:
        offered |= lib.VC_CAP_RSS_PCTYPE_V2 | lib.VC_CAP_ENCAP_CSUM
    if personality.wb_on_itr:
        offered |= lib.VC_CAP_WB_ON_ITR
    if personality.is_ice:
        offered |= lib.VC_CAP_ADV_LINK_SPEED | lib.VC_CAP_USO | lib.VC_CAP_ADV_RSS_PF
        if not personality.is_ice_6_1:
            offered |= lib.VC_CAP_CRC | lib.VC_CAP_RX_FLEX_DESC
        if asked & lib.VC_CAP_VLAN_V2:
            offered |= lib.VC_CAP_VLAN_V2  # wins over VLAN
        elif bool(port_vlan) == personality.double_vlan:
            offered |= lib.VC_CAP_VLAN
    else:
        always |= lib.VC_CAP_ADV_LINK_SPEED  # unasked
        if not asked & lib.VC_CAP_RSS_PF:
            aq = personality.expanded_pctypes and asked & lib.VC_CAP_RSS_AQ
            always |= lib.VC_CAP_RSS_AQ if aq else lib.VC_CAP_RSS_REG
        offered |= lib.VC_CAP_ADQ  # as i40e does, though no channels come of it: see adq
        if personality.pf_kernel == "oot":
            offered |= lib.VC_CAP_USO | lib.VC_CAP_VLAN
        elif not port_vlan:
            always |= lib.VC_CAP_VLAN  # unasked
    return int(asked & offered | always)


def get_vf_resources(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Grants capabilities and makes the VF active (docs/spec/virtchnl.md 4, 9)."""
    p = pf.personality
    since = (pf.scheduler.now() - vf.active_since) * 1000
    if vf.resets and since < p.resources_error_ms:
        raise Refused(
            lib.VC_STATUS_ERR_PARAM,
            "GET_VF_RESOURCES while the PF still finishes the reset",
            kind="note",
        )
    # i40e_vc_get_vf_resources_msg leaves a mark that only a reset takes away, in Linux 6.17 and
    # the stable kernels from October 2025 on. Before, it answered again.
    again = vf.phase is Phase.ACTIVE and not p.resources_once
    if vf.phase is not Phase.INIT and not again and not p.is_ice:
        raise Refused(Status.PARAM, "GET_VF_RESOURCES was answered already since the last reset")
    asked = int.from_bytes(payload, "little") if payload else lib.VC_CAP_L2 | lib.VC_CAP_VLAN
    if p.mfp and not p.is_ice and asked & lib.VC_CAP_RX_POLLING:
        raise Refused(
            Status.PARAM,
            "RX_POLLING asked of a port in MFP mode: it is there in single-function mode only",
            kind="note",
        )
    vf.asked = asked
    vf.caps = grantable(p, vf.port_vlan, vf.asked)
    vf.unlocked |= vf.caps
    _apply_uso_rule(pf, vf)
    vf.enter(Phase.ACTIVE)
    pf.plane.set_rx_polling(vf.index, vf.has(lib.VC_CAP_RX_POLLING) and not p.is_ice)
    if p.is_ice:
        ice_vlans.negotiated(p, vf)
    pf.publish(vf)
    return _reply(pf, vf)


def _apply_uso_rule(pf: Pf, vf: Vf) -> None:
    """i40e takes the VF's own MAC back, also one that it added, when it does not ask for USO.

    See docs/spec/virtchnl.md 4.
    """
    if not pf.personality.uso_mac_rule or vf.admin_mac or vf.asked & lib.VC_CAP_USO:
        return
    if vf.own_mac in vf.macs:
        vf.macs.remove(vf.own_mac)
    vf.default_mac = vf.primary_mac = vf.own_mac = ZERO_MAC


def _reply(pf: Pf, vf: Vf) -> bytes:
    p = pf.personality
    answer = ffi.new("struct vc_vf_resource *", {"vsi_res": 2})
    answer.num_vsis = 1
    answer.num_queue_pairs = vf.num_queue_pairs
    answer.max_vectors = p.max_vectors
    answer.max_mtu = max(p.max_mtu - (4 if vf.port_vlan else 0), 0)
    answer.vf_cap_flags = vf.caps
    answer.rss_key_size, answer.rss_lut_size = len(vf.rss_key), LUT_SIZE
    vsi = answer.vsi_res[0]
    vsi.vsi_id = p.vsi_id(vf.index)
    vsi.num_queue_pairs = vf.num_queue_pairs
    vsi.vsi_type = lib.VC_VSI_SRIOV
    vsi.qset_handle = p.qset_handle
    vsi.default_mac_addr = vf.own_mac
    size = ffi.sizeof("struct vc_vf_resource") + ffi.sizeof("struct vc_vsi_resource")
    return bytes(ffi.buffer(answer, size if p.is_ice else I40E_REPLY_SIZE))


def get_supported_rxdids(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """The descriptor formats on offer, one bit each."""
    vf.require_active()
    vf.require_cap(lib.VC_CAP_RX_FLEX_DESC)
    pf.rxdids_told = True  # ice checks CONFIG_VSI_QUEUES against what it has told any of its VFs
    return RXDIDS.to_bytes(8, "little")


def request_queues(pf: Pf, vf: Vf, payload: bytes) -> bytes:
    """Granted: a reset and no answer. Refused: success, and the number that would work."""
    p = pf.personality
    vf.require_active()
    wanted = int.from_bytes(payload, "little")
    current = vf.num_queue_pairs
    left = pf.queue_pairs_left()
    fits = _what_fits(p, wanted, current, left)
    if fits is not None:
        vf.hardware.violation(
            "docs/spec/virtchnl.md 9", f"REQUEST_QUEUES {wanted}: {fits} would work", "note"
        )
        return fits.to_bytes(2, "little")
    vf.requested_pairs = wanted
    pf.resets.start(vf, f"REQUEST_QUEUES {wanted}", notify=p.notify)
    raise Silence


def _what_fits(p: Personality, wanted: int, current: int, left: int) -> int | None:
    """None when `wanted` can be had."""
    if wanted == 0 and p.is_ice:
        return 0  # echoed
    if wanted > p.max_queue_pairs:
        return p.max_queue_pairs
    if wanted - current > left:
        return min(left + current, p.max_queue_pairs) if p.is_ice else left + current
    if p.fragmented and not p.is_ice and wanted > current:
        return current
    return None


ROWS: tuple[Message, ...] = (
    Message("VERSION", version, fixed=8, unlock="always"),
    Message("RESET_VF", reset_vf, unlock="always"),
    Message("GET_VF_RESOURCES", get_vf_resources, fixed=4, unlock="always"),
    Message("REQUEST_QUEUES", request_queues, fixed=2, gate=lib.VC_CAP_REQ_QUEUES),
    Message(
        "GET_SUPPORTED_RXDIDS",
        get_supported_rxdids,
        gate=lib.VC_CAP_RX_FLEX_DESC,
        served_by="ice",
        unknown_to=("6.1",),
    ),
)
