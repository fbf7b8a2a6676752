# SPDX-License-Identifier: BSD-3-Clause
"""What was changed on a host, kept in a file until it is undone: one file a kind of change."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from iavfio.host.errors import BadRecord, not_permitted
from iavfio.host.sysfs import Tree, text

FILE = "bound.json"


class Kept(Protocol):
    """What a record file holds."""

    @property
    def boot_id(self) -> str:
        """The id of the boot in which the change was made: a later boot has forgotten it."""


K = TypeVar("K", bound=Kept)


class Record(msgspec.Struct, frozen=True):
    """The state of one function before `bind` touched it."""

    bdf: str
    driver: str  # the driver that had it, "" for none
    driver_override: str  # "" for none
    interfaces: list[str]  # names that went away with the driver
    bound_at: float  # seconds since the epoch
    boot_id: str  # of the boot in which it was bound: a later one has forgotten the change
    changes: list[str]  # the writes, in shell's words


class RecordFile(Generic[K]):
    """Records of one kind by key. Hold `locked()` around a read and the write that follows it."""

    def __init__(self, directory: Path, boot_id: str, name: str, kind: type[K]) -> None:
        self.directory, self.boot_id, self.name = directory, boot_id, name
        self._kind = kind

    @property
    def path(self) -> Path:
        return self.directory / self.name

    @contextlib.contextmanager
    def locked(self, command: str) -> Iterator[None]:
        """Lets in one change at a time. Raises NotPermitted; BadRecord for a foreign directory."""
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

    def load(self) -> dict[str, K]:
        """Records of this boot by key. Raises BadRecord when the file is damaged."""
        try:
            content = msgspec.json.decode(self.path.read_bytes())
            if not isinstance(content, dict):
                raise msgspec.ValidationError("Expected `object`")
            raw = msgspec.convert(content.get("records"), dict[str, Any])
            records = {
                key: msgspec.convert(each, self._kind, str_keys=True) for key, each in raw.items()
            }
        except FileNotFoundError:
            return {}
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as damage:
            raise BadRecord(
                f"{self.path} is damaged",
                str(damage),
                f"remove it; what it recorded must then be undone by hand: rm {self.path}",
            ) from damage
        return {key: r for key, r in records.items() if r.boot_id == self.boot_id}

    def put(self, key: str, record: K) -> None:
        """Adds or replaces one record; it is on disk when this returns."""
        self._save(self.load() | {key: record})

    def drop(self, key: str) -> None:
        """Forgets one record."""
        self._save({k: r for k, r in self.load().items() if k != key})

    def _save(self, records: dict[str, K]) -> None:
        if not records:
            self.path.unlink(missing_ok=True)
            return
        draft = self.path.with_suffix(".new")
        with draft.open("wb") as out:
            content = msgspec.json.encode({"version": 1, "records": records})
            out.write(msgspec.json.format(content) + b"\n")
            out.flush()
            os.fsync(out.fileno())
        draft.replace(self.path)


def directory_of(tree: Tree) -> Path:
    """/run/iavfio for root, $XDG_RUNTIME_DIR/iavfio for others who may change something."""
    xdg = os.environ.get("XDG_RUNTIME_DIR", "")
    return Path(xdg) / "iavfio" if os.geteuid() and xdg else tree.root / "run/iavfio"


def boot_of(tree: Tree) -> str:
    """The identity of this boot."""
    return text(tree.proc / "sys/kernel/random/boot_id")


class Records(RecordFile[Record]):
    """What `bind` changed, by BDF."""

    def __init__(self, directory: Path, boot_id: str) -> None:
        super().__init__(directory, boot_id, FILE, Record)

    @classmethod
    def of(cls, tree: Tree) -> Records:
        return cls(directory_of(tree), boot_of(tree))
