# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio bench`: throughput with exact packet accounting."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli.runtime_dir import runtime_dir_option

if TYPE_CHECKING:
    from iavfio.bench.app import Plan, Result
    from iavfio.datapath.worker import Counters
    from iavfio.port.port import Port


@click.command("bench")
@click.argument("targets", nargs=-1, metavar="VF [VF]")
@click.option(
    "--mode",
    type=click.Choice(["rxdrop", "txonly", "loopback", "forward"]),
    default="loopback",
    show_default=True,
    help="Receive only, send only, send and receive, or send back what comes (MAC swap).",
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
@click.option("--duration", type=float, default=3.0, show_default=True, help="Seconds.")
@click.option("--count", type=int, default=0, help="Send so many packets instead of --duration.")
@click.option("--rate", type=float, default=0.0, help="Packets a second; 0 = as fast as possible.")
@click.option("--flows", type=int, default=64, show_default=True, help="UDP flows, for RSS.")
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
    softvf twice opens two VFs of one software PF. Exit status 1 when packets are missing without
    a counter that says why, or --verify found one wrong.
    """
    from iavfio.bench import app as bench
    from iavfio.errors import ConfigError
    from iavfio.port.footprint import Footprint

    if not 1 <= len(targets) <= 2:
        raise ConfigError(
            f"{len(targets)} VFs were named", "bench takes one or two", "iavfio bench softvf"
        )
    plan = _plan(options)
    with ExitStack() as stack:
        ports = _open(stack, targets, plan, options)
        shown = None if as_json else _progress
        if not as_json:
            import rich.table  # noqa: F401 - now: after Ctrl-C the summary must not wait for it

            click.echo(f"{_headline(plan, ports)}\nmemory: {Footprint.of(ports)}", err=True)
        result = bench.run(plan, ports, shown)
        if as_json:
            click.echo(json.dumps(result.as_dict(), indent=2))
        else:
            _table(result)
        for note in result.notes:
            click.echo(f"iavfio: {note}", err=True)
        sys.stdout.flush()
    if not result.sound:
        click.echo(_verdict(result), err=True)
        return 1
    return 130 if "interrupted" in result.notes else 0


def _plan(options: dict[str, Any]) -> Plan:
    from iavfio.bench import app as bench
    from iavfio.errors import ConfigError
    from iavfio.port.settings import parse_mac

    try:
        cpus = tuple(int(part) for part in options["cpus"].split(",") if part)
    except ValueError:
        raise ConfigError(
            f"--cpus {options['cpus']!r} names no CPUs", "", "write numbers: --cpus 2,3"
        ) from None
    return bench.Plan(
        mode=options["mode"],
        sizes=bench.frame_sizes(options["sizes"]),
        duration=options["duration"],
        count=options["count"],
        burst=options["burst"],
        rate=options["rate"],
        flows=max(options["flows"], 1),
        verify=options["verify"],
        cpus=cpus,
        dst=None if options["dst"] is None else parse_mac(options["dst"]),
        src=None if options["src"] is None else parse_mac(options["src"]),
    )


def _open(
    stack: ExitStack, targets: tuple[str, ...], plan: Plan, options: dict[str, Any]
) -> list[Port]:
    from iavfio.bench.app import mtu_for
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
    sizes = ",".join(map(str, plan.sizes)) if len(set(plan.sizes)) < 4 else "mixed"
    names = " and ".join(port.name for port in ports)
    return f"{plan.mode} on {names}: {sizes} byte frames, {len(ports[0].rx)} queue pairs"


def _progress(seconds: float, counters: Counters) -> None:
    if not sys.stderr.isatty():
        return
    moved = max(counters.sent, counters.received)
    click.echo(f"  {seconds:5.1f} s  {moved / seconds / 1e6:8.2f} Mpps", err=True)


def _table(result: Result) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{result.plan.mode}, {result.isa} path, {result.duration:.2f} s")
    for heading in ("", "Mpps", "Gbit/s", "cycles/packet", "empty polls", "packets", "lost"):
        table.add_column(heading, justify="right")
    table.add_row(
        "",
        f"{result.mpps:.3f}",
        f"{result.gbps:.3f}",
        f"{result.cycles:.1f}",
        f"{result.empty_share:.1%}",
        f"{result.packets}",
        f"{result.lost}",
    )
    console = Console(width=100)
    console.print(table)
    console.print(
        f"sent {result.sent}, received {result.received}, in flight {result.in_flight}, drops: "
        + (", ".join(f"{name} {n}" for name, n in result.drops.items()) or "none"),
        highlight=False,
    )
    if result.plan.verify:
        c = result.counters
        console.print(
            f"verified every packet: lost {c.lost}, duplicated {c.duplicated}, "
            f"reordered {c.reordered}, corrupted {c.corrupted}",
            highlight=False,
        )
    origin = result.provenance
    console.print(
        f"on {origin['cpu']}, Linux {origin['kernel']}, {origin['commit']}", highlight=False
    )
    devices = origin["devices"]
    assert isinstance(devices, dict)
    for name, snapshot in result.after.items():
        console.print(f"\n{name}: {devices[name]}", highlight=False)
        console.print(snapshot.text(), highlight=False)


def _verdict(result: Result) -> str:
    if result.counters.error:
        return "iavfio: the run did not end as it should"
    if result.lost:
        return f"iavfio: {result.lost} packets are missing, and no counter says why"
    return "iavfio: --verify found packets that are wrong"
