# SPDX-License-Identifier: BSD-3-Clause
"""No room, no right, no memory: an error that says so, nothing left behind, and never a SIGBUS."""

from __future__ import annotations

import errno
import fcntl
import gc
import mmap
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from iavfio.errors import IavfioError
from iavfio.pyvfio import DmaMemory, VfioError
from iavfio.stats import PortSegment, clean, known_ports, ports
from iavfio.stats.runtime import own_dir
from tests.stats.others import in_child

PUBLISH = """
import sys
from iavfio.errors import IavfioError
from iavfio.stats import PortSegment
try:
    segment = PortSegment.create("p0", 16)
except IavfioError as error:
    print(error)
    sys.exit(1)
segment.set_pairs(16)
for i in range(16):
    segment.rq_address(i)
segment.set_global(range(12))
print("published")
segment.close()
"""
CALLS = ["open", "posix_fallocate", "link", "fchmod", "mkdir", "fstat"]


@pytest.fixture(autouse=True)
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IAVFIO_RUNTIME_DIR", str(tmp_path))
    return tmp_path


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="mounts a tmpfs")
@pytest.mark.parametrize("kib", [4, 8, 12, 16, 32, 64])
@pytest.mark.parametrize("filled", [False, True])
def test_small_or_full_mount_is_said(base: Path, kib: int, filled: bool) -> None:
    script = f"mount -t tmpfs -o size={kib}k,mode=1777 tmpfs {base} && "
    script += f"cat /dev/zero >{base}/other 2>/dev/null; " if filled else "true; "
    script += f'{sys.executable} -c "$0"; code=$?; ls -A {base}/iavfio-0; exit $code'
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", script, PUBLISH], capture_output=True, text=True, timeout=60
    )
    segment = PortSegment.create("p0", 16)
    need = segment.path.stat().st_size
    segment.close()
    if filled or kib << 10 < need:
        assert ended.returncode == 1, ended
        assert f"{base} has " in ended.stdout and f"{need} bytes are needed" in ended.stdout
        assert f"mount -o remount,size=64m {base}" in ended.stdout
        assert "--runtime-dir" in ended.stdout
        assert len(ended.stdout.splitlines()) == 2  # nothing is left in the directory
    else:
        assert (ended.returncode, ended.stdout) == (0, "published\n"), ended


def test_limit_of_file_sizes_is_said() -> None:
    def publish() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))
        with pytest.raises(IavfioError, match="ulimit -f unlimited"):
            PortSegment.create("p0", 16)
        assert list(own_dir().path.iterdir()) == []
        with pytest.raises(VfioError, match="ulimit -f unlimited"):
            DmaMemory.allocate(1 << 20, huge="never")

    assert in_child(publish) == 0


def test_limit_of_address_space_is_said() -> None:
    def publish() -> None:
        gc.collect()  # what it frees later would be room under the limit
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limit = pages * mmap.PAGESIZE + 4096
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        with pytest.raises((IavfioError, MemoryError)) as told:
            PortSegment.create("p0", 16)
        with pytest.raises(VfioError, match="ulimit -v unlimited"):
            DmaMemory.allocate(1 << 20, huge="never")
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        assert "ulimit -v" in str(told.value)

    assert in_child(publish) == 0


def test_no_descriptor_is_left() -> None:
    def publish() -> None:
        PortSegment.create("warm", 1).close()
        held = []
        try:
            while True:
                held.append(os.open("/dev/null", os.O_RDONLY))
        except OSError:
            pass
        for _ in range(8):
            try:
                PortSegment.create("p0", 1).close()
                return
            except IavfioError as error:
                assert "Too many open files" in str(error)
            os.close(held.pop())
        raise AssertionError("8 descriptors are not enough")

    assert in_child(publish) == 0


def descriptors() -> int:
    gc.collect()  # what earlier tests left open must not close meanwhile
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class Failing:
    """A function of os of which one call fails, the `fail_at`th."""

    def __init__(self, name: str, number: int, fail_at: int) -> None:
        self.real: Callable[..., Any] = getattr(os, name)
        self.number, self.fail_at, self.seen = number, fail_at, 0

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.seen += 1
        if self.seen == self.fail_at:
            raise OSError(self.number, os.strerror(self.number))
        return self.real(*arguments, **named)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EIO, errno.ENOMEM])
def test_every_call_may_fail_at_every_time(
    monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    """The nth call of a kind fails, for every n until none does (docs/spec/reliability.md F68)."""
    PortSegment.create("warm", 1).close()
    for fail_at in range(1, 60):
        if call == "mkdir":
            shutil.rmtree(own_dir().path)
        gc.collect()
        before, failing = descriptors(), Failing(call, number, fail_at)
        segment = None
        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                segment = PortSegment.create("p0", 2)
            except IavfioError as error:
                assert error.cause and error.remedy
        if segment is not None:
            segment.set_global(range(12))
            segment.close()
        del segment
        gc.collect()
        assert descriptors() <= before  # what other tests left may go meanwhile
        assert known_ports() == []
        if failing.seen < fail_at:
            return  # no call was left to fail
    raise AssertionError("it never came to an end")


@pytest.mark.parametrize("call", ["open", "fstat", "stat", "unlink"])
def test_close_never_raises_and_what_it_leaves_is_dead(
    monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    segment = PortSegment.create("p0", 2)
    with monkeypatch.context() as patch:
        patch.setattr(os, call, Failing(call, errno.EMFILE, 1))
        segment.close()
    assert [port.alive for port in ports()] == [False]
    assert clean() == ["p0"]


def test_lock_that_cannot_be_had_publishes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*arguments: Any) -> Any:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "fcntl", fails)
        with pytest.raises(IavfioError, match="No locks available"):
            PortSegment.create("p0", 2)
    assert list(own_dir().path.iterdir()) == []


def test_everything_that_is_mapped_is_allocated() -> None:
    """A hole in it would be a page that the hot path cannot get when memory is short."""
    segment = PortSegment.create("p0", 16)
    info = segment.path.stat()
    assert info.st_blocks * 512 >= info.st_size
    memory = DmaMemory.allocate(4 << 20, huge="never")
    assert os.fstat(memory.fd).st_blocks * 512 >= 4 << 20
    memory.close()
    segment.close()
