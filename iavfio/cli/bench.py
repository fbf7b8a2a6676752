# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio bench`: throughput with exact packet accounting."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.arguments import counted
from iavfio.cli import signals
from iavfio.cli.devices import Vf
from iavfio.cli.group import Command
from iavfio.cli.options import FrameSizes, Mac, Number, Word
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, printing, wrapped
from iavfio.cli.report_file import ReportFile
from iavfio.cli.run_ports import check_targets, open_ports, run_options
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import (
    PACKETS,
    RATE,
    RUNS,
    SECONDS,
    SHARE,
)

if TYPE_CHECKING:
    from iavfio.bench.plan import Plan
    from iavfio.bench.result import Result
    from iavfio.datapath.thread import Counters
    from iavfio.port.port import Port


@click.command(
    "bench",
    cls=Command,
    needs=(
        "iavfio.bench.preflight",
        "iavfio.bench.report",
        "iavfio.bench.run",
        "iavfio.opening",
        "iavfio.softvf.launch",
    ),
    example="iavfio bench softvf softvf --size imix --duration 5 --verify",
    status="Exit status: 0 every run was sound; 1 nothing was delivered, more was lost than "
    "--max-loss allows, packets are missing without a counter that says why, --verify found one "
    "wrong, or a device failed; 2 wrong use; 130 after Ctrl-C and 143 after SIGTERM, with the "
    "summary of what was done.",
)
@click.argument("targets", nargs=-1, metavar="VF [VF]", type=Vf())
@click.option(
    "--mode",
    type=Word(["rxdrop", "txonly", "loopback", "forward"]),
    default="loopback",
    show_default=True,
    help="Receive only, send only, send and receive, or send on what comes, from the own address.",
)
@click.option(
    "--size",
    "sizes",
    type=FrameSizes(),
    default="64",
    show_default=True,
    metavar="N[,N...]|imix",
    help="Frame sizes with FCS, as RFC 2544 counts them.",
)
@click.option(
    "--duration",
    type=Number(SECONDS, "SECONDS"),
    help="Seconds of the measured window; draining comes after it.  [default: 3, or until --count]",
)
@click.option(
    "--count",
    type=Number(PACKETS),
    help="End after so many packets in all: sent ones, in rxdrop and forward received ones. With "
    "--duration as well, whichever comes first.",
)
@click.option(
    "--rate",
    type=Number(RATE),
    default=0.0,
    help="Packets a second, in loopback and txonly; 0 = as fast as possible.",
)
@click.option(
    "--max-loss",
    type=Number(SHARE),
    metavar="SHARE",
    help="Largest share of packets lost, for a reason that a counter tells, that is still sound: "
    "0.001 is one in a thousand. By default 0 on software VFs, any on a card.",
)
@click.option(
    "--repeat", type=Number(RUNS), default=1, help="Runs; median and spread are told at the end."
)
@click.option(
    "--verify", is_flag=True, help="Check sequence and payload of every packet, in loopback."
)
@click.option(
    "--latency",
    is_flag=True,
    help="Measure how long packets are under way, in loopback: from the making of their burst to "
    "the poll that finds them.",
)
@click.option(
    "--hgrm",
    type=click.Path(dir_okay=False, writable=True),
    metavar="FILE",
    help="Write the latencies there, as HdrHistogram's plotters read them.",
)
@click.option(
    "--dst",
    type=Mac(),
    metavar="MAC",
    help="Destination of generated frames; by default the other VF, in txonly an address that "
    "nobody has.",
)
@click.option("--src", type=Mac(), metavar="MAC", help="Source; by default the VF's own.")
@run_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@runtime_dir_option
def command(targets: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Run traffic on one VF, or between two, and account for every packet.

    A VF is a PCI address, vfio-user:/path/of/socket, or softvf: a private software VF; naming
    softvf twice opens two VFs of one software PF.

    Before the first packet a frame is sent each way, and what would make the run's frames vanish is
    told with the command that mends it. "of line" is the share of the link's speed that frames take
    with FCS, preamble and gap (20 bytes a frame).

    In txonly "sent" is what the PF counted as transmitted, and delivery is not looked at. With
    --dst it is where it can be seen (the VFs of a software PF and its wire, an address of the VFs
    that were named): what got to nobody is not sound.
    """
    from iavfio.bench import report
    from iavfio.bench.preflight import preflight
    from iavfio.bench.run import run
    from iavfio.port.bounds import HURRY
    from iavfio.port.footprint import Footprint

    check_targets("bench", targets)
    plan = _plan(options)
    results: list[Result] = []
    ports: list[Port] = []
    interrupted: KeyboardInterrupt | None = None
    with ExitStack() as stack:
        hgrm = ReportFile(options["hgrm"], "--hgrm")
        try:
            open_ports(stack, targets, plan, options, ports)
            if not options["no_preflight"]:
                preflight(plan, ports)
            if not as_json:
                note(f"{_headline(plan, ports)}\nmemory: {Footprint.of(ports)}")
            for _ in range(options["repeat"]):
                results.append(run(plan, ports, None if as_json else _progress))
                interrupted = results[-1].interrupted
                if interrupted is not None:
                    break
        except KeyboardInterrupt as signal:  # outside of what a run watches
            interrupted = signal
        if interrupted is not None and (not results or results[-1].interrupted is None):
            note("iavfio: the run was ended before its first packet: nothing of it was measured")
        with printing():
            if as_json:
                print(report.as_json(results) if results else report.NOTHING)
            elif results:
                report.print_results(results, report.console())
        written = hgrm.write(lambda: _hgrm(results), interrupted is not None)
        if interrupted is not None:
            for port in ports:
                port.close(HURRY)
        for result in results:
            for text in (*result.notes, *result.reasons):
                note(wrapped(f"iavfio: {text}"))
    if interrupted is not None:
        return signals.status(interrupted)
    return DONE if written and all(result.sound for result in results) else TROUBLE


def _plan(options: dict[str, Any]) -> Plan:
    from iavfio.bench.plan import Plan

    return Plan(
        mode=options["mode"],
        sizes=options["sizes"],
        duration=options["duration"],
        count=options["count"] or 0,
        burst=options["burst"],
        rate=options["rate"],
        flows=options["flows"],
        verify=options["verify"],
        latency=options["latency"] or options["hgrm"] is not None,
        ipv6=options["ipv6"],
        cpus=options["cpus"] or (),
        dst=options["dst"],
        src=options["src"],
        max_loss=options["max_loss"],
    )


def _hgrm(results: Sequence[Result]) -> str:
    """The latencies of all runs together."""
    from iavfio.datapath.latency import Latency

    total = Latency.none()
    for result in results:
        total += result.latency or Latency.none()
    return "".join(f"{line}\n" for line in total.hgrm())


def _headline(plan: Plan, ports: list[Port]) -> str:
    sizes = ",".join(map(str, plan.sizes)) if len(plan.sizes) < 5 else "mixed"
    names = " and ".join(port.name for port in ports)
    queues = counted(len(ports[0].rx), "queue pair")
    return f"{plan.mode} on {names}: {sizes} byte frames, {queues}"


def _progress(seconds: float, counters: Counters) -> None:
    if not sys.stderr.isatty():
        return
    moved = max(counters.sent, counters.received)
    note(f"  {seconds:5.1f} s  {moved / seconds / 1e6:8.2f} Mpps")
