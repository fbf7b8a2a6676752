# SPDX-License-Identifier: BSD-3-Clause
"""Whether what arrives spreads over the queues, by counters and by a sample of its kinds."""

from __future__ import annotations

from collections.abc import Sequence

from iavfio.arguments import counted
from iavfio.port.facts import Facts, Finding
from iavfio.port.kinds import Kind

NAME = "no spread over queues"
LEAST = 256  # packets from which an uneven spread is no accident
MOST = 0.97  # of all packets, or of a kind, in one of several queues: the others hardly get any
SHARE = 0.02  # of what was sampled: a kind that is rarer is not worth a word
CHANCE = 1e-3  # below it flows are not in one queue by accident
UNEVEN = 6.0  # standard deviations above an even share
LEAST_OF_A_FLOW = 64  # packets outside of which a tunnel is one that carries much
MOST_NAMED = 12  # kinds
TUNNELS_OF_CARDS = {"VXLAN": 4789, "GENEVE": 6081}  # that a card parses when the host says so
HANDLER = "a handler that answers REDIRECT by its own hash spreads it: docs/guides/handlers.md"
OUTSIDE = "RSS hashes the outer header, which is the same for many packets with other flows inside"


def spread(f: Facts) -> Finding | None:
    """Almost everything arrives in one queue although several run, or some kinds of it do."""
    packets = [queue["packets"] for queue in f.counts.rq]
    if len(packets) < 2:
        return None
    if sum(packets) >= LEAST and max(packets) >= MOST * sum(packets):
        return _one_queue(f, packets)
    kept = [(kind, why) for kind in f.kinds if (why := _kept(f, kind, len(packets)))]
    return _some(f, kept[:MOST_NAMED]) if kept else None


def uneven(packets: list[int]) -> bool:
    """Whether one queue has more packets than an even spread would give it by accident."""
    total, queues = sum(packets), len(packets)
    if queues < 2 or total < LEAST:
        return False
    even = total / queues
    return (max(packets) - even) ** 2 > UNEVEN**2 * even * (1 - 1 / queues)


def _one_queue(f: Facts, packets: list[int]) -> Finding:
    some = "all" if max(packets) == sum(packets) else "almost all"
    seen = f"{max(packets)} of {sum(packets)} packets in one of {len(packets)} queues"
    if not f.rss:
        seen += "; the PF does not grant RSS"
    if f.kinds:
        seen += f"; a sample: {', '.join(map(_told, f.kinds[:MOST_NAMED]))}"
    if f.rss_table_queues == 1:
        remedy = "configure(rss=iavfio.Rss.make()): the table that was set names one queue only"
    else:
        remedies = _remedies(f, f.kinds[:MOST_NAMED])
        remedy = (
            "RSS hashes IP addresses and TCP, UDP and SCTP ports: traffic of one flow, or of a "
            "kind that the card does not parse, stays together whatever rss= says; "
            + "; ".join(remedies)
        )
    return Finding(NAME, f"{some} packets arrive in one queue although several run", seen, remedy)


def _some(f: Facts, kept: list[tuple[Kind, str]]) -> Finding:
    reasons = dict.fromkeys(why for _, why in kept)
    by_reason = [
        f"{why}: {', '.join(_told(kind) for kind, each in kept if each == why)}" for why in reasons
    ]
    names = ", ".join(dict.fromkeys(kind.name for kind, _ in kept))
    return Finding(
        NAME,
        f"some kinds of packets are kept in one queue while others spread: {names}",
        f"a sample of {counted(f.sampled, 'frame')}; " + "; ".join(by_reason),
        "; ".join(_remedies(f, [kind for kind, _ in kept])),
    )


def _told(kind: Kind) -> str:
    flows = f" of {counted(kind.flows, 'flow')}" if kind.flows else ""
    if kind.most < MOST * kind.packets:
        flows += f", {kind.of_one} of one"
    return f"{kind.name} ({kind.most} of {kind.packets} packets{flows} in queue {kind.queue})"


def _kept(f: Facts, kind: Kind, queues: int) -> str:
    """Why a kind is kept in one queue; "" when it is not, or is as it has to be."""
    if kind.packets < SHARE * f.sampled:
        return ""
    if kind.most < MOST * kind.packets:
        if kind.tunnel in f.rss_tunnels or kind.of_one > kind.most:
            return ""  # by its rule, or seen: no queue has all of the one tunnel
        one_tunnel = kind.carrier and kind.of_one >= max(LEAST_OF_A_FLOW, SHARE * f.sampled)
        return OUTSIDE if one_tunnel else ""
    if not kind.field:
        return "not hashed, since the card finds no IP header where it looks for one"
    if kind.field in f.rss_left_out:
        return f"not hashed, since rss.fields leaves out {kind.field!r}"
    if (f.rss_table_queues or queues) ** -(kind.flows - 1) < CHANCE:
        return "not hashed by the card, although its flows differ outside as well"
    if kind.carrier:
        return OUTSIDE
    return ""


def _remedies(f: Facts, kinds: Sequence[Kind]) -> list[str]:
    """What spreads these kinds: settings first, then what only the host or a program can do."""
    classes = [kind for kind in kinds if kind.field in f.rss_left_out]
    rest = [kind for kind in kinds if kind not in classes]
    by_rule = [kind for kind in rest if kind.tunnel and f.rss_rules]
    unruly = [kind for kind in by_rule if kind.tunnel in f.rss_tunnels]
    registered = [kind for kind in rest if kind.name in TUNNELS_OF_CARDS]
    others = [kind for kind in rest if kind not in by_rule and kind not in registered]
    said: list[str] = []
    if classes:
        said.append("configure(rss=iavfio.Rss.make()) hashes each class of packets")
    if len(by_rule) > len(unruly):
        said.append(_rule(f, by_rule))
    if unruly:
        said.append(
            f"the PF has taken the RSS rule of {_names(unruly)}, but the card does not spread by "
            f"it: its DDP package does not know such packets, or they do not differ in what the "
            f"rule hashes; {HANDLER}"
        )
    said += dict.fromkeys(_registering(kind.name) for kind in registered)
    if others or not said:
        unhashed = [kind for kind in others if kind.carrier or not kind.field]
        none = f"there is no RSS rule for {_names(unhashed)}; " if unhashed and f.rss_rules else ""
        said.append(none + HANDLER)
    return said


def _names(kinds: Sequence[Kind]) -> str:
    return ", ".join(dict.fromkeys(kind.name for kind in kinds))


def _rule(f: Facts, kinds: Sequence[Kind]) -> str:
    """The setting that has rules for these kinds, and those that there are already."""
    tunnels = sorted(f.rss_tunnels.union(kind.tunnel for kind in kinds))
    return (
        f"configure(rss=iavfio.Rss.make(tunnels={tunnels})), for which the card needs the comms "
        "DDP package (docs/guides/python.md, RSS for tunnels)"
    )


def _registering(name: str) -> str:
    port = TUNNELS_OF_CARDS[name]
    return (
        f"let the host register the UDP port, so that the card hashes what is inside {name}: "
        f"ip link add type {name.lower()} id 1 dstport {port} dev PF (a software PF: "
        f'{{"command": "udp_tunnel", "kind": "{name.lower()}", "port": {port}}}); or let the '
        "sender choose source ports by the inner flow"
    )
