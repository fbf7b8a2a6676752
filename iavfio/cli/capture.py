# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio capture`: what a VF receives, or a running port moves, into pcapng files or a pipe."""

from __future__ import annotations

import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import click

from iavfio.cli import failure, one_port
from iavfio.cli.devices import RunningPort, VfOrPort
from iavfio.cli.filters import compiled, filter_argument
from iavfio.cli.group import Command
from iavfio.cli.options import CaptureFile, CpuList, Number, Rotation
from iavfio.cli.outcome import concluded
from iavfio.cli.printing import json_text, note, tell_record, wrapped
from iavfio.ranges import MTU, PACKETS, QUEUE, QUEUES, RING, SECONDS, SNAPLEN

if TYPE_CHECKING:
    from iavfio.capture.capture import Captured, Counts
    from iavfio.port.port import Port

STATUS = (
    "Example: iavfio capture 0000:3b:02.0 -w web.pcapng --duration 10 tcp port 443, or of the port "
    "vf0 of another process: iavfio capture vf0 -w - | tshark -i -. Exit status: 0 "
    "done, or the reader of the pipe has gone; 1 a file cannot be written whole, or a device "
    "failed; 2 wrong use; 130 Ctrl-C and 143 SIGTERM, with a whole file and the summary. Frames "
    "that were lost are told and do not change it."
)


@click.command(
    "capture",
    cls=Command,
    needs=(
        "iavfio.capture.capture",
        "iavfio.capture.records",
        "iavfio.capture.words",
        "iavfio.opening",
        "iavfio.softvf.launch",
    ),
    status=STATUS,
)
@click.argument("target", metavar="VF|PORT", type=VfOrPort())
@filter_argument
@click.option(
    "-w",
    "--write",
    "path",
    type=CaptureFile(),
    required=True,
    metavar="FILE|-",
    help="The pcapng file; - is standard output, for tcpdump -r - or tshark -i -.",
)
@click.option(
    "-s",
    "--snaplen",
    type=Number(SNAPLEN),
    default=262144,
    show_default=True,
    help="Bytes of each frame to keep.",
)
@click.option("-c", "--count", type=Number(PACKETS), help="End after so many captured frames.")
@click.option("--duration", type=Number(SECONDS, "SECONDS"), help="End after so many seconds.")
@click.option(
    "--rotate",
    type=Rotation(),
    multiple=True,
    metavar="SIZE|TIME",
    help="Begin a new file before one grows beyond SIZE (as 500K, 100M, 2G) or is TIME old (as "
    "60s, 5min, 1h): NAME_00001.pcapng and so on. May be given once for each.",
)
@click.option(
    "--queues", type=Number(QUEUES), default=1, show_default=True, help="Queue pairs of the VF."
)
@click.option(
    "--queue",
    "numbers",
    type=Number(QUEUE),
    multiple=True,
    help="Capture this queue only; may be given several times.  [default: all]",
)
@click.option(
    "--direction",
    type=click.Choice(["rx", "tx", "both"]),
    help="Of a running port: what it receives, sends, or both.  [default: both]",
)
@click.option(
    "--ring", type=Number(RING), default=4096, show_default=True, help="Descriptors per ring."
)
@click.option(
    "--mtu", type=Number(MTU), help="MTU: longer frames are not received.  [default: 1500]"
)
@click.option(
    "-p",
    "--promiscuous",
    is_flag=True,
    help="Receive what is for others, too: the host must trust the VF.",
)
@click.option(
    "--cpus", type=CpuList(), metavar="N[-N][,...]", help="Receive on these CPUs: 2,3 or 0-3."
)
@one_port.vf_options(
    "capture", uplink="gen", port=", and in the file", summary=", with -w - on stderr"
)
def command(
    target: str, expression: tuple[str, ...], path: str, as_json: bool, **options: Any
) -> int:
    """Write what VF receives, or what PORT moves, to a pcapng file, with times in nanoseconds.

    VF is a PCI address, vfio-user:/path/of/socket, or softvf: a private software VF. PORT is the
    name of a port that runs in another process ('iavfio stats'): what its queues receive and send
    is mirrored while it goes on; its user and root may do so. FILTER is an
    expression in tcpdump's language; libpcap compiles it, and it runs in C. VLAN tags that the
    device strips are put back. What was lost, and where, is told at the end and stands in the file.
    """
    from iavfio.capture.capture import Capture

    _check_stdout(path)
    if isinstance(target, RunningPort):
        return _mirrored(target, path, expression, as_json, options)
    if options["direction"] in ("tx", "both"):
        raise click.UsageError(
            "a VF that this command opens sends nothing: --direction is of a port that runs in "
            "another process"
        )
    chosen = compiled(expression)
    with ExitStack() as stack:
        with one_port.untouched(
            "the capture was ended before its first frame: nothing was written"
        ):
            port = _open(stack, target, options)
            capture = Capture(
                port,
                path,
                queues=sorted(set(options["numbers"])),
                filter=chosen,
                snaplen=options["snaplen"],
                limit=options["count"] or 0,
                cpus=options["cpus"] or (),
                **_rotation(options),
            )
        if not as_json:
            note(f"capturing on {port.name}, {_end(options)}")
        captured = capture.run(options["duration"], None if as_json else _progress)
        _summary(
            captured, port.name, target, None, expression, options["snaplen"], as_json, port.notes
        )
        if captured.interrupted is not None:
            from iavfio.port.bounds import HURRY

            port.close(HURRY)
    return _concluded(captured)


