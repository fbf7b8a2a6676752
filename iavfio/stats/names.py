# SPDX-License-Identifier: BSD-3-Clause
"""The one table of counters: every dump, JSON object, guide and exporter is made from it.

Names, order and meaning of the libie part follow the queue statistics that libie was given for iavf
(docs/spec/libie-counters.md 1, 3, 5); fields are those of `csrc/driver/counters.h`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Group = Literal["port", "global", "napi", "fail", "pool", "xmit", "own"]


@dataclass(frozen=True, slots=True)
class Counter:
    """One counter: `name` is its field in C, and what libie prints behind the queue's prefix.

    `kernel` is its name in the mainline driver, empty where that has none. `note` says what its
    readers must know besides; `still` that nothing in iavfio can ever move it; `lost` that it
    counts packets that went nowhere: the counter is the reason.
    """

    name: str
    group: Group
    unit: str
    meaning: str
    kernel: str = ""
    note: str = ""
    still: bool = False
    lost: bool = False


FCS_RULE = (
    "rx_bytes counts the FCS (4 bytes a packet), tx_bytes does not: so the 700 and 800 series were "
    "seen to count; bytes of a queue are without it"
)


def _still(name: str, group: Group, unit: str, meaning: str, why: str) -> Counter:
    return Counter(name, group, unit, meaning, note=f"always 0: {why}", still=True)


def _lost(name: str, group: Group, meaning: str, note: str = "") -> Counter:
    return Counter(name, group, "packets", meaning, note=note, lost=True)


PORT: tuple[Counter, ...] = (
    Counter("resets", "port", "events", "resets of the VF since the port was opened"),
    Counter("link_changes", "port", "events", "times that the link came up or went down"),
)

GLOBAL: tuple[Counter, ...] = (
    Counter("rx_bytes", "global", "bytes", "received by the VSI", note="counts the FCS"),
    Counter("rx_unicast", "global", "packets", "unicast packets received"),
    Counter("rx_multicast", "global", "packets", "multicast packets received"),
    Counter("rx_broadcast", "global", "packets", "broadcast packets received"),
    _lost("rx_discards", "global", "dropped by the device: no descriptor was free"),
    _lost("rx_unknown_protocol", "global", "dropped for an unknown protocol"),
    Counter("tx_bytes", "global", "bytes", "sent by the VSI", note="without the FCS"),
    Counter("tx_unicast", "global", "packets", "unicast packets sent"),
    Counter("tx_multicast", "global", "packets", "multicast packets sent"),
    Counter("tx_broadcast", "global", "packets", "broadcast packets sent"),
    _lost("tx_discards", "global", "packets that the device refused to send", "0 with Linux's PFs"),
    _lost("tx_errors", "global", "packets not sent: spoof check, VLAN, link, wrong descriptor"),
)

RX: tuple[Counter, ...] = (
    Counter("packets", "napi", "packets", "complete frames delivered", "packets"),
    Counter("bytes", "napi", "bytes", "their length", "bytes"),
    Counter("fragments", "napi", "descriptors", "descriptors without end of packet"),
    Counter("alloc_page_fail", "fail", "events", "a refill found the buffer pool empty"),
    _still(
        "build_skb_fail",
        "fail",
        "events",
        "no packet object for a received buffer",
        "a received packet is a number in the caller's column, so there is no object to make",
    ),
    Counter("pp_alloc_fast", "pool", "buffers", "taken from the queue's cache"),
    Counter("pp_alloc_slow", "pool", "buffers", "handed out for the first time"),
    Counter("pp_alloc_slow_ho", "pool", "buffers", "the same, larger than a page"),
    Counter("pp_alloc_empty", "pool", "events", "the shared ring was empty at a refill"),
    Counter("pp_alloc_refill", "pool", "events", "the cache was refilled from the shared ring"),
    _still(
        "pp_alloc_waive",
        "pool",
        "buffers",
        "dropped: wrong NUMA node or generation",
        "a pool lies on one node and never changes its size",
    ),
    Counter("pp_recycle_cached", "pool", "buffers", "returned to the queue's cache"),
    Counter("pp_recycle_cache_full", "pool", "buffers", "found the cache full on return"),
    Counter("pp_recycle_ring", "pool", "buffers", "returned to the shared ring"),
    _still(
        "pp_recycle_ring_full",
        "pool",
        "buffers",
        "freed: the shared ring was full",
        "the shared ring has room for every buffer of the pool",
    ),
    _still(
        "pp_recycle_released_ref",
        "pool",
        "buffers",
        "freed: still referenced on return",
        "a buffer has one holder at a time",
    ),
    _lost("drop_error", "own", "dropped: MAC error flagged by the device (RXE)"),
    _lost("drop_oversize", "own", "dropped: beyond its buffers or the frame limit"),
    _lost("drop_chain", "own", "dropped: chain too long"),
    _lost("drop_malformed", "own", "dropped: write-back that no device may write"),
    _lost("drop_reset", "own", "received, then lost to a reset or stop"),
    Counter("polls", "own", "events", "receive calls"),
    Counter("empty_polls", "own", "events", "receive calls that found nothing"),
)

TX: tuple[Counter, ...] = (
    Counter("packets", "napi", "packets", "wire frames completed", "packets"),
    Counter("bytes", "napi", "bytes", "their length", "bytes"),
    Counter("busy", "xmit", "events", "send calls that could not take all packets"),
    Counter("stops", "xmit", "events", "times the queue was declared full"),
    Counter("restarts", "xmit", "events", "times it became usable again"),
    _still(
        "linearized",
        "xmit",
        "packets",
        "frames copied into one buffer",
        "frames are never copied; one of too many segments counts in refused_segments",
    ),
    Counter("posted", "own", "packets", "handed to the device; less packets: in flight"),
    Counter("posted_bytes", "own", "bytes", "their length"),
    _lost("refused_short", "own", "refused: shorter than 17 bytes"),
    _lost("refused_long", "own", "refused: longer than the frame limit"),
    _lost("refused_segments", "own", "refused: empty or too many segments"),
    _lost("refused_handle", "own", "refused: handle outside the pool"),
    _lost("drop_reset", "own", "posted, then lost to a reset or stop"),
    Counter("doorbells", "own", "events", "tail writes"),
    Counter("cleans", "own", "events", "completion sweeps"),
    Counter("hangs", "own", "events", "stalls that Tx hang detection found, each counted once"),
    _lost("refused_full", "own", "refused: the ring was full at the release"),
)

BLOCKS: tuple[tuple[str, str, tuple[Counter, ...]], ...] = (
    ("rq", "struct rq_counters", RX),
    ("sq", "struct sq_counters", TX),
)


def chosen(table: tuple[Counter, ...], *, pool: bool, own: bool) -> tuple[Counter, ...]:
    """The counters of a queue that a dump shows: `pool` adds pp_ names, `own` our own group."""
    hidden: set[Group] = set()
    if not pool:
        hidden.add("pool")
    if not own:
        hidden.add("own")
    return tuple(counter for counter in table if counter.group not in hidden)
