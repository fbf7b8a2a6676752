# SPDX-License-Identifier: BSD-3-Clause
"""Why a port receives nothing, or why its packets vanish: causes, each with its remedy.

Facts are gathered first: the counters, and for a port of this process what probes showed. Then each
check looks at the facts alone. A check names one cause or none.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from iavfio.arguments import counted
from iavfio.errors import DeviceLost, IavfioError
from iavfio.port.probe import probe_frame, probe_send
from iavfio.port.trust import Trust, probe_trust
from iavfio.stats import Snapshot

if TYPE_CHECKING:
    from iavfio.port.port import Port

FOREIGN = bytes.fromhex("02fffffffffe")  # a source address that no VF has
NOBODY = bytes.fromhex("02ffffffffff")  # a destination that no VF has
SAMPLES_SILENT = 5.0  # seconds: an older sample of a running port means that the PF is silent
SPREAD_LEAST = 1000  # packets from which an uneven spread over queues is no accident
HOST = "on the host: ip link set PF vf N"


@dataclass(frozen=True)
class Finding:
    """One cause: a short `name`, what it is, what shows it, and the command that mends it."""

    name: str
    what: str
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.name}: {self.what}\n  seen: {self.evidence}\n  mend: {self.remedy}"


@dataclass(frozen=True, kw_only=True)
class Probed:
    """What the process of a port can find out about it.

    None where nothing is known: `reason` why it does not run, `closed` whether because its program
    has closed it; `own` and `foreign` whether the PF counted a probe from its own and from a
    foreign address as sent; `trust`; `pf_error` what GET_STATS said; `pool_idle` and `pool_size`
    buffers; `max_frame` bytes without FCS.
    """

    reason: str = ""
    closed: bool = False
    lost: bool = False
    own: bool | None = None
    foreign: bool | None = None
    stuck: bool = False
    trust: Trust = "unknown"
    promiscuous: bool = False
    all_multicast: bool = False
    extra_macs: tuple[bytes, ...] = ()
    pf_error: str = ""
    pool_idle: int | None = None
    pool_size: int | None = None
    rss: bool = True
    max_frame: int | None = None


@dataclass(frozen=True)
class Facts(Probed):
    """What is known of a port.

    `counts`: what its counters say now, or moved by while somebody watched.
    """

    counts: Snapshot


Check = Callable[[Facts], "Finding | None"]


def findings(facts: Facts) -> list[Finding]:
    """What every check says of the facts, the most basic cause first; empty when all is well.

    A port that is gone, or does not run, has no further causes: nothing else could be seen.
    """
    for fatal in (_lost, _not_running):
        found = fatal(facts)
        if found is not None:
            return [found]
    return [found for check in CHECKS if (found := check(facts)) is not None]


def examine(port: Port) -> list[Finding]:
    """Probes a port of this process and says what is wrong with it; see `probe`."""
    return findings(probe(port))


def probe(port: Port, *, frames: bool = True) -> Facts:
    """Gathers what can be known of a port of this process.

    Sends two probe frames and some twenty messages to the PF; on a running port that costs a few
    milliseconds. The frames go to nobody. Queues that a worker holds are not probed. Without
    `frames` no queue is entered, so that any thread may call it beside those that use the queues.
    """
    port.settle()
    counts = _counts(port)
    if port.state == "closed":
        return Facts(counts, reason=port.why_stopped(), closed=True)
    lost = bool(port.device.lost)
    if lost or port.state != "running":
        return Facts(counts, reason=port.why_stopped(), lost=lost)
    settings = port.settings
    pf_error = ""
    own = foreign = None
    stuck = False
    trust: Trust = "unknown"
    try:
        port.refresh_stats()
        counts = _counts(port)
    except DeviceLost:
        return Facts(counts, lost=True)
    except IavfioError as error:
        pf_error = error.what
    if not pf_error:
        trust = probe_trust(port.session.client, port.session.held)
        if frames and port.link.up:
            try:
                sent = probe_send(port, probe_frame(NOBODY, port.mac))
                own, stuck = sent.counted, not sent.completed
                foreign = probe_send(port, probe_frame(NOBODY, FOREIGN)).counted
            except IavfioError:
                pass  # a worker holds the queue: its counters must do
    caps = port.session.report
    return Facts(
        counts,
        own=own,
        foreign=foreign,
        stuck=stuck,
        trust=trust,
        promiscuous=settings.promiscuous,
        all_multicast=settings.all_multicast,
        extra_macs=settings.extra_macs,
        pf_error=pf_error,
        pool_idle=port.pool.idle,
        pool_size=port.pool.size,
        rss=any(cap.name == "RSS_PF" for cap in caps.granted_list),
        max_frame=settings.frame,
    )


def _counts(port: Port) -> Snapshot:
    """Returns the port's counters, without queues that ran once and do no longer."""
    return port.stats.snapshot().of_queues(len(port.rx))


