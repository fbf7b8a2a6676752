# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio punt`: what the kernel has to see of a VF's traffic, through a TAP and back."""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import failure, one_port
from iavfio.cli.devices import Vf
from iavfio.cli.filters import compiled, filter_argument
from iavfio.cli.group import Command
from iavfio.cli.options import Number, Words
from iavfio.cli.outcome import concluded
from iavfio.cli.printing import note, printing, tell_record, wrapped
from iavfio.ranges import EVERY, MTU, QUEUES, RING, SECONDS

if TYPE_CHECKING:
    from iavfio.capture.filter import Filter
    from iavfio.port.events import PortEvent
    from iavfio.port.port import Port
    from iavfio.punt.punt import Punt
    from iavfio.punt.run import Progress

STATUS = (
    "Example: iavfio punt 0000:3b:02.0 --tap vf0 --address 192.0.2.1/24. Exit status: 0 done; 1 "
    "the TAP cannot be made or was deleted, or a device failed; 2 wrong use, also a name that is "
    "taken; 130 Ctrl-C and 143 SIGTERM, with the summary. Packets that were lost are told and do "
    "not change it."
)
TOLD = (
    "link",
    "mac",
    "reset",
    "recovered",
    "failed",
    "lost",
    "note",
    "over",
)  # kinds of a port's events


@click.command(
    "punt",
    cls=Command,
    needs=("iavfio.punt.records", "iavfio.opening", "iavfio.softvf.launch"),
    status=STATUS,
)
@click.argument("target", metavar="VF", type=Vf())
@filter_argument
@click.option(
    "--tap",
    "name_of_tap",
    type=Words("name", "iavfio.punt.tap:tap_name"),
    required=True,
    metavar="NAME",
    help="Name of the interface that is made.",
)
@click.option(
    "--address",
    "addresses",
    type=Words("address", "iavfio.punt.tap:tap_address"),
    multiple=True,
    metavar="ADDRESS/LENGTH",
    help="An address of the interface, as 192.0.2.1/24 or 2001:db8::1/64. May be given several "
    "times.",
)
@click.option("--all", "everything", is_flag=True, help="Punt each packet that the VF receives.")
@click.option("--duration", type=Number(SECONDS, "SECONDS"), help="End after so many seconds.")
@click.option(
    "--interval",
    type=Number(EVERY, "SECONDS"),
    help="Print a line of what happened in each of so many seconds; with --json lines of JSON.",
)
@click.option(
    "--queues", type=Number(QUEUES), default=1, show_default=True, help="Queue pairs of the VF."
)
@click.option(
    "--ring", type=Number(RING), default=512, show_default=True, help="Descriptors per ring."
)
@click.option("--mtu", type=Number(MTU), help="MTU of VF and interface.  [default: 1500]")
@one_port.vf_options("punt", uplink="none")
def command(target: str, expression: tuple[str, ...], as_json: bool, **options: Any) -> int:
    """Give the kernel what FILTER selects of what VF receives, and send what the kernel sends.

    VF is a PCI address, vfio-user:/path/of/socket, or softvf: a private software VF. FILTER is an
    expression in tcpdump's language; without it ARP, ND, ICMP, ICMPv6, LACP and LLDP are selected.
    A TAP interface is made for it, with the VF's MAC address, MTU and link, and removed at the end.
    It needs CAP_NET_ADMIN. What is not selected is dropped and counted.
    """
    from iavfio.port.bounds import HURRY
    from iavfio.punt.punt import Punt
    from iavfio.punt.records import summary_of
    from iavfio.punt.tap import Tap
    from iavfio.punt.words import summary

    chosen = _filter(expression, options["everything"])
    with ExitStack() as stack:
        with one_port.untouched("it was ended before its first frame: nothing was passed on"):
            tap = stack.enter_context(Tap(options["name_of_tap"]))
            port = _open(stack, target, options)
            events = _Events(port, as_json)
            punt = stack.enter_context(
                Punt(port, tap, chosen, addresses=options["addresses"], on_note=events.note)
            )
        if not as_json:
            note(wrapped(_headline(punt)))
        interval = options["interval"]
        done = punt.run(
            options["duration"],
            None if interval is None else _Intervals(punt, as_json).tell,
            interval or 1.0,
        )
        if done.interrupted is not None:
            port.close(HURRY)
        punt.close()
        record = summary_of(done, punt, punt.counts, target, events.told)
        if not as_json:
            for text in summary(record):
                note(wrapped(text))
        elif interval is None:
            tell_record(record)
        else:
            _tell_line(record)
            failure.told()
    return concluded(done.error, done.interrupted)


def _filter(words: tuple[str, ...], everything: bool) -> Filter | None:
    if not everything:
        return compiled(words)
    if words:
        raise click.UsageError("--all and FILTER both say what is punted: use one of them")
    from iavfio.punt import selections

    return selections.everything()


def _open(stack: ExitStack, target: str, options: dict[str, Any]) -> Port:
    port = one_port.for_frames(stack, target, options)
    port.configure(ring=options["ring"])
    one_port.start(port)
    return port


def _headline(punt: Punt) -> str:
    port = punt.port
    return (
        f"{punt.filter.expression} of port {port.name} to the interface {punt.tap.name} and back, "
        f"{port.mac.hex(':')}, MTU {port.settings.mtu}"
    )


class _Events:
    """What happens to the port, said when it happens and kept for the record."""

    def __init__(self, port: Port, quiet: bool) -> None:
        self.told: list[str] = []
        self._name, self._quiet = port.name, quiet
        port.on_event.append(self._hear)

    def _hear(self, event: PortEvent) -> None:
        if event.kind not in TOLD:
            return
        text = f"{event.kind}: {event.text}"
        self.told.append(text)
        self.note(text)

    def note(self, text: str) -> None:
        """Says something about the port at once."""
        if not self._quiet:
            note(wrapped(f"iavfio: {self._name}: {text}"))


class _Intervals:
    """Prints what happened in each interval."""

    def __init__(self, punt: Punt, as_json: bool) -> None:
        self._punt, self._as_json = punt, as_json
        self._seconds, self._before = 0.0, punt.counts

    def tell(self, progress: Progress) -> None:
        """A line of what happened since the last one."""
        from iavfio.punt.records import interval_of
        from iavfio.punt.words import line

        seconds = progress.seconds - self._seconds
        record = interval_of(self._punt, seconds, time.time(), self._before, progress.counts)
        self._seconds, self._before = progress.seconds, progress.counts
        if self._as_json:
            _tell_line(record)
        else:
            with printing():
                click.echo(line(record))


def _tell_line(record: Any) -> None:
    """Prints a record on one line."""
    import msgspec

    with printing():
        click.echo(msgspec.json.encode(record).decode())
