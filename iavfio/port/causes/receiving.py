# SPDX-License-Identifier: BSD-3-Clause
"""What becomes of frames that the PF lets in."""

from __future__ import annotations

from iavfio.arguments import counted
from iavfio.datapath.pair import FCS
from iavfio.port.facts import Facts, Finding

LEGACY = "1 (legacy)"


def stray_format(f: Facts) -> Finding | None:
    """Descriptors that were not asked for."""
    if f.stray is None:
        return None
    asked, came = f.stray.asked or LEGACY, f.stray.came or LEGACY
    return Finding(
        "descriptor format",
        f"the device writes receive descriptors with format (RXDID) {came}, although {asked} was "
        "configured: " + ("they are read as such" if f.stray.read else "they are dropped"),
        "the write-backs in the receive ring",
        "report the PF driver's version; port.reset() configures it anew",
    )


def _long_frames(f: Facts) -> int:
    """Frames too long for the port that the device has discarded, as far as the counters show.

    The PF counts their bytes as received, the queues do not: their mean length tells.
    """
    pf, rq = f.counts.pf, f.counts.rq
    if f.max_frame is None or not pf["rx_discards"]:
        return 0
    came = pf["rx_unicast"] + pf["rx_multicast"] + pf["rx_broadcast"]
    missing = came - sum(queue["packets"] for queue in rq)
    missing_bytes = pf["rx_bytes"] - FCS * came - sum(queue["bytes"] for queue in rq)
    too_long = missing > 0 and missing_bytes > missing * f.max_frame
    return pf["rx_discards"] if too_long else 0


def ring_full(f: Facts) -> Finding | None:
    """The device had no descriptors."""
    dropped = f.counts.pf["rx_discards"]
    failed = sum(queue["alloc_page_fail"] for queue in f.counts.rq)
    if not dropped or f.pool_idle == 0 or failed or _long_frames(f):
        return None
    longest = "" if f.max_frame is None else f"; frames of up to {f.max_frame} bytes are received"
    return Finding(
        "receive rings full",
        "the device had no descriptor for frames that came, or they were too long for it: a PF may "
        "count both as rx_discards",
        f"rx_discards says {counted(dropped, 'packet')}; the pool was never empty{longest}",
        "call recv() more often or from a worker, use more queues, or a larger ring: "
        "configure(ring=2048); for longer frames configure(mtu=9000)",
    )


def pool_empty(f: Facts) -> Finding | None:
    """Nothing is left for the receive rings."""
    failed = sum(queue["alloc_page_fail"] for queue in f.counts.rq)
    empty = f.pool_idle == 0
    if not failed and not empty:
        return None
    have = "" if f.pool_size is None else f"; {f.pool_idle} of {f.pool_size} buffers are idle"
    return Finding(
        "pool empty",
        "receive rings cannot be filled: bursts that are held keep all buffers",
        f"alloc_page_fail says {counted(failed, 'time')}{have}",
        "release bursts sooner (with port.rx[0].recv() as burst), or open with a larger "
        "pool=iavfio.Pool(buffers=65536)",
    )


def oversize(f: Facts) -> Finding | None:
    """Frames beyond the limit, dropped by the device or the driver, or refused."""
    dropped = sum(queue["drop_oversize"] for queue in f.counts.rq)
    refused = sum(queue["refused_long"] for queue in f.counts.sq)
    discarded = _long_frames(f)
    if not dropped and not refused and not discarded:
        return None
    limit = "" if f.max_frame is None else f" of {f.max_frame} bytes"
    seen = [f"drop_oversize says {dropped}, refused_long says {refused}"]
    if discarded:
        seen.append(
            f"rx_discards says {counted(discarded, 'packet')}, which by rx_bytes were longer in "
            "the mean"
        )
    return Finding(
        "frames beyond the MTU",
        f"frames longer than the limit{limit} are dropped or refused",
        "; ".join(seen),
        "configure(mtu=9000), at most what the PF allows: iavfio info TARGET",
    )


def malformed(f: Facts) -> Finding | None:
    """Frames that the driver drops; those of a format that was not asked for are told as such."""
    names = ("drop_error", "drop_malformed", "drop_chain")
    counts = {name: sum(queue[name] for queue in f.counts.rq) for name in names}
    if not any(counts.values()) or f.stray is not None:
        return None
    return Finding(
        "frames dropped by the driver",
        "the device wrote back frames with errors, or descriptors that no device may write",
        ", ".join(f"{name} {value}" for name, value in counts.items() if value),
        "errors on the wire: look at ethtool -S PF; malformed descriptors: report it with the "
        "mailbox journal",
    )
