# SPDX-License-Identifier: BSD-3-Clause
"""System calls that pyvfio makes for itself fail one at a time, at each place of a session.

Those to VFIO are in test_failures.py. EINTR is missing: Python repeats such calls (PEP 475).
"""

from __future__ import annotations

import errno
import fcntl
import gc
import mmap
import os
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from iavfio import pyvfio
from iavfio.pyvfio import DmaMemory, connection, device, memory, user
from tests.pyvfio.fake_kernel import open_fds
from tests.pyvfio.test_failures import host, session, use
from tests.pyvfio.vfio_user_peer import Peer

# A module of pyvfio's, its word for another module, that module, a function of it, and errors.
Call = tuple[Any, str, Any, str, tuple[int, ...]]
TABLE_FULL = (errno.EMFILE, errno.ENFILE)
CALLS: list[Call] = [
    (memory, "os", os, "memfd_create", (*TABLE_FULL, errno.ENOMEM, errno.EPERM)),
    (memory, "os", os, "ftruncate", (errno.ENOMEM, errno.EPERM)),
    (memory, "os", os, "posix_fallocate", (errno.ENOSPC, errno.ENOMEM)),
    (memory, "mmap", mmap, "mmap", (errno.ENOMEM, errno.EPERM)),
    (memory, "fcntl", fcntl, "fcntl", (errno.EBUSY, errno.EPERM)),
    (device, "os", os, "eventfd", (*TABLE_FULL, errno.ENOMEM, errno.EPERM)),
    (user, "mmap", mmap, "mmap", (errno.ENOMEM, errno.ENFILE, errno.EAGAIN)),
    (connection, "socket", socket, "socket", (*TABLE_FULL, errno.ENOBUFS, errno.EPERM)),
]
REMEDIES = {errno.EMFILE: "ulimit -n", errno.ENFILE: "fs.file-max"}


class Nth:
    """A module as one of pyvfio's sees it, whose function `name` fails at its n-th call."""

    def __init__(self, module: Any, name: str, place: int, code: int) -> None:
        self._module, self._name, self._left, self._code = module, name, place, code
        self.reached = False

    def __getattr__(self, name: str) -> Any:
        return self._call if name == self._name else getattr(self._module, name)

    def _call(self, *args: Any, **rest: Any) -> Any:
        self._left -= 1
        if self._left == -1:
            self.reached = True
            raise OSError(self._code, os.strerror(self._code))
        return getattr(self._module, self._name)(*args, **rest)


def mappings() -> int:
    """Mappings of DMA memory and of BARs in this process."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return sum("pyvfio-dma" in line or "peer-bar0" in line for line in lines)


def held() -> tuple[dict[int, str], int, int]:
    """What must be as before: descriptors, mappings, threads."""
    gc.collect()
    return open_fds(), mappings(), threading.active_count()


@contextmanager
def sessions(transport: str, root: Path) -> Iterator[Callable[[], None]]:
    """Gives a function that does what a driver does, memory included; then the host goes."""
    if transport != "vfio-user":
        kernel = host(root, transport)

        def on_kernel() -> None:
            own = DmaMemory.allocate(4096, huge="never")
            try:
                session(kernel, transport, own)
            finally:
                own.close()
                assert kernel.files == {}
                assert kernel.accounting.locked == 0

        yield on_kernel
        assert kernel.left_over() == []
        return
    peer = Peer(root / "d.sock")

    def on_peer() -> None:
        own = DmaMemory.allocate(4096, huge="never")
        peer.idle.clear()
        came = len(peer.log)
        try:
            with pyvfio.open(f"vfio-user:{peer.path}") as opened:
                use(opened, own)
        finally:
            own.close()
            if len(peer.log) > came:
                assert peer.idle.wait(60)

    yield on_peer
    assert peer.violations == []
    peer.close()


ROWS = [
    (call, transport)
    for call in CALLS
    for transport in ("group", "cdev", "vfio-user")
    if transport == "vfio-user" or call[0] not in (user, connection)
]


# docs/spec/reliability.md F68
@pytest.mark.parametrize(
    ("call", "transport"),
    ROWS,
    ids=[f"{c[0].__name__.rpartition('.')[2]}-{c[3]}-{transport}" for c, transport in ROWS],
)
def test_each_call_fails_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Call, transport: str
) -> None:
    """The error names the reason, nothing is left behind, and the next session works."""
    where, alias, module, name, codes = call
    with sessions(transport, tmp_path) as run:
        run()
        before = held()
        for code in codes:
            places = 0
            while True:
                nth = Nth(module, name, places, code)
                with monkeypatch.context() as patch:
                    patch.setattr(where, alias, nth)
                    try:
                        run()
                    except pyvfio.VfioError as error:
                        assert os.strerror(code) in str(error), error
                        assert REMEDIES.get(code, "") in error.remedy
                        assert error.remedy
                        assert error.errno == code
                    else:
                        assert not nth.reached, f"call {places} failed in silence"
                if not nth.reached:
                    break
                assert held() == before, f"after call {places} failed with {code}"
                places += 1
                run()
            assert places >= 1, f"{name} is not called any more"
        assert held() == before
