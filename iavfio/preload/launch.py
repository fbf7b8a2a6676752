# SPDX-License-Identifier: BSD-3-Clause
"""Runs programs with the preload library and its made-up tree in place."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

import iavfio
from iavfio.errors import ConfigError
from iavfio.preload import program, tree
from iavfio.softvf.server.directory import new_directory

LIBRARY = "libiavfio_preload.so"
MAX_SOCKETS = 32
IOVA_BITS = range(32, 58)


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

        Returns its exit status, 128 + n when signal n ended it. SIGTERM and SIGHUP are passed on;
        Ctrl-C reaches it from the terminal. Raises ConfigError when it cannot be preloaded.
        """
        path = program.find(command[0])
        program.check(path)
        child = subprocess.Popen(
            list(command), executable=path, env=self.environment(), close_fds=False
        )
        with _passing_on(child):
            status = child.wait()
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


@contextmanager
def _passing_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ctrl-C is the program's to answer; a request to end is passed on."""

    def forward(number: int, _: FrameType | None) -> None:
        with contextlib.suppress(ProcessLookupError):
            child.send_signal(number)

    def ignore(_number: int, _frame: FrameType | None) -> None:
        pass

    handlers: dict[int, Callable[[int, FrameType | None], None]] = {
        signal.SIGINT: ignore,
        signal.SIGTERM: forward,
        signal.SIGHUP: forward,
    }
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
