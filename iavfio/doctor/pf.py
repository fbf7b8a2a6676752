# SPDX-License-Identifier: BSD-3-Clause
"""A VF's PF: its driver and link, and what it has set for the VF."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.doctor.finding import Seen
from iavfio.doctor.host import Vf, VfRow

KNOWN = ("ice", "i40e")


def _set(vf: Vf, words: str) -> str:
    return f"sudo iavfio vf {vf.function.physfn} set {vf.function.vf_index} {words}"


def _driver(vf: Vf) -> Iterator[Seen]:
    pf = vf.pf
    if pf is not None and not pf.driver:
        yield Seen(
            f"its PF {pf.bdf} has no driver",
            "nobody answers the VF's requests",
            f"sudo modprobe {pf.kernel_driver or 'ice'}, or sudo iavfio unbind {pf.bdf}",
        )
    elif pf is not None and pf.driver not in KNOWN:
        yield Seen(
            f"its PF {pf.bdf} has driver {pf.driver}",
            "an adaptive VF is answered by ice or i40e; with vfio-pci another program must do it "
            "(and opening needs --vf-token)",
            f"sudo iavfio unbind {pf.bdf}",
        )


def _down(vf: Vf) -> Iterator[Seen]:
    for interface in vf.pf.interfaces[:1] if vf.pf else ():
        if not interface.up:
            yield Seen(
                f"the interface {interface.name} of its PF is down",
                "the PF tells its VFs that there is no link",
                f"sudo ip link set {interface.name} up",
            )


def _carrier(vf: Vf) -> Iterator[Seen]:
    for interface in vf.pf.interfaces[:1] if vf.pf else ():
        path = vf.host.tree.devices / vf.function.physfn / "net" / interface.name / "carrier"
        if interface.up and vf.host.text(path) == "0":
            yield Seen(
                f"the wire of {interface.name}, its PF's interface, has no link",
                "no cable, no partner, or speeds that do not match",
                f"ethtool {interface.name}; VFs of one PF reach each other all the same with: "
                + _set(vf, "link enable"),
            )


def _link(vf: Vf) -> Iterator[Seen]:
    if vf.settings.get("link") == "disable":
        yield Seen(
            "its link is disabled on the PF",
            "the administrator has set link-state disable",
            _set(vf, "link auto"),
        )


def _vlan(vf: Vf) -> Iterator[Seen]:
    vlan = vf.settings.get("vlan")
    if vlan:
        yield Seen(
            f"it is in port VLAN {vlan}",
            "the PF tags what it sends, and lets nothing of other VLANs in",
            f"if that is not meant: {_set(vf, 'vlan 0')}",
        )


def _trust(vf: Vf) -> Iterator[Seen]:
    if vf.settings.get("trust") is False:
        yield Seen(
            "it is not trusted",
            "promiscuity, many addresses and another MAC are refused, or accepted and not done",
            f"if it needs them: {_set(vf, 'trust on')}",
        )


def _spoofchk(vf: Vf) -> Iterator[Seen]:
    if vf.settings.get("spoofchk") is True:
        yield Seen(
            "its spoof check is on",
            "the PF drops what it sends from any address but its own",
            f"for a generator or bridge: {_set(vf, 'spoofchk off')}",
        )


def _rate(vf: Vf) -> Iterator[Seen]:
    rate = vf.settings.get("rate")
    if rate:
        yield Seen(
            f"it may send {rate} Mbit/s at most",
            "the administrator has set a rate limit",
            f"if that is not meant: {_set(vf, 'rate 0')}",
        )


VF_ROWS: tuple[VfRow, ...] = (
    VfRow("pf.driver", "error", _driver),
    VfRow("pf.down", "error", _down),
    VfRow("pf.carrier", "warning", _carrier),
    VfRow("vf.link", "error", _link),
    VfRow("vf.vlan", "note", _vlan),
    VfRow("vf.trust", "note", _trust),
    VfRow("vf.spoofchk", "note", _spoofchk),
    VfRow("vf.rate", "note", _rate),
)
