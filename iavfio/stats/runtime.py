# SPDX-License-Identifier: BSD-3-Clause
"""Where the ports of a host publish their counters, and whose directory is trusted (docs/adr/0003).

All users share one base, `/dev/shm` or what IAVFIO_RUNTIME_DIR names. Each user has a directory of
its own below it, so that nobody can take another user's port name, and every reader finds all.
"""

from __future__ import annotations

import errno
import os
import pwd
import re
import secrets
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from iavfio.errors import ConfigError, IavfioError, Remedy
from iavfio.exhaustion import exhaustion

ENVIRONMENT = "IAVFIO_RUNTIME_DIR"
SHARED = Path("/dev/shm")
SUFFIX = ".stats"
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+-]{0,63}")
PREFIX = "iavfio-"
OTHERS_WRITE = 0o022


def check_name(port: str) -> str:
    """The name itself. Raises ConfigError for one that is no plain file name."""
    if not NAME.fullmatch(port):
        raise ConfigError(
            f"{port!r} is no port name",
            "1 to 64 letters, digits and . _ : + - are allowed",
            Remedy("choose another with name=...", "choose another with --name"),
        )
    return port


def base_dir() -> Path:
    """The directory that holds one directory a user."""
    chosen = os.environ.get(ENVIRONMENT, "")
    return Path(chosen).absolute() if chosen else SHARED


def shown_base() -> str:
    """The same for a message, which says so when it is not there or may not be read."""
    base, error = base_dir(), _not_listed()
    if isinstance(error, FileNotFoundError | NotADirectoryError):
        return f"{base}: there is no such directory"
    return f"{base}, which this user may not read" if error else str(base)


def check_readable() -> None:
    """Raises IavfioError where the base is there and this user may not look for ports in it.

    One that is not there is no error: no port has made it yet.
    """
    base, error = base_dir(), _not_listed()
    if error is None or isinstance(error, FileNotFoundError | NotADirectoryError):
        return
    what = f"{base} may not be read by this user"
    raise exhaustion(error, f"{base} cannot be read") or IavfioError(
        what,
        f"whether ports run cannot be seen there: {error.strerror}",
        f"run as its owner or as root, or name another directory: {ENVIRONMENT}=/run/iavfio, or "
        "--runtime-dir",
    ) from error


def _not_listed() -> OSError | None:
    """Why the base cannot be listed; None where it can."""
    try:
        os.scandir(base_dir()).close()
    except OSError as error:
        return error
    return None


def user_name(uid: int) -> str:
    """The login name of a user, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


@dataclass(frozen=True)
class UserDir:
    """One user's directory of segments: `uid` owns it, and nobody else may write to it."""

    path: Path
    uid: int

    @property
    def mine(self) -> bool:
        """Whether it belongs to the user of this process."""
        return self.uid == os.geteuid()

    def segments(self) -> Iterator[Path]:
        """The segment files in it, by name; none where this user may not look."""
        try:
            paths = sorted(self.path.iterdir())
        except OSError:
            return
        for path in paths:
            if path.suffix == SUFFIX and NAME.fullmatch(path.name.removesuffix(SUFFIX)):
                yield path

    def open(self) -> int:
        """A descriptor of the directory itself, not of what a link names. Raises OSError."""
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            info = os.fstat(fd)
            if info.st_uid != self.uid or info.st_mode & OTHERS_WRITE:
                raise PermissionError(errno.EPERM, "it has changed hands", str(self.path))
        except BaseException:
            os.close(fd)
            raise
        return fd


def user_dirs() -> list[UserDir]:
    """The directories of all users, the caller's own first.

    A directory belongs to whoever owns it, whatever number its name has. One that others than its
    owner may write to is left out, and so is a link. Where the base may not be read there are none:
    `check_readable` tells it.
    """
    found = []
    for entry in _entries():
        info = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode) and not info.st_mode & OTHERS_WRITE:
            found.append(UserDir(Path(entry.path), info.st_uid))
    return sorted(found, key=lambda each: (not each.mine, each.uid, each.path))


