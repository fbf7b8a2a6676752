# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio why`: what keeps a port from receiving, or makes its packets vanish."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

import click

from iavfio.cli import candidates
from iavfio.cli.devices import Vf
from iavfio.cli.group import Command
from iavfio.cli.options import Number
from iavfio.cli.printing import note, tagged, tell
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.ranges import INTERVAL

if TYPE_CHECKING:
    from iavfio.port.facts import Finding

STATUS = (
    "Example: iavfio why vf0. Exit status: 0 nothing was found; 1 a cause was found, or the port "
    "cannot be looked at, also where its process gives no answer and its counters show nothing; "
    "2 wrong use, also a port or VF that does not exist; 130 Ctrl-C; 143 SIGTERM."
)
LINK_SECONDS = 2.0  # in which a link comes up after the start, where it does


@click.command("why", cls=Command, needs=("iavfio.opening",), status=STATUS)
@click.argument("target", metavar="PORT", shell_complete=candidates.port_or_vf)
@click.option(
    "--interval",
    type=Number(INTERVAL, "SECONDS"),
    default=1.0,
    show_default=True,
    help="How long the counters of a running port are watched; 0 = since its start.",
)
@click.option(
    "--probes/--no-probes",
    default=True,
    help="Whether frames are sent on purpose. Default: they are.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@runtime_dir_option
def command(target: str, interval: float, probes: bool, as_json: bool) -> int:
    """Name the causes for which PORT receives nothing or its packets vanish, each with its remedy.

    The name of a running port, as 'iavfio stats' lists it: its counters are watched, and its
    process, where this user may ask it, says what it has noted, asks the PF, and sends some frames
    to nobody to see what becomes of them, beside its own; counters count these, too. A PCI
    address, vfio-user:/path/of/socket or softvf that no program runs: it is opened (which resets
    the VF), started and probed alike.

    What of the host is wrong around a port is found by iavfio doctor.
    """
    port = _port(target)
    seen = _probe(target, probes) if port is None else _watch(port, interval, probes)
    if as_json:
        from iavfio.cli.records import WhyRecord

        tell(json.dumps(tagged(WhyRecord, {"port": target} | asdict(seen)), indent=2))
    else:
        _tell(target, seen)
    return 1 if seen.findings or seen.unasked else 0


@dataclass(frozen=True)
class _Seen:
    """What was found; `unasked`: why the port's process did not say what counters do not tell."""

    findings: list[Finding]
    hints: list[str] = field(default_factory=list)
    unasked: str = ""


def _tell(target: str, seen: _Seen) -> None:
    """For people."""
    if seen.findings:
        tell("\n".join(map(str, seen.findings)))
    elif seen.unasked:
        what = "its counters show nothing that keeps packets from moving, and do not tell all"
        tell(f"{target}: {what}")
    else:
        tell(f"{target}: nothing was found that keeps packets from moving")
    if seen.unasked:
        tell(f"  its process says nothing: {seen.unasked}")
    for hint in seen.hints:
        tell(f"  to know: {hint}")


def _port(target: str) -> str | None:
    """The running port that is meant, by its name or by the VF that it has open; None for a VF."""
    from iavfio.cli.targets import near_ports, port_of
    from iavfio.stats import known_ports
    from iavfio.stats.runtime import NAME

    user, _, name = target.rpartition("/")
    if name in known_ports() and "/" not in user:
        return target
    try:
        vf = str(Vf().convert(target, None, None))
    except click.BadParameter as wrong:
        if NAME.fullmatch(target):
            text = f"{wrong.message}; or a port that runs: {near_ports(target)}"
            raise click.BadParameter(text, param_hint="PORT") from None
        raise click.BadParameter(wrong.message, param_hint="PORT") from None
    if vf == "softvf":
        return None
    holder = port_of(vf)
    if holder is not None:
        note(f"iavfio: {target} is open in the port {holder.name}, which is watched")
        return f"{holder.user}/{holder.name}"
    return None


def _watch(name: str, interval: float, frames: bool) -> _Seen:
    """What the counters of a running port say, and its process where it may be asked."""
    from iavfio.cli import strays
    from iavfio.errors import IavfioError
    from iavfio.port import inquiry
    from iavfio.port.facts import Facts
    from iavfio.port.why import findings, hints
    from iavfio.stats import read

    before = read(name)
    sent_before = strays.strays_of(before.device) if interval and before.alive else Counter()
    time.sleep(interval)
    sent = strays.strays_of(before.device) if interval and before.alive else Counter()
    astray = strays.finding(sent - sent_before)
    told, unasked = None, ""
    if before.alive:
        try:
            told = inquiry.ask(name, frames=frames)  # which has the PF's counters renewed, too
        except IavfioError as error:
            unasked = error.command_text
    counts = read(name).since(before) if interval else read(name)
    further = [] if astray is None else [astray]
    if told is None or not counts.alive:
        facts = Facts(counts)
        return _Seen(findings(facts) + further, hints(facts), unasked)
    facts = told.facts(counts, watched=interval > 0)
    found = findings(facts) + further
    fresh = [note for note in told.notes if not any(each.what in note for each in found)]
    return _Seen(found, [*hints(facts), *(f"noted by the port: {note}" for note in fresh)])


def _probe(target: str, frames: bool) -> _Seen:
    from iavfio.cli.targets import naming_the_holder
    from iavfio.errors import DeviceError
    from iavfio.opening import open_port
    from iavfio.port.facts import Finding
    from iavfio.port.why import findings, hints, probe

    with naming_the_holder([target]), open_port(target) as port:
        try:
            port.start(wait_link=LINK_SECONDS)
        except DeviceError as error:
            cause = Finding("cannot be started", error.what, error.cause, error.remedy)
            return _Seen([cause])
        facts = probe(port, frames=frames)
        return _Seen(findings(facts), hints(facts))
