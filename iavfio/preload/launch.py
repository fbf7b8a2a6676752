# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs with the preload library and its made-up tree in place."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import iavfio
from iavfio.errors import ConfigError
from iavfio.preload import program, tree
from iavfio.softvf.server.directory import new_directory

LIBRARY = "libiavfio_preload.so"
MAX_SOCKETS = 32
IOVA_BITS = range(32, 58)
PASSED_ON = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AWAITED = (*PASSED_ON, signal.SIGCHLD)
SI_KERNEL = 0x80  # siginfo's code of a signal that no process sent
LOOK = 1.0  # seconds: another thread of this process may have taken SIGCHLD


class Preload:
    """A prepared tree: `bdfs[i]` is where a program finds the VF behind the i-th socket."""

    def __init__(
        self, root: Path, members: Sequence[tree.Member], settings: Mapping[str, str]
    ) -> None:
        self.root = root
        self.members = tuple(members)
        self._settings = dict(settings)

    @property
    def bdfs(self) -> tuple[str, ...]:
        """PCI addresses, in the order of the sockets."""
        return tuple(one.bdf for one in self.members)

    def environment(self, base: Mapping[str, str] | None = None) -> dict[str, str]:
        """`base` (default: this process's environment) with what a program needs added."""
        found = dict(os.environ if base is None else base)
        libraries = [*filter(None, [found.get("LD_PRELOAD")]), str(library())]
        return (
            found
            | {
                "LD_PRELOAD": ":".join(libraries),
                "IAVFIO_PRELOAD": str(self.root),
                "SYSFS_PCI_DEVICES": str(self.root / "sys/bus/pci/devices"),
            }
            | self._settings
        )

    def run(self, command: Sequence[str]) -> int:
        """Runs a program to its end with this process's standard streams.

        Returns its exit status, 128 + n when signal n ended it. SIGINT, SIGTERM and SIGHUP are
        passed on, but not Ctrl-C, which it gets from the terminal itself. Raises ConfigError when
        it cannot be preloaded.
        """
        path = program.find(command[0])
        program.check(path)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, AWAITED)
        try:
            child = os.posix_spawn(
                path,
                list(command),
                self.environment(),
                setsigmask=before,
                setsigdef=(signal.SIGPIPE, signal.SIGXFSZ),  # which Python ignores
            )
            status = _end_of(child)
            while signal.sigtimedwait(PASSED_ON, 0):
                pass  # the program has ended: they were meant for it
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return status if status >= 0 else 128 - status


@contextmanager
def prepare(
    sockets: Sequence[str | os.PathLike[str]],
    *,
    sparse: bool = False,
    iova_bits: int = 48,
    trace: bool = False,
) -> Iterator[Preload]:
    """Asks the software VFs behind `sockets` what they are and makes the tree for them.

    `sparse`: show the server's own mappable areas instead of whole BARs with trapped registers.
    `iova_bits`: width of the IOVA space, 32 to 57. `trace`: tell each VFIO call on stderr.
    The tree goes with the context. Raises ConfigError or VfioError.
    """
    if not 1 <= len(sockets) <= MAX_SOCKETS:
        raise ConfigError(f"{len(sockets)} sockets were given", f"1 to {MAX_SOCKETS} can be used")
    if iova_bits not in IOVA_BITS:
        raise ConfigError(f"an IOVA space of {iova_bits} bits", "it has 32 to 57")
    library()
    paths = [
        str(Path(os.fspath(socket).removeprefix("vfio-user:")).absolute()) for socket in sockets
    ]
    if len({os.path.realpath(path) for path in paths}) != len(paths):
        raise ConfigError("a socket is given twice", "a software VF serves one client at a time")
    members = [tree.member(index, path) for index, path in enumerate(paths)]
    settings = {"IAVFIO_PRELOAD_IOVA_BITS": str(iova_bits)}
    settings |= {"IAVFIO_PRELOAD_SPARSE": "1"} if sparse else {}
    settings |= {"IAVFIO_PRELOAD_TRACE": "1"} if trace else {}
    root = new_directory()
    try:
        tree.build(root, members)
        yield Preload(root, members, settings)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def library() -> Path:
    """The library to preload. Raises ConfigError when this installation has none."""
    path = Path(iavfio.__file__).parent / LIBRARY
    if not path.exists():
        raise ConfigError(
            f"there is no {path}", "the package was not built whole", "in a checkout: make build"
        )
    return path


def _end_of(child: int) -> int:
    """Waits for a program, passing signals on; its exit status, -n when signal n ended it."""
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        came = signal.sigtimedwait(AWAITED, LOOK)
        if came is None or came.si_signo == signal.SIGCHLD:
            continue
        # The terminal sends Ctrl-C to all processes in its foreground, the program as well.
        if came.si_signo != signal.SIGINT or came.si_code != SI_KERNEL:
            os.kill(child, came.si_signo)
