# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio bench`: throughput with exact packet accounting."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli.runtime_dir import runtime_dir_option

if TYPE_CHECKING:
    from iavfio.bench.plan import Plan
    from iavfio.datapath.worker import Counters
    from iavfio.port.port import Port


@click.command("bench")
@click.argument("targets", nargs=-1, metavar="VF [VF]")
@click.option(
    "--mode",
    type=click.Choice(["rxdrop", "txonly", "loopback", "forward"]),
    default="loopback",
    show_default=True,
    help="Receive only, send only, send and receive, or send on what comes, from the own address.",
)
@click.option(
    "--size",
    "sizes",
    default="64",
    show_default=True,
    metavar="N[,N...]|imix",
    help="Frame sizes with FCS, as RFC 2544 counts them.",
)
@click.option("--queues", type=int, default=1, show_default=True, help="Queue pairs per VF.")
@click.option("--ring", type=int, default=512, show_default=True, help="Descriptors per ring.")
@click.option("--burst", type=int, default=32, show_default=True, help="Packets per call.")
@click.option(
    "--duration",
    type=float,
    default=3.0,
    show_default=True,
    help="Seconds of the measured window; draining comes after it.",
)
@click.option("--count", type=int, default=0, help="Send so many packets instead of --duration.")
@click.option("--rate", type=float, default=0.0, help="Packets a second; 0 = as fast as possible.")
@click.option("--flows", type=int, default=64, show_default=True, help="UDP flows, for RSS.")
@click.option(
    "--max-loss",
    type=float,
    default=None,
    metavar="SHARE",
    help="Largest share of lost packets that is still sound: 0.001 is one in a thousand. "
    "By default 0 on software VFs, any on a card.",
)
@click.option("--repeat", type=int, default=1, help="Runs; median and spread are told at the end.")
@click.option(
    "--no-preflight",
    is_flag=True,
    help="Do not send a frame each way first, to see whether it arrives.",
)
@click.option("--verify", is_flag=True, help="Check sequence and payload of every packet.")
@click.option("--cpus", default="", metavar="N[,N...]", help="One worker on each of these CPUs.")
@click.option("--mtu", type=int, help="MTU; by default what the sizes need.")
@click.option("--dst", default=None, metavar="MAC", help="Destination of generated frames.")
@click.option("--src", default=None, metavar="MAC", help="Source; by default the VF's own.")
@click.option(
    "--isa",
    default="auto",
    show_default=True,
    metavar="PATH",
    help="auto, scalar, avx2, avx512 or neon.",
)
@click.option("--pool", "buffers", type=int, help="Packet buffers; by default what rings need.")
@click.option(
    "--personality",
    default="e810",
    show_default=True,
    metavar="NAME",
    help="Of a private software VF: e810, x710 or x722.",
)
@click.option(
    "--writeback",
    type=click.Choice(["hardware", "immediate"]),
    default="hardware",
    show_default=True,
    help="How a private software VF writes descriptors back.",
)
@click.option("--name", default=None, help="Port name for 'iavfio stats'; the second gets '-2'.")
@click.option(
    "--unsafe-noiommu",
    is_flag=True,
    help="Open a VF that has no IOMMU: its DMA can reach all memory of this host.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@runtime_dir_option
def command(targets: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Run traffic on one VF, or between two, and account for every packet.

    A VF is a PCI address, vfio-user:/path/of/socket, or softvf: a private software VF; naming
    softvf twice opens two VFs of one software PF.

    Before the first packet a frame is sent each way, and what would make the run's frames vanish is
    told with the command that mends it. "of line" is the share of the link's speed that frames take
    with FCS, preamble and gap (20 bytes a frame).

    Exit status: 0 when the run is sound; 1 when nothing was delivered, more was lost than
    --max-loss allows, packets are missing without a counter that says why, or --verify found one
    wrong; 2 for wrong use; 130 after Ctrl-C and 143 after SIGTERM, with the summary of what was
    done.
    """
    from iavfio.bench import report
    from iavfio.bench.preflight import preflight
    from iavfio.bench.run import run
    from iavfio.errors import ConfigError
    from iavfio.port.footprint import Footprint

    if not 1 <= len(targets) <= 2:
        raise ConfigError(
            f"{len(targets)} VFs were named", "bench takes one or two", "iavfio bench softvf"
        )
    plan = _plan(options)
    results = []
    with ExitStack() as stack:
        ports = _open(stack, targets, plan, options)
        if not options["no_preflight"]:
            preflight(plan, ports)
        if not as_json:
            click.echo(f"{_headline(plan, ports)}\nmemory: {Footprint.of(ports)}", err=True)
        for _ in range(options["repeat"]):
            results.append(run(plan, ports, None if as_json else _progress))
            if results[-1].interrupted is not None:
                break
        if as_json:
            click.echo(report.as_json(results))
        else:
            report.print_results(results, report.console())
        sys.stdout.flush()
        for result in results:
            for note in result.notes:
                click.echo(f"iavfio: {note}", err=True)
            for reason in result.reasons:
                click.echo(f"iavfio: {reason}", err=True)
    if not all(result.sound for result in results):
        return 1
    return 0 if results[-1].interrupted is None else 130


def _plan(options: dict[str, Any]) -> Plan:
    from iavfio.bench.plan import Plan, frame_sizes
    from iavfio.errors import ConfigError
    from iavfio.port.settings import parse_mac

    try:
        cpus = tuple(int(part) for part in options["cpus"].split(",") if part)
    except ValueError:
        raise ConfigError(
            f"--cpus {options['cpus']!r} names no CPUs", "", "write numbers: --cpus 2,3"
        ) from None
    return Plan(
        mode=options["mode"],
        sizes=frame_sizes(options["sizes"]),
        duration=options["duration"],
        count=options["count"],
        burst=options["burst"],
        rate=options["rate"],
        flows=max(options["flows"], 1),
        verify=options["verify"],
        cpus=cpus,
        dst=None if options["dst"] is None else parse_mac(options["dst"]),
        src=None if options["src"] is None else parse_mac(options["src"]),
        max_loss=options["max_loss"],
    )


def _open(
    stack: ExitStack, targets: tuple[str, ...], plan: Plan, options: dict[str, Any]
) -> list[Port]:
    from iavfio.bench.plan import mtu_for
    from iavfio.datapath.pool import DEFAULT_BUFFERS, Pool
    from iavfio.opening import open_port

    queues, ring = options["queues"], options["ring"]
    need = 2 * len(targets) * max(queues, 1) * max(ring, 64) + 4096
    unsafe = options["unsafe_noiommu"]
    pool = Pool(options["buffers"] or max(DEFAULT_BUFFERS, need), contiguous=unsafe)
    if "softvf" in targets:
        targets = _private(stack, targets, plan, options)
    name = options["name"]
    ports: list[Port] = []
    for i, target in enumerate(targets):
        own = None if name is None else name if i == 0 else f"{name}-{i + 1}"
        opened = open_port(target, name=own, pool=pool, unsafe_noiommu=unsafe)
        port = stack.enter_context(opened)
        mtu = options["mtu"] or mtu_for(plan.sizes)
        port.configure(queues=queues, ring=ring, mtu=mtu, isa=options["isa"])
        ports.append(port)
    plan.checked(ports)
    for port in ports:
        port.start()
    for port in ports:
        if not port.wait_link(5.0).up:
            click.echo(f"iavfio: {port.name}: the link is down", err=True)
    return ports


def _private(
    stack: ExitStack, targets: tuple[str, ...], plan: Plan, options: dict[str, Any]
) -> tuple[str, ...]:
    """Each "softvf" as a VF of one private software PF whose wire fits the mode."""
    from iavfio.softvf import softvf

    count = targets.count("softvf")
    size = max(plan.sizes)
    wire = {
        "loopback": "loopback" if count == 1 else "none",
        "txonly": "none",
        "rxdrop": f"gen:size={size},flows={plan.flows}",
        "forward": f"gen:size={size},flows={plan.flows}",
    }[plan.mode]
    personality, *rest = options["personality"].split(",")
    pf = stack.enter_context(
        softvf(
            vfs=count,
            uplink=wire,
            personality=personality,
            writeback=options["writeback"],
            options=dict(item.split("=", 1) for item in rest),
        )
    )
    sockets = iter(pf.sockets)
    return tuple(next(sockets) if target == "softvf" else target for target in targets)


def _headline(plan: Plan, ports: list[Port]) -> str:
    sizes = ",".join(map(str, plan.sizes)) if len(plan.sizes) < 5 else "mixed"
    names = " and ".join(port.name for port in ports)
    return f"{plan.mode} on {names}: {sizes} byte frames, {len(ports[0].rx)} queue pairs"


def _progress(seconds: float, counters: Counters) -> None:
    if not sys.stderr.isatty():
        return
    moved = max(counters.sent, counters.received)
    click.echo(f"  {seconds:5.1f} s  {moved / seconds / 1e6:8.2f} Mpps", err=True)
