# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio replay`: the frames of a capture file, sent by a VF."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import one_port
from iavfio.cli.devices import Vf
from iavfio.cli.group import Command
from iavfio.cli.options import Number, Words
from iavfio.cli.outcome import concluded
from iavfio.cli.printing import note, tell_record, wrapped
from iavfio.ranges import MTU, RING, ROUNDS, SECONDS

if TYPE_CHECKING:
    from iavfio.capture.replay import Replay, Replayed
    from iavfio.capture.rewrite import Rule
    from iavfio.capture.schedule import Timing
    from iavfio.capture.sending import SentCounts
    from iavfio.port.port import Port

STATUS = (
    "Example: iavfio replay 0000:3b:02.0 web.pcapng.gz --timing x2 --rewrite "
    "dst-mac=02:00:00:00:00:01. Exit status: 0 every frame that was sent is on the wire, by the "
    "PF's count; 1 some are not, the file is cut, or a device failed; 2 wrong use; 130 Ctrl-C and "
    "143 SIGTERM, with the summary."
)


@click.command(
    "replay",
    cls=Command,
    needs=(
        "iavfio.capture.records",
        "iavfio.capture.replay",
        "iavfio.capture.words",
        "iavfio.opening",
        "iavfio.softvf.launch",
    ),
    status=STATUS,
)
@click.argument("target", metavar="VF", type=Vf())
@click.argument("path", metavar="FILE", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--timing",
    type=Words("timing", "iavfio.capture.schedule:parse_timing"),
    metavar="original|xN|max",
    help="As captured, N times as fast, or as fast as possible.  [default: original]",
)
@click.option(
    "--rate",
    type=Words("rate", "iavfio.capture.schedule:parse_rate"),
    metavar="N[k|M|G][pps|bit/s]",
    help="Frames a second, or bits a second of frames with FCS, instead of --timing.",
)
@click.option(
    "--loop",
    "rounds",
    type=Number(ROUNDS),
    default=1,
    show_default=True,
    help="How often to send the file; 0 = until Ctrl-C.",
)
@click.option("--duration", type=Number(SECONDS, "SECONDS"), help="End after so many seconds.")
@click.option(
    "--rewrite",
    "rules",
    type=Words("rule", "iavfio.capture.rewrite:parse_rule"),
    multiple=True,
    metavar="KEY=VALUE",
    help="src-mac=own|keep|MAC (by default own: a spoof check lets no other pass), dst-mac=MAC, "
    "ip=OLD,NEW, ip-src=OLD,NEW, ip-dst=OLD,NEW with networks of IPv4 or IPv6; checksums follow. "
    "May be given several times.",
)
@click.option("--mtu", type=Number(MTU), help="MTU; by default what the file needs.")
@click.option(
    "--ring", type=Number(RING), default=512, show_default=True, help="Descriptors per ring."
)
@one_port.vf_options("replay", uplink="none")
def command(target: str, path: str, as_json: bool, **options: Any) -> int:
    """Send the Ethernet frames of FILE: pcap or pcapng, also packed by gzip.

    VF is a PCI address, vfio-user:/path/of/socket, or softvf: a private software VF. The file is
    held in memory. Frames that cannot be sent are left out, and counted by reason; what is on the
    wire is told by the PF's count.
    """
    from iavfio.capture.packet_file import load
    from iavfio.capture.replay import Replay
    from iavfio.capture.schedule import Timing

    if options["timing"] is not None and options["rate"] is not None:
        raise click.UsageError("--timing and --rate both say how fast: use one of them")
    timing = options["rate"] or options["timing"] or Timing(speed=1.0)
    frames = load(path)
    with ExitStack() as stack:
        with one_port.untouched("it was ended before its first frame: nothing was sent"):
            port = _open(stack, target, options, int(frames.lengths.max(initial=0)))
            replay = Replay(
                port,
                frames,
                timing=timing,
                rounds=options["rounds"],
                rules=_rules(options["rules"], port, as_json),
            )
        if not as_json:
            note(f"sending {len(replay.frames)} frames of {path} on {port.name}, {timing}")
        done = replay.run(options["duration"], None if as_json else _progress)
        _summary(done, replay, timing, port, target, path, as_json)
        if done.interrupted is not None:
            from iavfio.port.bounds import HURRY

            port.close(HURRY)
    return concluded(done.error, done.interrupted, done.whole)


def _open(stack: ExitStack, target: str, options: dict[str, Any], longest: int) -> Port:
    from iavfio.port.limits import mtu_for

    port = one_port.opened(stack, target, options)
    mtu = options["mtu"] or mtu_for(longest, port.settings, port.control.limits)
    port.configure(ring=options["ring"], mtu=mtu)
    one_port.start(port, ": nothing can be sent")
    return port


def _rules(given: tuple[Rule, ...], port: Port, as_json: bool) -> list[Rule]:
    """The rules, and the port's own address as source where none says otherwise."""
    from iavfio.capture.rewrite import Rule

    if any(rule.key == "src-mac" for rule in given):
        return list(given)
    if not as_json:
        note(
            f"source addresses become {port.mac.hex(':')}, the VF's own, for the spoof check; "
            "--rewrite src-mac=keep leaves them"
        )
    return [Rule("src-mac", own=True), *given]


def _progress(seconds: float, counts: SentCounts) -> None:
    if sys.stderr.isatty():
        rate = counts.sent / seconds / 1e6
        note(f"  {seconds:5.1f} s  {counts.sent} sent  {rate:8.3f} Mpps, {counts.rounds} rounds")


def _summary(
    done: Replayed,
    replay: Replay,
    timing: Timing,
    port: Port,
    target: str,
    path: str,
    as_json: bool,
) -> None:
    from iavfio.capture.records import ReplayRecord

    counts = done.counts
    record = ReplayRecord(
        port=port.name,
        device=target,
        file=path,
        timing=str(timing),
        frames=len(replay.frames),
        left_out=replay.left_out,
        not_rewritten=replay.not_rewritten,
        rounds=counts.rounds,
        seconds=round(done.seconds, 6),
        sent=counts.sent,
        sent_bytes=counts.bytes,
        completed=done.completed,
        on_wire=done.on_wire,
        lost=done.lost,
        unsent=done.unsent,
        latest_us=round(counts.late_ns / 1000, 3),
        resets=done.resets,
        ended_by=done.ended_by,
        error=None if done.error is None else str(done.error),
    )
    if as_json:
        tell_record(record)
        return
    from iavfio.capture.words import replay_summary

    for line in (*replay_summary(record), *port.notes):
        note(wrapped(line))
