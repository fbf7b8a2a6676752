# SPDX-License-Identifier: BSD-3-Clause
"""What `bind` changed, kept in a file until `unbind` has undone it."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from iavfio.host.errors import BadRecord, not_permitted
from iavfio.host.sysfs import Tree, text

FILE = "bound.json"


class Record(msgspec.Struct, frozen=True):
    """The state of one function before `bind` touched it."""

    bdf: str
    driver: str  # the driver that had it, "" for none
    driver_override: str  # "" for none
    interfaces: list[str]  # names that went away with the driver
    bound_at: float  # seconds since the epoch
    boot_id: str  # of the boot in which it was bound: a later one has forgotten the change
    changes: list[str]  # the writes, in shell's words


class _File(msgspec.Struct, frozen=True):
    version: int
    records: dict[str, Record]


class Records:
    """The record file of one host. Hold `locked()` around a read and the write that follows it."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        self.directory, self.boot_id = directory, boot_id

    @classmethod
    def of(cls, tree: Tree) -> Records:
        """/run/iavfio for root, $XDG_RUNTIME_DIR/iavfio for others who may bind."""
        xdg = os.environ.get("XDG_RUNTIME_DIR", "")
        directory = Path(xdg) / "iavfio" if os.geteuid() and xdg else tree.root / "run/iavfio"
        return cls(directory, text(tree.proc / "sys/kernel/random/boot_id"))

    @property
    def path(self) -> Path:
        return self.directory / FILE

    @contextlib.contextmanager
    def locked(self, command: str) -> Iterator[None]:
        """One change at a time. Raises NotPermitted, or BadRecord for a foreign directory."""
        try:
            self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
            # Whoever may write here could make root rebind devices.
            owner = self.directory.stat()
            if owner.st_uid != os.geteuid() or owner.st_mode & 0o022:
                raise BadRecord(
                    f"{self.directory} cannot be trusted",
                    "it belongs to another user, or others may write to it",
                    f"look at it, then remove it: ls -la {self.directory}",
                )
            fd = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except PermissionError as denied:
            raise not_permitted(self.directory, command) from denied
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def load(self) -> dict[str, Record]:
        """Records of this boot by BDF. Raises BadRecord when the file is damaged."""
        try:
            content = msgspec.json.decode(self.path.read_bytes(), type=_File)
        except FileNotFoundError:
            return {}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as damage:
            raise BadRecord(
                f"{self.path} is damaged",
                str(damage),
                f"remove it; what it recorded must then be undone by hand: rm {self.path}",
            ) from damage
        return {b: r for b, r in content.records.items() if r.boot_id == self.boot_id}

    def put(self, record: Record) -> None:
        """Adds or replaces the record of one function; it is on disk when this returns."""
        self._save(self.load() | {record.bdf: record})

    def drop(self, bdf: str) -> None:
        """Forgets one function."""
        self._save({b: r for b, r in self.load().items() if b != bdf})

    def _save(self, records: dict[str, Record]) -> None:
        if not records:
            self.path.unlink(missing_ok=True)
            return
        draft = self.path.with_suffix(".new")
        with draft.open("wb") as out:
            out.write(msgspec.json.format(msgspec.json.encode(_File(1, records))) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.path)
