# SPDX-License-Identifier: BSD-3-Clause
"""The ports of a host, of all users, living or dead: found, listed, and cleared away."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from iavfio.arguments import wrong_type
from iavfio.errors import ConfigError, IavfioError
from iavfio.resources import resolved
from iavfio.stats import liveness
from iavfio.stats.layout import MAGIC
from iavfio.stats.patience import Patience
from iavfio.stats.reader import SegmentReader
from iavfio.stats.runtime import (
    SUFFIX,
    UserDir,
    check_name,
    check_readable,
    shown_base,
    user_dirs,
    user_name,
)
from iavfio.stats.schemas import PORT
from iavfio.stats.snapshot import DEAD, Snapshot

HIDDEN_AGE = 60.0  # seconds after which a draft that nobody holds was left behind by a crash
MOST_PORTS = 1024  # of another user that are looked at: each costs every reader of the host time


@dataclass(frozen=True)
class KnownPort:
    """A port that has a segment: `user` runs it, or ran it when `alive` is False."""

    name: str
    user: str
    state: str
    alive: bool
    process: str
    device: str

    def as_dict(self) -> dict[str, object]:
        """The same for JSON, in the form of `iavfio.stats.records.PortRecord`."""
        return {
            "schema": PORT,
            "port": self.name,
            "user": self.user,
            "state": self.state,
            "alive": self.alive,
            "process": self.process,
            "device": self.device,
        }


def ports() -> list[KnownPort]:
    """All ports whose counters this user may read, its own first; dead ones are said to be dead.

    Raises IavfioError where the directory of all ports may not be read.
    """
    check_readable()
    found = []
    for _, reader in _readers():
        alive = reader.alive
        state = reader.last_state if alive else DEAD
        found.append(
            KnownPort(reader.name, reader.user, state, alive, reader.process, reader.device)
        )
    return found


def snapshots() -> list[Snapshot]:
    """Counters of all running ports that this user may read; a user has each name once.

    One Patience is shared by all, its own ports first: what others leave unfinished costs no more.
    """
    found: dict[tuple[str, str], Snapshot] = {}
    patience = Patience()
    for _, reader in _readers():
        with suppress(IavfioError):  # cut short by its owner this moment
            snapshot = reader.snapshot(patience)
            if snapshot.alive:
                found.setdefault((snapshot.user, snapshot.port), snapshot)
    return list(found.values())


def known_ports() -> list[str]:
    """Names of the ports that `ports()` finds, sorted; dead ones too.

    They serve as hints: there are none where the directory of all ports may not be read.
    """
    return sorted({reader.name for _, reader in _readers()})


def read(port: str) -> Snapshot:
    """Counters of a running port, by its name, its device, a Kubernetes resource, or as USER/NAME.

    A segment whose owner died is read all the same: `alive` is False then. Raises ConfigError when
    there is no such port (naming those that there are) and for what cannot be a name; IavfioError
    when this user may not read it, or the directory of all ports, when the ports of several users
    have that name, or when all files of that name are damaged.
    """
    return find(port).snapshot()


def find(port: str) -> SegmentReader:
    """The segment that `read` takes its copy from; raises what `read` raises."""
    if not isinstance(port, str):
        raise wrong_type("port", port, "the name of a port", "as in 'vf0'; ports() lists them")
    user, _, name = resolved(port).rpartition("/")
    if not name or "/" in user:
        name = port
    _check_known(name)
    refusals: list[IavfioError] = []  # of files that may hide the port, or may be anybody's
    found: list[tuple[UserDir, SegmentReader]] = []
    for home in user_dirs():
        if user and user not in (user_name(home.uid), str(home.uid)):
            continue
        path = home.path / f"{name}{SUFFIX}"
        try:
            found.append((home, SegmentReader(path, home.uid)))
        except PermissionError:
            refusals.append(_denied(home, path))
        except OSError:
            continue  # there is none of that name, or it went this moment
        except IavfioError as damaged:
            refusals.append(damaged)
    if not found:
        found = [(h, r) for h, r in _readers() if r.device == name and user in ("", r.user)]
    living = [each for each in found if each[1].alive] or found
    if len(living) > 1 and not living[0][0].mine:
        choices = ", ".join(f"{reader.user}/{reader.name}" for _, reader in living)
        raise IavfioError(
            f"{len(living)} users run a port named {name!r}", "", f"choose one of: {choices}"
        )
    if living:
        return living[0][1]
    if refusals:
        raise refusals[0]
    check_readable()
    raise _missing(port)


def clean() -> list[str]:
    """Removes the segments of dead ports, those of this user or, as root, of all; their names.

    A file that is no segment stays: `damaged` tells of it. Raises IavfioError where the directory
    of all ports may not be read.
    """
    check_readable()
    return _remove(None)


def damaged() -> list[IavfioError]:
    """What is wrong with each file of this user, as root of all, that has a port's name and cannot
    be read as a segment.
    """
    found = []
    for home in user_dirs():
        if home.mine or os.geteuid() == 0:
            for path in home.segments():
                try:
                    SegmentReader(path, home.uid)
                except IavfioError as error:
                    found.append(error)
                except OSError:
                    continue  # it went this moment, or is a link
    return found


def reclaim(device: str) -> None:
    """Removes the segments that dead ports of this device left, where this user may."""
    _remove(device)


def _remove(device: str | None) -> list[str]:
    removed = []
    for home in user_dirs():
        if not home.mine and os.geteuid() != 0:
            continue
        try:
            folder = home.open()
        except OSError:
            continue  # it went, or changed hands, this moment
        try:
            for path in home.segments():
                with suppress(OSError):
                    if device is not None and not _left_by(path, home, device):
                        continue
                    if liveness.remove_if_dead(folder, path.name, MAGIC):
                        removed.append(path.name.removesuffix(SUFFIX))
            if device is None:
                _remove_drafts(folder)
        finally:
            os.close(folder)
    return removed


def _left_by(path: Path, home: UserDir, device: str) -> bool:
    try:
        return SegmentReader(path, home.uid).device == device
    except IavfioError:
        return False


def _remove_drafts(folder: int) -> None:
    """Files that got no name, because their writer died before."""
    for name in os.listdir(folder):
        with suppress(OSError):
            old = time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime
            if name.startswith(".") and old > HIDDEN_AGE:
                liveness.remove_if_dead(folder, name)


def _readers() -> Iterator[tuple[UserDir, SegmentReader]]:
    """Every segment that this user may read; what is damaged or just going is passed over."""
    looked_at: Counter[int] = Counter()
    for home in user_dirs():
        for path in home.segments():
            looked_at[home.uid] += 1
            if looked_at[home.uid] > MOST_PORTS and not home.mine:
                break
            with suppress(OSError, IavfioError):
                yield home, SegmentReader(path, home.uid)


def _check_known(name: str) -> None:
    try:
        check_name(name)
    except ConfigError as wrong:
        wrong.advise(wrong.cause, "name a running port; 'iavfio stats' lists them")
        raise


def _denied(home: UserDir, path: Path) -> IavfioError:
    name, owner = path.name.removesuffix(SUFFIX), user_name(home.uid)
    return IavfioError(
        f"the stats of {name!r} may not be read by this user",
        f"its owner, {owner}, opened it without stats_mode=0o644",
        f"run as {owner}" + ("" if owner == "root" else " or as root"),
    )


def _missing(port: str) -> IavfioError:
    names = sorted({reader.name for _, reader in _readers() if reader.alive})
    near = get_close_matches(port, names, 1)
    return ConfigError(
        f"no port named {port!r} is running",
        f"running ports: {', '.join(names)}"
        if names
        else f"no port has counters in {shown_base()}",
        (f"did you mean {near[0]!r}? " if near else "name a running one; ")
        + "a dump never opens a device, because that would reset it",
    )