# ---- the checks


def _lost(f: Facts) -> Finding | None:
    if not f.lost:
        return None
    return Finding(
        "device lost",
        "the device does not answer any more",
        "its registers read all ones, or its server hung up",
        "close the port; open it again when the VF is back (the host's dmesg says why it went)",
    )


def _not_running(f: Facts) -> Finding | None:
    if f.closed:
        again = "open it again: iavfio.open(...)"
        return Finding("not running", "the port is closed", f.reason, again)
    if f.counts.state == "running" and not f.reason:
        return None
    remedy = {
        "stopped": "call port.start()",
        "failed": "port.recover(), or close the port and open it again",
        "dead": "start its program again; iavfio stats --clean removes what it left",
    }.get(f.counts.state, "wait until it is running")
    return Finding(
        "not running",
        f"the port is {f.counts.state}",
        f.reason or f"its state in the stats segment is {f.counts.state}",
        remedy,
    )


def _link(f: Facts) -> Finding | None:
    if f.counts.link_up:
        return None
    return Finding(
        "link down",
        "the PF says that the link is down: nothing is sent or received",
        "the last LINK_CHANGE event",
        f"{HOST} state auto; look at the PF's own link and cable "
        '(a software PF: {"command": "link", "vf": N, "state": "auto"})',
    )


def _pf_silent(f: Facts) -> Finding | None:
    age = f.counts.age
    if not f.pf_error and (age is None or age < SAMPLES_SILENT):
        return None
    return Finding(
        "PF silent",
        "the PF does not answer this VF",
        f.pf_error or f"its last answer to GET_STATS is {age:.0f} s old",
        "look at the host's dmesg: i40e is silent after malicious driver detection; "
        "port.reset(), or an FLR by opening the device again, ends it",
    )


def _spoof(f: Facts) -> Finding | None:
    gone = f.counts.pf["tx_discards"] + f.counts.pf["tx_errors"]
    if not f.counts.link_up:
        return None  # then all frames are
    if not gone or f.foreign or f.own is False:
        return None
    seen = f"tx_discards and tx_errors say {counted(gone, 'packet')}"
    remedy = (
        f"send from {f.counts.mac}, add the source as an extra MAC, or {HOST} spoofchk off "
        '(a software PF: {"command": "spoofchk", "vf": N, "on": false})'
    )
    if f.own and f.foreign is False:
        return Finding(
            "spoof check",
            "frames whose source is not the VF's own address are discarded by the PF",
            f"{seen}; a probe from the own address passed, one from another did not. Tagged frames "
            "of a VF that has a port VLAN are counted there as well",
            remedy,
        )
    return Finding(
        "discards on sending",
        "the PF discards frames that this VF sends; it does not say why: possibly their source is "
        "not the VF's own address (spoof check), or they have a VLAN tag that the VF may not send",
        f"{seen}; no frame from a foreign address was sent on purpose to see",
        f"port.why() sends one and knows then; if it is the source: {remedy}",
    )


def _nothing_passes(f: Facts) -> Finding | None:
    if f.own is not False or f.stuck or not f.counts.link_up:
        return None
    return Finding(
        "PF discards",
        "even frames from the VF's own address do not leave the PF",
        "a probe frame was completed, and the PF did not count it as sent",
        "look at the VF on the host: ip link show PF (vlan, state, max_tx_rate), ethtool -S PF",
    )


def _hang(f: Facts) -> Finding | None:
    hangs = sum(queue["hangs"] for queue in f.counts.sq)
    if not f.stuck:
        return None
    return Finding(
        "send queue stands still",
        "the device does not complete what is posted",
        f"a probe frame was not completed; hangs found so far: {hangs}",
        "port.reset(); look at the host's dmesg for malicious driver detection",
    )


