# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio gen`: streams of generated frames out of a VF, and counted at another."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import one_port
from iavfio.cli.devices import Vf
from iavfio.cli.group import Command
from iavfio.cli.options import Number, PortName, Words, device_arguments, device_options
from iavfio.cli.outcome import concluded
from iavfio.cli.printing import note, tell_record, wrapped
from iavfio.cli.private_pf import (
    check_used,
    personality_option,
    private_uplink_option,
    with_private_vfs,
)
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.cli.targets import check_distinct, naming_the_holder
from iavfio.ranges import MTU, PACKETS, QUEUES, RING, SECONDS

if TYPE_CHECKING:
    from iavfio.generator.generator import Generator
    from iavfio.generator.stream import Stream
    from iavfio.port.port import Port

STATUS = (
    "Example: iavfio gen 0000:3b:02.0 --expect 0000:3b:02.1 --stream 'proto=udp "
    "dst_ip=198.19.0.0/24 dport=80,443 size=imix rate=10kpps' --duration 10. Exit status: 0 every "
    "packet that was sent is on the wire, by the PF's count, and with --expect arrived once; 1 "
    "some did not, less than 95 % of an asked rate was reached, or a device failed; 2 wrong use; "
    "130 Ctrl-C and 143 SIGTERM, with the summary."
)


@click.command(
    "gen",
    cls=Command,
    needs=("iavfio.generator.records", "iavfio.opening", "iavfio.softvf.launch"),
    status=STATUS,
)
@click.argument("target", metavar="VF", type=Vf())
@click.option(
    "--stream",
    "given",
    type=Words("stream", "iavfio.generator.read:parse_stream"),
    multiple=True,
    metavar="'KEY=VALUE ...'",
    help="A stream: name, proto (udp, tcp, icmp, ethernet), src_mac, dst_mac, vlan, qinq, pcp, "
    "src_ip, dst_ip, sport, dport, ttl, dscp, flags, ethertype, size (with FCS, or imix), rate "
    "(10kpps, 1Gbit/s, 10%, max), burst, count, seed, pcap, tunnel (vxlan, geneve, gre, gtpu), "
    "vni, outer_src_ip, outer_dst_ip, outer_sport, inner_src_mac, inner_dst_mac. May be given "
    "several times.",
)
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="A TOML file with the same keys in a table [[stream]] each.",
)
@click.option(
    "--expect",
    type=Vf(),
    metavar="VF",
    help="Open this VF too, and count what arrives there: lost, duplicated, reordered.",
)
@click.option("--count", type=Number(PACKETS), help="End after so many packets of all streams.")
@click.option("--duration", type=Number(SECONDS, "SECONDS"), help="End after so many seconds.")
@click.option(
    "--answer",
    is_flag=True,
    help="Answer ARP requests, neighbour solicitations and echo requests for the streams' source "
    "addresses, and at the VF of --expect for their destinations.",
)
@click.option(
    "--gateway",
    "gateways",
    multiple=True,
    metavar="ADDRESS",
    help="Ask for this router's MAC address first, by ARP or ND, and send to it what has no "
    "dst_mac. May be given once for each IP version.",
)
@click.option(
    "--gateway-timeout",
    type=Number(SECONDS, "SECONDS"),
    default=3.0,
    show_default=True,
    help="Seconds in which it must answer.",
)
@click.option(
    "--no-preflight",
    is_flag=True,
    help="Do not send frames of each stream first, to see whether they pass.",
)
@click.option("--mtu", type=Number(MTU), help="MTU; by default what the streams need.")
@click.option(
    "--ring", type=Number(RING), default=4096, show_default=True, help="Descriptors per ring."
)
@click.option(
    "--queues",
    type=Number(QUEUES),
    default=1,
    show_default=True,
    help="Queue pairs of the VF that receives.",
)
@personality_option
@private_uplink_option("none")
@click.option(
    "--name", type=PortName(), help="Port name for 'iavfio stats'; the receiver gets '-2'."
)
@device_options
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="Print the summary as one JSON object ('iavfio schema gen').",
)
@runtime_dir_option
def command(target: str, as_json: bool, **options: Any) -> int:
    """Send streams of generated packets out of a VF, and count them exactly.

    VF is a PCI address, vfio-user:/path/of/socket, or softvf: a private software VF; softvf twice
    are two VFs of one software PF. Without --stream and --config it sends UDP of 64 bytes as fast
    as possible. Before the first packet a frame of each stream is sent, and what would make it
    vanish is told with the command that mends it.
    """
    from iavfio.generator.answers import gateway
    from iavfio.generator.generator import Generator
    from iavfio.generator.records import record_of
    from iavfio.generator.words import gen_summary
    from iavfio.port.bounds import HURRY

    streams = _streams(options)
    for text in options["gateways"]:
        gateway(text)
    with ExitStack() as stack:
        with one_port.untouched("it was ended before its first packet: nothing was sent"):
            ports = _open(stack, target, streams, options)
            generator = Generator(
                ports[0],
                streams,
                expect=ports[1] if len(ports) > 1 else None,
                answer=options["answer"],
                gateways=options["gateways"],
                gateway_seconds=options["gateway_timeout"],
            )
            if not options["no_preflight"]:
                generator.preflight()
        if not as_json:
            _headline(generator)
        done = generator.run(
            options["duration"], options["count"] or 0, None if as_json else _progress
        )
        record = record_of(done, generator, target)
        if as_json:
            tell_record(record)
        else:
            for line in (*gen_summary(record), *(text for port in ports for text in port.notes)):
                note(wrapped(line))
        if done.interrupted is not None:
            for port in ports:
                port.close(HURRY)
    return concluded(done.error, done.interrupted, done.sound)