def _entries() -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(base_dir()) as entries:
            yield from (entry for entry in entries if entry.name.startswith(PREFIX))
    except OSError:
        return  # a port is opened all the same; who looks for ports asks check_readable


def own_dir() -> UserDir:
    """This user's directory, made when there is none yet.

    Raises IavfioError when it cannot be made, or when its owner has let others write to it.
    """
    uid = os.geteuid()
    base = _usable_base()
    usual = base / f"{PREFIX}{uid}"
    try:
        home = UserDir(_existing(usual, uid) or _made(usual, uid), uid)
        fd = home.open()
        try:
            os.fchmod(fd, 0o755)  # whatever the umask was: each segment has a mode of its own
        finally:
            os.close(fd)
    except OSError as error:
        raise cannot_publish(base, error) from error
    return home


def _existing(usual: Path, uid: int) -> Path | None:
    try:
        info = usual.lstat()
    except FileNotFoundError:
        info = None
    if info and stat.S_ISDIR(info.st_mode) and info.st_uid == uid and info.st_mode & OTHERS_WRITE:
        raise IavfioError(
            f"{usual} cannot be trusted for counters",
            "others than its owner may write to it",
            f"take that right away: chmod 0755 {usual}",
        )
    ours = (each.path for each in user_dirs() if each.mine)
    return next((path for path in ours if path.name.split(".")[0] == usual.name), None)


def _made(usual: Path, uid: int) -> Path:
    """A new directory. Somebody else may sit on the usual name: readers go by the owner.

    Where another thread or process of this user has made it meanwhile, that one is taken.
    """
    try:
        usual.mkdir(mode=0o700)
    except FileExistsError:
        if there := _existing(usual, uid):
            return there
        usual = usual.with_name(f"{usual.name}.{secrets.token_hex(6)}")
        usual.mkdir(mode=0o700)
    return usual


def _usable_base() -> Path:
    """The base, made where the environment names one that is missing; root makes it for all."""
    base = base_dir()
    try:
        if os.environ.get(ENVIRONMENT) and not base.exists():
            base.mkdir(parents=True)
            base.chmod(0o1777 if os.geteuid() == 0 else 0o755)
        mode = base.stat().st_mode
    except OSError as error:
        raise cannot_publish(base, error) from error
    if not os.environ.get(ENVIRONMENT) and mode & OTHERS_WRITE and not mode & stat.S_ISVTX:
        raise IavfioError(
            f"{base} cannot be trusted for counters",
            "everybody may rename what others put there: it has no sticky bit",
            f"set it (chmod 1777 {base}), or name another directory: {ENVIRONMENT}=/run/iavfio",
        )
    return base


def cannot_publish(base: Path, error: OSError, need: int = 0) -> IavfioError:
    """Why a port's counters find no place: the mount, the size needed, the remedy."""
    what = f"the counters of this port find no place in {base}"
    if error.errno in (errno.EMFILE, errno.ENFILE):  # no other place would do
        return exhaustion(error, what) or IavfioError(what, str(error.strerror))
    elsewhere = f"name another directory: {ENVIRONMENT}=/run/iavfio, or --runtime-dir"
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM):
        return IavfioError(what, str(error.strerror), elsewhere)
    if error.errno == errno.EFBIG:
        return IavfioError(
            what,
            f"{need} bytes are needed, and this process may not write files as long (RLIMIT_FSIZE)",
            "raise the limit: ulimit -f unlimited",
        )
    mount = mount_of(base)
    room = f"{need} bytes are needed" if need else "there is room for no directory"
    return IavfioError(
        what,
        f"{mount} has {_free(mount)} bytes free, {room} ({error.strerror})",
        f"make room (df -h {mount}), or more of it (mount -o remount,size=64m {mount}; in a "
        f"container --shm-size=64m), or {elsewhere}",
    )


def mount_of(path: Path) -> Path:
    """The mount point that holds a path."""
    path = path.resolve()
    while not os.path.ismount(path):
        path = path.parent
    return path


def _free(mount: Path) -> int:
    try:
        info = os.statvfs(mount)
    except OSError:
        return 0
    return info.f_bavail * info.f_frsize