def _untrusted(f: Facts) -> Finding | None:
    if f.trust != "untrusted" or not (f.promiscuous or f.all_multicast):
        return None
    mode = "promiscuous mode" if f.promiscuous else "all-multicast mode"
    return Finding(
        "not trusted",
        f"{mode} is not in force, although the PF said yes: the host does not trust this VF",
        "the PF refused one address more than an untrusted VF may have",
        f"{HOST} trust on (a software PF: "
        '{"command": "trust", "vf": N, "on": true}); or name the addresses in extra_macs',
    )


def hints(f: Facts) -> list[str]:
    """What may surprise the user of a port on which nothing is wrong.

    No counter shows frames that the PF's filters keep away, so that they are no finding.
    """
    if f.counts.state != "running" or any(queue["packets"] > 0 for queue in f.counts.rq):
        return []
    multicast = any(bool(mac[0] & 1) for mac in f.extra_macs)
    if f.trust != "untrusted" or f.promiscuous or f.all_multicast or multicast:
        return ["nothing was received"]
    low = f.counts.mac.replace(":", "")[-6:]
    group = "33:33:ff:" + ":".join(low[i : i + 2] for i in (0, 2, 4)) if low else "33:33:ff:.."
    hint = (
        "nothing was received, and of multicast nothing would be: the VF is not trusted and has no "
        f"multicast address. IPv6 neighbour discovery needs extra_macs=[{group!r}], or {HOST} "
        "trust on and configure(all_multicast=True)"
    )
    return [hint]


def _ring_full(f: Facts) -> Finding | None:
    dropped = f.counts.pf["rx_discards"]
    failed = sum(queue["alloc_page_fail"] for queue in f.counts.rq)
    if not dropped or (f.pool_idle == 0) or failed:
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


def _pool_empty(f: Facts) -> Finding | None:
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


def _oversize(f: Facts) -> Finding | None:
    dropped = sum(queue["drop_oversize"] for queue in f.counts.rq)
    refused = sum(queue["refused_long"] for queue in f.counts.sq)
    if not dropped and not refused:
        return None
    limit = "" if f.max_frame is None else f" of {f.max_frame} bytes"
    return Finding(
        "frames beyond the MTU",
        f"frames longer than the limit{limit} are dropped or refused",
        f"drop_oversize says {dropped}, refused_long says {refused}",
        "configure(mtu=9000), at most what the PF allows: iavfio info TARGET",
    )


def _one_queue(f: Facts) -> Finding | None:
    packets = [queue["packets"] for queue in f.counts.rq]
    if len(packets) < 2 or sum(packets) < SPREAD_LEAST or max(packets) < sum(packets):
        return None
    return Finding(
        "no spread over queues",
        "all packets arrive in one queue although several run",
        f"{max(packets)} packets in one of {len(packets)} queues"
        + ("" if f.rss else "; the PF does not grant RSS"),
        "RSS hashes IP addresses and TCP, UDP and SCTP ports: traffic of one flow, or of a kind "
        "that the card does not parse (tunnels, ICMP, other protocols), stays together whatever "
        "rss= says; a handler that answers REDIRECT by its own hash spreads it: "
        "docs/guides/handlers.md",
    )


def _refused(f: Facts) -> Finding | None:
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


def _malformed(f: Facts) -> Finding | None:
    names = ("drop_error", "drop_malformed", "drop_chain")
    counts = {name: sum(queue[name] for queue in f.counts.rq) for name in names}
    if not any(counts.values()):
        return None
    return Finding(
        "frames dropped by the driver",
        "the device wrote back frames with errors, or descriptors that no device may write",
        ", ".join(f"{name} {value}" for name, value in counts.items() if value),
        "errors on the wire: look at ethtool -S PF; malformed descriptors: report it with the "
        "mailbox journal",
    )


STANDING: tuple[Check, ...] = (_spoof, _pool_empty, _malformed)
"""The checks that a port makes itself, once a second, on what its counters moved by."""


def spread(facts: Facts) -> Finding | Literal["too few"] | None:
    """Whether packets spread over the queues, which shows once there are enough of them."""
    received = sum(queue["packets"] for queue in facts.counts.rq)
    return _one_queue(facts) if received >= SPREAD_LEAST else "too few"


CHECKS: tuple[Check, ...] = (
    _link,
    _pf_silent,
    _hang,
    _nothing_passes,
    _spoof,
    _untrusted,
    _pool_empty,
    _ring_full,
    _oversize,
    _one_queue,
    _refused,
    _malformed,
)
