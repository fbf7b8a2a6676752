# SPDX-License-Identifier: BSD-3-Clause
"""What a vfio-user server can do to memory and eventfds that it shares with the driver: no harm."""

from __future__ import annotations

import errno
import fcntl
import os

import pytest

from iavfio.pyvfio import DmaMemory
from iavfio.pyvfio.eventfds import taken


@pytest.mark.parametrize("size", [0, 4096, 1 << 20, 4 << 20])
def test_dma_memory_cannot_be_cut_or_grown_by_who_holds_its_file(size: int) -> None:
    memory = DmaMemory.allocate(2 << 20, huge="never")
    theirs = os.open(f"/proc/self/fd/{memory.fd}", os.O_RDWR)  # as if it had come by a message
    try:
        with pytest.raises(OSError) as refused:
            os.ftruncate(theirs, size)
        assert refused.value.errno == errno.EPERM
        with pytest.raises(OSError):  # nor can anybody take the right to write from us
            fcntl.fcntl(theirs, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
        seals = fcntl.fcntl(memory.fd, fcntl.F_GET_SEALS)
        wanted = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
        assert seals & wanted == wanted
        memory.buffer()[-1] = 7
    finally:
        os.close(theirs)
        memory.close()


@pytest.mark.parametrize("flags", [0, os.O_NONBLOCK])
def test_an_eventfd_is_emptied_without_blocking_whatever_its_flags_are(flags: int) -> None:
    fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
    try:
        fcntl.fcntl(fd, fcntl.F_SETFL, flags)
        assert not taken(fd)
        os.eventfd_write(fd, 3)
        assert taken(fd)
        assert not taken(fd)
    finally:
        os.close(fd)