def _mirrored(
    target: RunningPort, path: str, expression: tuple[str, ...], as_json: bool, options: Any
) -> int:
    """Captures a running port through a mirror of it."""
    from iavfio.capture.mirror import Mirror, MirrorCapture

    _check_used()
    chosen = compiled(expression)
    direction = options["direction"] or "both"
    mirror = Mirror(
        target,
        queues=sorted(set(options["numbers"])),
        direction=direction,
        filter=chosen,
        snaplen=options["snaplen"],
    )
    try:
        capture = MirrorCapture(
            mirror, path, filter=chosen, limit=options["count"] or 0, **_rotation(options)
        )
        if not as_json:
            note(f"mirroring {mirror.segment.name}, {_end(options)}, or until it is closed")
        captured = capture.run(options["duration"], None if as_json else _progress)
    finally:
        mirror.end(lambda: True)
    device = mirror.about["device"]
    name, snaplen = mirror.segment.name, options["snaplen"]
    _summary(captured, name, device, direction, expression, snaplen, as_json, [])
    return _concluded(captured)


def _concluded(captured: Captured) -> int:
    """The exit status. That nobody took the last frames is told and changes nothing after a signal:
    whoever reads a pipe may be gone with the same Ctrl-C.
    """
    from iavfio.capture.ending import NotTaken

    error = captured.error
    if captured.interrupted is not None and isinstance(error, NotTaken):
        note(wrapped(f"iavfio: {error.command_text}"))
        error = None
    return concluded(error, captured.interrupted)


MIRRORED = (  # parameters that a running port leaves something to do
    "target", "expression", "path", "snaplen", "count", "duration", "rotate", "numbers",
    "direction", "as_json", "runtime_dir",
)  # fmt: skip


def _check_used() -> None:
    """An option that only a VF which is opened here obeys must not be taken in silence."""
    context = click.get_current_context()
    for option in context.command.params:
        given = context.get_parameter_source(option.name or "")
        if option.name not in MIRRORED and given is click.core.ParameterSource.COMMANDLINE:
            raise click.UsageError(
                f"{option.opts[-1]} is of a VF that this command opens: leave it out for a port "
                "that runs in another process"
            )


def _rotation(options: dict[str, Any]) -> dict[str, Any]:
    sizes = [int(size) for kind, size in options["rotate"] if kind == "size"]
    times = [float(age) for kind, age in options["rotate"] if kind == "seconds"]
    return {"rotate_size": min(sizes, default=0), "rotate_seconds": min(times, default=0.0)}


def _check_stdout(path: str) -> None:
    """Nobody wants a binary file on a terminal."""
    if path == "-" and sys.stdout.isatty():
        raise click.UsageError(
            "-w - writes a binary file, and standard output is a terminal: use a pipe, as in "
            "iavfio capture VF -w - | tshark -i -"
        )


def _open(stack: ExitStack, target: str, options: dict[str, Any]) -> Port:
    """The port, running."""
    queues = options["queues"]
    for number in options["numbers"]:
        if number >= queues:
            raise click.UsageError(
                f"--queue {number} does not exist: --queues {queues} has 0 to {queues - 1}"
            )
    port = one_port.for_frames(stack, target, options)
    port.configure(rx_ring=options["ring"])
    if options["promiscuous"]:
        port.configure(promiscuous=True)
    one_port.start(port)
    return port


def _end(options: dict[str, Any]) -> str:
    ends = [f"{options['count']} frames"] if options["count"] else []
    ends += [f"{options['duration']:g} s"] if options["duration"] else []
    return f"{' or '.join(ends)}, or until Ctrl-C" if ends else "until Ctrl-C"


def _progress(seconds: float, counts: Counts) -> None:
    if sys.stderr.isatty():
        rate = counts.received / seconds / 1e6
        note(f"  {seconds:5.1f} s  {counts.taken} captured  {rate:8.3f} Mpps received")


def _summary(
    captured: Captured,
    port: str,
    device: str,
    mirrored: str | None,
    expression: tuple[str, ...],
    snaplen: int,
    as_json: bool,
    notes: list[str],
) -> None:
    from iavfio.capture.records import CaptureRecord

    counts = captured.counts
    record = CaptureRecord(
        port=port,
        device=device,
        mirrored=mirrored,
        files=list(captured.files),
        filter=" ".join(expression),
        snaplen=snaplen,
        seconds=round(captured.seconds, 6),
        received=counts.received,
        received_bytes=counts.bytes,
        captured=counts.taken,
        cut=counts.cut,
        tags_restored=counts.tagged,
        written_bytes=captured.written,
        dropped=captured.dropped,
        drops=captured.drops,
        waiting=captured.waiting,
        resets=captured.resets,
        ended_by=captured.ended_by,
        error=None if captured.error is None else str(captured.error),
    )
    if as_json:
        if captured.files == ("-",):
            note(json_text(record))
            failure.told()
        else:
            tell_record(record)
        return
    from iavfio.capture.words import capture_summary

    for line in (*capture_summary(record), *notes):
        note(wrapped(line))
