# SPDX-License-Identifier: BSD-3-Clause
"""Why a port receives nothing, or why its packets vanish: causes, each with its remedy.

Facts are gathered first: the counters, and for a port of this process what probes showed. Then each
check (iavfio/port/causes) looks at the facts alone. A check names one cause or none.
"""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from iavfio.errors import DeviceLost, IavfioError
from iavfio.port.causes import CHECKS, FATAL, FIRST
from iavfio.port.facts import HOST, Facts, Finding, StrayFormat
from iavfio.port.probe import NOBODY, Probe, probe_frame, probe_send
from iavfio.port.sampling import spread_facts
from iavfio.port.vlan_probe import probe_vlans
from iavfio.stats import Snapshot

if TYPE_CHECKING:
    from iavfio.port.port import Port

FOREIGN = bytes.fromhex("02fffffffffe")  # a source address that no VF has
SAMPLING = 0.1  # seconds in which traffic is sampled anew
PATIENCE = 1.0  # seconds in which another probe is tried, where others send meanwhile
MOST_ADDRESSES = 4  # of extra_macs that are probed


def findings(facts: Facts) -> list[Finding]:
    """What every check says of the facts, the most basic cause first; empty when all is well.

    A port that is gone, or does not run, has few further causes: nothing else could be seen.
    """
    first = [found for check in FIRST if (found := check(facts)) is not None]
    for fatal in FATAL:
        found = fatal(facts)
        if found is not None:
            return [*first, found]
    return first + [found for check in CHECKS if (found := check(facts)) is not None]


def examine(port: Port) -> list[Finding]:
    """Probes a port of this process and says what is wrong with it; see `probe`."""
    return findings(probe(port))


def probe(port: Port, *, frames: bool = True) -> Facts:
    """Gathers what can be known of a port of this process.

    Sends a few probe frames and some twenty messages to the PF; on a running port that costs a few
    milliseconds. The frames go to nobody; without `frames` none is sent. Any thread may call it
    beside those that use the queues. Queues that a worker holds are not probed, and what the PF
    counts of a probe is not taken for its fate while others send.
    """
    port.settle()
    counts = _counts(port)
    status, conditions = port.control.status, port.control.housekeeping.conditions
    known: dict[str, Any] = {
        "stalled": port.control.housekeeping.stalled,
        "closing": "PF closes" in status.conditions,
    }
    if port.state == "closed":
        return Facts(counts, reason=port.why_stopped(), closed=True)
    lost = bool(port.device.lost)
    if lost or port.state != "running":
        return Facts(counts, reason=port.why_stopped(), lost=lost, **known)
    settings = port.settings
    try:
        port.refresh_stats()
        counts = _counts(port)
        known["trust"] = port.control.ask_trust()
        known["discarded_probes"] = conditions.discarded_probes
        if frames and port.link.up:
            known |= _sent(port)
            known["stalled"] = port.control.housekeeping.stalled
            known["discarded_probes"] = conditions.discarded_probes
            counts = _after_probes(counts, _counts(port))
    except DeviceLost:
        return Facts(counts, lost=True)
    except IavfioError as error:
        known["pf_error"] = error.what
    caps = port.session.report
    return Facts(
        counts,
        promiscuous=settings.promiscuous,
        all_multicast=settings.all_multicast,
        extra_macs=settings.extra_macs,
        pool_idle=port.pool.idle,
        pool_size=port.pool.size,
        rss=any(cap.name == "RSS_PF" for cap in caps.granted_list),
        max_frame=settings.frame,
        stray=StrayFormat.of(port.control.queues),
        **_sampled(port, counts),
        **known,
    )


def _after_probes(before: Snapshot, after: Snapshot) -> Snapshot:
    """What was under way to the PF when it was asked has arrived there before the probes.

    What the probes themselves made of the other counters is nobody's fault.
    """
    fate = {name: after.pf[name] for name in ("tx_discards", "tx_errors")}
    return replace(before, sq=after.sq, pf={**before.pf, **fate})


def _sent(port: Port) -> dict[str, Any]:
    """What became of frames that are sent on purpose, as fields of the facts.

    Nothing where a worker holds the queue: its counters must do.
    """
    known: dict[str, Any] = {}
    with suppress(IavfioError):
        own = _alone(port, port.mac)
        known["stuck"] = own.stuck
        if own.passed is None:
            return known | {"busy": not own.stuck and not own.alone}
        known |= {"own": own.passed, "own_refused": own.discarded}
        foreign = _alone(port, FOREIGN)
        known["foreign"] = foreign.passed
        known["busy"] = foreign.passed is None and not foreign.stuck and not foreign.alone
        if own.passed:
            known["vlans"] = probe_vlans(port)
            known["absent"] = _absent(port) if known["foreign"] is False else ()
    return known


def _sampled(port: Port, counts: Snapshot) -> dict[str, Any]:
    """What samples show, as fields of the facts, and what the settings say of RSS."""
    sampling = port.control.sampling
    sampling.watch(SAMPLING)
    facts = spread_facts(port.control, sampling.received())
    own = (port.mac, *port.settings.extra_macs)
    return facts | {"sent": sampling.sent(own, sum(queue["posted"] for queue in counts.sq))}


def _absent(port: Port) -> tuple[bytes, ...]:
    """Further addresses of the port from which a PF with a spoof check lets nothing pass."""
    further = [mac for mac in port.settings.extra_macs if not mac[0] & 1][:MOST_ADDRESSES]
    return tuple(mac for mac in further if _alone(port, mac).passed is False)


def _alone(port: Port, source: bytes) -> Probe:
    """What became of a probe with this source, if possible of one that was alone."""
    end = time.monotonic() + PATIENCE
    while True:
        found = probe_send(port, probe_frame(NOBODY, source))
        if found.passed is not None or found.stuck or time.monotonic() > end:
            return found


def _counts(port: Port) -> Snapshot:
    """Returns the port's counters, without queues that ran once and do no longer."""
    return port.stats.snapshot().of_queues(len(port.rx))


def hints(f: Facts) -> list[str]:
    """What may surprise the user of a port on which nothing is wrong.

    No counter shows frames that the PF's filters keep away, so that they are no finding.
    """
    if f.counts.state != "running" or any(queue["packets"] > 0 for queue in f.counts.rq):
        return []
    if f.trust == "unknown" or (f.promiscuous and f.trust == "trusted"):
        return ["nothing was received"]
    macs = [f.counts.mac, *(mac.hex(":") for mac in f.extra_macs)]
    every = ", every multicast group" if f.all_multicast and f.trust == "trusted" else ""
    hint = (
        f"nothing was received; the filters let in frames to {', '.join(macs)}{every} and broadcast"
    )
    if f.trust == "trusted":
        return [f"{hint}. configure(promiscuous=True) lets in all, to see what comes"]
    if f.promiscuous or f.all_multicast or any(bool(mac[0] & 1) for mac in f.extra_macs):
        return [f"{hint}. {HOST} trust on lets the VF ask for more"]
    low = f.counts.mac.replace(":", "")[-6:]
    group = "33:33:ff:" + ":".join(low[i : i + 2] for i in (0, 2, 4)) if low else "33:33:ff:.."
    return [
        (
            f"{hint}, and of multicast nothing: the VF is not trusted and has no multicast "
            f"address. IPv6 neighbour discovery needs extra_macs=[{group!r}], or {HOST} trust on "
            "and configure(all_multicast=True)"
        )
    ]