def _streams(options: dict[str, Any]) -> list[Stream]:
    from iavfio.generator.read import read_streams
    from iavfio.generator.stream import Stream

    if options["config"] is not None and options["given"]:
        raise click.UsageError("--config and --stream both name the streams: use one of them")
    if options["config"] is not None:
        return read_streams(options["config"])
    return list(options["given"]) or [Stream()]


def _open(
    stack: ExitStack, target: str, streams: list[Stream], options: dict[str, Any]
) -> list[Port]:
    """The sending port, and the receiving one where there is one; both run."""
    from iavfio.datapath.pool import Pool, buffers_for
    from iavfio.generator.answers import ends_of, groups
    from iavfio.generator.generator import longest
    from iavfio.opening import open_port
    from iavfio.port.limits import mtu_for

    targets = [target] if options["expect"] is None else [target, options["expect"]]
    check_distinct(targets)
    check_used(targets)
    vfs = with_private_vfs(stack, targets, options["personality"], options["uplink"])
    ports: list[Port] = []
    for i, vf in enumerate(vfs):
        name = options["name"]
        own = name if name is None or not i else f"{name}-{i + 1}"
        queues = options["queues"] if i else 1
        pool = Pool(buffers_for(queues * options["ring"]), contiguous=options["unsafe_noiommu"])
        with naming_the_holder([vf]):
            opened = open_port(vf, name=own, pool=pool, **device_arguments(options, vf))
        port = stack.enter_context(opened)
        mtu = options["mtu"] or mtu_for(longest(streams), port.settings, port.control.limits)
        port.configure(ring=options["ring"], mtu=mtu, queues=queues)
        if options["answer"]:
            joined = groups(ends_of(streams, "dst_ip" if i else "src_ip"))
            port.configure(extra_macs=joined or (), all_multicast=joined is None)
        ports.append(port)
    for port in ports:
        one_port.start(port)
    return ports


def _headline(generator: Generator) -> None:
    from iavfio.datapath.pair import FCS

    there = "" if generator.expect is None else f" to {generator.expect.name}"
    for name, stream, crafted in zip(
        generator.names, generator.streams, generator.crafted, strict=True
    ):
        note(
            wrapped(
                f"{name} from {generator.port.name}{there}: {len(crafted)} frames of "
                f"{int(crafted.lengths.mean()) + FCS} bytes on average, {stream.recipe.rate}"
            )
        )


def _progress(seconds: float, packets: int) -> None:
    if sys.stderr.isatty():
        note(f"  {seconds:5.1f} s  {packets} sent  {packets / seconds / 1e6:8.3f} Mpps")
