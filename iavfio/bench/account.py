# SPDX-License-Identifier: BSD-3-Clause
"""A run's account in words: what each number counts, and what nobody here can know."""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.bench.result import Result


def account(r: Result) -> Iterator[str]:
    """The lines of the summary: where the packets are, which were lost, how the PF's counts agree.

    Each mode sees another end of the way. What the far end received or sent is not told, for
    nobody here has counted it.
    """
    yield _whereabouts(r)
    yield f"{_losses(r)}; {r.cycles:.1f} cycles/packet, empty polls {r.empty_share:.1%}"
    if r.plan.mode == "txonly":
        yield f"sent = what the PF counted as transmitted; {_beyond(r)}"
    yield from _pf_agrees(r)


def _beyond(r: Result) -> str:
    """What is known of packets that txonly has sent."""
    if r.arrived is not None:
        return f"{r.arrived} packets, others' included, got to VFs and the wire meanwhile"
    if r.interrupted is not None:
        return "delivery was not looked at: the run was ended early"
    if r.plan.dst is None:
        return "delivery was not looked at: they go to an address that nobody has"
    return "delivery was not looked at: nobody here sees the other end"


def _whereabouts(r: Result) -> str:
    drops = ", ".join(f"{name} {n}" for name, n in r.drops.items()) or "none"
    parts = {
        "loopback": [f"sent {r.sent}", f"received {r.received}", f"in flight {r.in_flight}"],
        "txonly": [
            f"sent {r.sent}",
            f"sent by the PF's count {r.pf_sent}",
            f"not completed {r.unsent}",
        ],
        "rxdrop": [f"received {r.received}"],
        "forward": [
            f"received {r.received}",
            f"sent on {r.sent}",
            f"sent by the PF's count {r.pf_sent}",
            f"not completed {r.unsent}",
        ],
    }[r.plan.mode]
    if r.given_back:
        parts.append(f"received and not sent on, for want of room, {r.given_back}")
    return ", ".join([*parts, f"drops: {drops}"])


def _losses(r: Result) -> str:
    lost = r.lost if r.loss_share == 0 else r.loss
    return {
        "loopback": f"lost {lost} of {r.offered}",
        "txonly": f"lost before the wire {lost} of {r.offered}",
        "rxdrop": f"dropped at this VF {lost} of {r.offered}; what was sent to it is not known",
        "forward": f"lost between receiving and the wire {lost} of {r.offered}, beyond it nobody "
        "counts",
    }[r.plan.mode]


def _pf_agrees(r: Result) -> Iterator[str]:
    """The PF counts a packet when it puts it into a ring, a queue when it takes it out."""
    if r.pf_received == r.taken:
        return
    before, after = r.waiting
    text = (
        f"the PF's count of received packets is {r.pf_received}, that of the queues {r.taken}: "
        f"{before} lay in the receive rings when the run began, and {after} when it ended"
    )
    rest = r.pf_received - (r.taken - before + after)
    if rest:
        text += (
            f"; {abs(rest)} {'more' if rest > 0 else 'fewer'} than that, which came while the PF "
            "was asked, or which it counts otherwise"
        )
    yield text
