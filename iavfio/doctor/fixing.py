# SPDX-License-Identifier: BSD-3-Clause
"""Mending what can be put back: each write is recorded first, read back, and undone on demand."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from iavfio.doctor.finding import Finding
from iavfio.host import Kernel, Tree, Writer
from iavfio.host.changes import Write
from iavfio.host.errors import HostError, KernelRefused
from iavfio.host.records import RecordFile, boot_of, directory_of
from iavfio.host.sysfs import text

FILE = "doctor.json"


class FixRecord(msgspec.Struct, frozen=True):
    """One file before and after doctor wrote to it."""

    boot_id: str
    finding: str
    before: str
    after: str  # as it read back: the kernel may have made less of it
    changed_at: float  # seconds since the epoch


@dataclass(frozen=True)
class Change:
    """One file that was written; `outcome` says what became of it, in words."""

    path: str
    before: str
    after: str
    outcome: str

    def __str__(self) -> str:
        return f"{self.path}: {self.outcome}"


def file_of(tree: Tree) -> RecordFile[FixRecord]:
    """Returns the file in which the changes of doctor are recorded."""
    return RecordFile(directory_of(tree), boot_of(tree), FILE, FixRecord)


def fix(
    tree: Tree,
    kernel: Kernel,
    findings: Sequence[Finding],
    report: Callable[[str], None] = lambda line: None,
    *,
    dry: bool = False,
) -> list[Change]:
    """Makes the writes of each finding. One that the kernel refuses is told in its Change, and the
    others are made. Raises NotPermitted and BadRecord.
    """
    writer = Writer(kernel, report, "doctor --fix", dry)
    writes = [(each.name, write) for each in findings for write in each.seen.writes]
    if dry:
        for _, write in writes:
            writer.write(write)
        return [Change(str(w.path), text(w.path), w.value, "not written") for _, w in writes]
    done: list[Change] = []
    file = file_of(tree)
    with file.locked("doctor --fix"):
        for name, write in writes:
            done.append(_write(file, writer, name, write))
    return done


def _write(file: RecordFile[FixRecord], writer: Writer, name: str, write: Write) -> Change:
    path, before = str(write.path), chosen(text(write.path))
    known = file.load().get(path)
    first = known.before if known else before
    file.put(path, FixRecord(file.boot_id, name, first, write.value, time.time()))
    try:
        writer.write(write)
    except HostError as refused:
        if known:
            file.put(path, known)
        else:
            file.drop(path)
        if not isinstance(refused, KernelRefused):
            raise
        return Change(path, before, before, f"not changed: {refused.what}: {refused.cause}")
    now = chosen(text(write.path))
    file.put(path, FixRecord(file.boot_id, name, first, now, time.time()))
    if now == before:
        if first == now:
            file.drop(path)
        return Change(path, before, now, f"not changed: it took the value and is still {now}")
    short = "" if now == write.value else f", where {write.value} was asked for"
    return Change(path, before, now, f"{now} (was: {before}){short}")


def undo(
    tree: Tree,
    kernel: Kernel,
    report: Callable[[str], None] = lambda line: None,
    *,
    dry: bool = False,
) -> list[Change]:
    """Puts back what `fix` changed in this boot, the last first.

    What somebody has changed since is left as it is. Raises NotPermitted and KernelRefused: what
    is not put back then stays recorded.
    """
    writer = Writer(kernel, report, "doctor --undo", dry)
    file = file_of(tree)
    records = sorted(file.load().items(), key=lambda item: item[1].changed_at, reverse=True)
    if dry:
        for path, record in records:
            writer.write(Write(Path(path), record.before))
        return [Change(path, r.after, r.before, "not put back") for path, r in records]
    if not records:
        return []
    done = []
    with file.locked("doctor --undo"):
        for path, record in records:
            done.append(_put_back(writer, path, record))
            file.drop(path)
    return done


def _put_back(writer: Writer, path: str, record: FixRecord) -> Change:
    now = chosen(text(Path(path)))
    if now != record.after:
        return Change(path, now, now, f"left at {now or 'nothing'}: it was changed since")
    try:
        writer.write(Write(Path(path), record.before))
    except HostError as refused:
        refused.advise(refused.cause, f"{refused.remedy}; then again: sudo iavfio doctor --undo")
        raise
    return Change(path, now, record.before, f"{record.before} again (was: {now})")


def chosen(value: str) -> str:
    """The value that is in force of a file that shows all choices, as "[a] b"; else all of it."""
    found = re.search(r"\[(\S+)\]", value)
    return found[1] if found else value
