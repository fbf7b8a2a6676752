# SPDX-License-Identifier: BSD-3-Clause
"""What keeps frames from leaving."""

from __future__ import annotations

from iavfio.arguments import counted
from iavfio.port.facts import HOST, Facts, Finding

PROBING = "port.why() (iavfio why, without --no-probes) sends some"
STALLED_LATELY = 60.0  # seconds in which a stall that a reset has ended is still told


def stands_still(f: Facts) -> Finding | None:
    """A send queue makes no progress, or made none a moment ago."""
    lately = f.stalled is not None and f.stalled < STALLED_LATELY
    if not f.stuck and not lately:
        return None
    stalls = sum(queue["hangs"] for queue in f.counts.sq)
    lost = sum(queue["drop_reset"] for queue in f.counts.sq)
    seen = ["a probe frame was not completed"] if f.stuck else []
    if lately:
        seen.append(f"the watchdog reset the VF for it {f.stalled:.0f} s ago")
    seen.append(f"{counted(stalls, 'stall')} of a queue so far, packets lost to resets: {lost}")
    return Finding(
        "send queue stands still",
        _what(f),
        "; ".join(seen),
        "port.reset(), where it still stands; look at the host's dmesg for malicious driver "
        "detection",
    )


def _what(f: Facts) -> str:
    if f.stuck:
        return "the device does not complete what is posted"
    now = "since the reset it works" if f.own is not None else "the VF was reset for it"
    return f"the device did not complete what was posted; {now}"


def nothing_passes(f: Facts) -> Finding | None:
    """Nothing leaves, and no counter says why."""
    if f.own is not False or f.own_refused or f.stuck or not f.counts.link_up:
        return None
    return Finding(
        "PF discards",
        "even frames from the VF's own address do not leave the PF",
        "a probe frame was completed, and the PF did not count it as sent",
        "look at the VF on the host: ip link show PF (vlan, state, max_tx_rate), ethtool -S PF",
    )


def discards(f: Facts) -> Finding | None:
    """The PF discards what the VF sends: the spoof check, or tags. Probes tell which can be, and a
    sample of what was sent which is.
    """
    gone = f.counts.pf["tx_discards"] + f.counts.pf["tx_errors"] - f.discarded_probes
    if not f.counts.link_up or gone <= 0 or f.own is False:
        return None  # without a link all frames are; and where none passes there is another cause
    seen = f"tx_discards and tx_errors say {counted(gone, 'packet')}"
    sent = f.sent if f.sent is not None and f.sent.frames else None
    if sent is not None:
        seen += (
            f"; of {counted(sent.frames, 'frame')} {'' if sent.whole else 'of a sample '}that went "
            f"since the start {sent.foreign} had another address as source and {sent.tagged} a tag"
        )
    whole = sent if sent is not None and sent.whole else None
    spoof = f.foreign is not True and (whole is None or whole.foreign > 0)
    tags = f.vlans != "free" and (whole is None or whole.tagged > 0)
    if not spoof and not tags:
        return _past(seen)
    if f.foreign is None or (not spoof and f.vlans == "unknown"):
        return _possibly(f, seen, spoof, tags)
    mostly_tagged = sent is not None and sent.tagged > sent.foreign
    if tags and f.vlans != "unknown" and (mostly_tagged or not spoof):
        return _tags(f, seen)
    return Finding(
        "spoof check",
        "frames whose source is not the VF's own address are discarded by the PF"
        + ("; tagged ones are as well, and counted in the same place" if tags else ""),
        f"{seen}; a probe from the own address passed, one from another did not",
        _source(f),
    )


def _source(f: Facts) -> str:
    return (
        f"send from {f.counts.mac}, add the source as an extra MAC, or {HOST} spoofchk off "
        '(a software PF: {"command": "spoofchk", "vf": N, "on": false})'
    )


def _past(seen: str) -> Finding:
    return Finding(
        "discards on sending",
        "the PF has discarded frames that this VF sent, for neither their source nor a tag, or "
        "does so no longer: a link that was down, a spoof check that is off by now, or a limit of "
        "the host's",
        seen,
        "ask again while it happens; look at the VF on the host: ip link show PF, ethtool -S PF",
    )


def _possibly(f: Facts, seen: str, spoof: bool, tags: bool) -> Finding:
    causes = ["their source is not the VF's own address (spoof check)"] if spoof else []
    causes += ["they have a VLAN tag that the VF may not send"] if tags else []
    return Finding(
        "discards on sending",
        "the PF discards frames that this VF sends; it does not say why: possibly "
        + ", or ".join(causes),
        f"{seen}; "
        + (
            "its program sends all the time, so that no probe could be told from its frames"
            if f.busy
            else "no frame was sent on purpose to see"
        ),
        ("ask again while it sends less" if f.busy else f"{PROBING} and knows then")
        + (f"; if it is the source: {_source(f)}" if spoof else "")
        + (f"; if it is the tag: send without one, or {HOST} vlan 0" if tags else ""),
    )


def _tags(f: Facts, seen: str) -> Finding:
    probes = "an untagged probe passed, a tagged one did not"
    if f.vlans == "port VLAN":
        return Finding(
            "port VLAN",
            "frames with a VLAN tag are discarded by the PF: the host gives the VF's frames their "
            "tag itself",
            f"{seen}; {probes}, not even one that has a priority only",
            f"send without a tag, or {HOST} vlan 0 "
            '(a software PF: {"command": "vlan", "vf": N, "vlan": 0})',
        )
    return Finding(
        "VLAN filter",
        "frames with a tag of a VLAN that the VF has no filter for are discarded by the PF",
        f"{seen}; {probes}",
        f"send without a tag, or {HOST} trust on, or ethtool --set-priv-flags PF vf-vlan-pruning "
        'off (a software PF: {"command": "trust", "vf": N, "on": true})',
    )


def refused(f: Facts) -> Finding | None:
    """Frames that the driver itself refuses to send."""
    short = sum(queue["refused_short"] for queue in f.counts.sq)
    segments = sum(queue["refused_segments"] for queue in f.counts.sq)
    if not short and not segments:
        return None
    return Finding(
        "frames that no device may get",
        "frames of under 17 bytes, or with empty or too many segments, are refused",
        f"refused_short says {short}, refused_segments says {segments}",
        "pad frames to 60 bytes; a frame has at most 8 segments",
    )
