# SPDX-License-Identifier: BSD-3-Clause
"""A fleet's runs in words and as a table, as wide as the terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from iavfio.bench.ndr_report import NOT_A_CARD
from iavfio.capture.losses import told
from iavfio.fleet.fleet import Fleet
from iavfio.fleet.records import FailureRecord, FleetBenchRecord, MemberRecord
from iavfio.fleet.result import FleetResult

NARROW = 72


def bench_table(record: FleetBenchRecord, width: int) -> Table:
    """A row for each host, and for all."""
    narrow = width < NARROW
    roles = {each.name: each.role for each in record.members}
    shown = Table(title=f"fleet of {len(record.members)} hosts, {record.duration_s:.2f} s")
    shown.add_column("host", overflow="fold")
    headings = ("sent", "received") if narrow else ("role", "sent", "Mpps", "received", "lost")
    for heading in headings:
        shown.add_column(heading, justify="right")
    for host in record.hosts:
        sent, received = str(host.sent), str(host.received)
        wide = (
            roles.get(host.name, ""),
            sent,
            f"{host.pps / 1e6:.3f}",
            received,
            told(host.lost),
        )
        shown.add_row(host.name, *((sent, received) if narrow else wide))
    shown.add_section()
    sent, received = str(record.sent), str(record.received)
    total = ("", sent, f"{record.pps / 1e6:.3f}", received, str(record.lost))
    shown.add_row("all", *((sent, received) if narrow else total))
    return shown


def bench_lines(fleet: Fleet, done: FleetResult, record: FleetBenchRecord) -> Iterator[str]:
    """The lines below the table."""
    yield done.balance
    share = "" if record.line_share is None else f", {record.line_share:.1%} of line"
    yield f"{record.pps:.0f} packets a second, {record.gbps:.3f} Gbit/s{share}"
    if fleet.plan.verify and record.failed == {}:
        reordered = sum(host.reordered for host in record.hosts)
        corrupted = sum(host.corrupted for host in record.hosts)
        yield (
            f"verified every packet: duplicated {record.duplicated}, reordered {reordered}, "
            f"corrupted {corrupted}"
        )
    foreign = sum(host.foreign for host in record.hosts)
    if foreign:
        yield f"received that is of nobody in the fleet: {foreign}"
    yield from clock_lines(record.members)
    if record.software_device:
        yield NOT_A_CARD


def clock_lines(members: list[MemberRecord]) -> Iterator[str]:
    """How far each host's clock is from the one here."""
    for each in members:
        if each.clock is not None:
            side = "ahead" if each.clock.offset_s >= 0 else "behind"
            yield (
                f"clock of {each.name}: {abs(each.clock.offset_s) * 1e6:.0f} us {side}, give or "
                f"take {each.clock.error_s * 1e6:.0f} us"
            )


def failure_lines(failures: list[FailureRecord]) -> Iterator[str]:
    """The trials of a search that failed by a host."""
    for each in failures:
        rate = f"{each.asked_pps:.0f} packets a second" if each.asked_pps else "full speed"
        after = (
            "it came back, and the trial was made again" if each.back else "it did not come back"
        )
        yield f"{each.size} bytes at {rate}: host {each.host} failed: {each.why}; {after}"
