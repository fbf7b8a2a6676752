# SPDX-License-Identifier: BSD-3-Clause
"""Where segments lie, who sees them, and what other users can do about it (docs/adr/0003)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from iavfio._driver import ffi
from iavfio.cli.targets import near_ports, port_of
from iavfio.errors import ConfigError, IavfioError
from iavfio.stats import PortSegment, SegmentReader, base_dir, clean, known_ports, ports, read
from iavfio.stats.runtime import own_dir, user_dirs, user_name
from tests.stats.others import NOBODY, in_child

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="plays several users: needs root")
OTHER = 12345


def publish(name: str = "p0", mode: int = 0o600, device: str = "") -> Callable[[], PortSegment]:
    return lambda: PortSegment.create(name, 1, mode=mode, device=device)


def test_default_place_does_not_depend_on_the_session(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service has no XDG_RUNTIME_DIR, and the shell that looks for its ports has one."""
    monkeypatch.delenv("IAVFIO_RUNTIME_DIR", raising=False)
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/0")
    assert base_dir() == Path("/dev/shm")
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert base_dir() == Path("/dev/shm")


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o777])
@pytest.mark.parametrize("mode", [0o400, 0o444, 0o600, 0o640, 0o644])
def test_mode_is_as_asked_whatever_the_umask(base: Path, mode: int, umask: int) -> None:
    before = os.umask(umask)
    try:
        segment = PortSegment.create("p0", 1, mode=mode)
    finally:
        os.umask(before)
    assert segment.path.stat().st_mode & 0o7777 == mode
    assert segment.path.parent.stat().st_mode & 0o7777 == 0o755
    segment.close()


@pytest.mark.parametrize("mode", [0o000, 0o044, 0o200, 0o666, 0o620, 0o755, 0o4644, 0o1600, -1])
def test_mode_that_lets_others_write_or_locks_the_owner_out_is_refused(
    base: Path, mode: int
) -> None:
    with pytest.raises(ConfigError, match="or 0o644"):
        PortSegment.create("p0", 1, mode=mode)
    assert known_ports() == []


@as_root
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_root_sees_all_and_others_as_the_mode_says(base: Path, mode: int) -> None:
    ready, told = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        segment = PortSegment.create("mine", 1, mode=mode)
        segment.set_state("running")
        os.write(ready[1], b"x")
        os.read(told[0], 1)
        os._exit(0)
    try:
        os.read(ready[0], 1)
        snapshot = read("mine")
        assert (snapshot.state, snapshot.alive) == ("running", True)
        assert snapshot.user == user_name(NOBODY)
        assert [port.name for port in ports()] == ["mine"]
        out = subprocess.run(
            [sys.executable, "-m", "iavfio.cli", "stats"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert "mine" in out.stdout.split() and user_name(NOBODY) in out.stdout.split()

        def look() -> None:
            if mode & 0o004:
                assert read("mine").state == "running"
                assert known_ports() == ["mine"]
            else:
                assert known_ports() == []
                with pytest.raises(IavfioError, match="may not be read"):
                    read("mine")

        assert in_child(look, uid=OTHER) == 0
    finally:
        os.write(told[1], b"x")
        os.waitpid(pid, 0)


@as_root
def test_a_dead_segment_that_its_owner_cannot_write_is_replaced(base: Path) -> None:
    """The removal's lock needs a file that is open for writing."""
    for _ in range(2):
        assert in_child(publish(mode=0o400), uid=NOBODY) == 0
    assert read(f"{NOBODY}/p0").alive is False
    assert in_child(clean, uid=NOBODY) == 0
    assert known_ports() == []


@as_root
def test_two_users_have_ports_of_one_name(base: Path) -> None:
    mine = publish(mode=0o644)()
    assert in_child(publish(mode=0o644), uid=NOBODY) == 0
    assert read("p0").user == user_name(0)
    assert read(f"{user_name(NOBODY)}/p0").alive is False
    assert read(f"{NOBODY}/p0").user == user_name(NOBODY)
    assert in_child(lambda: read("p0"), uid=OTHER) == 0  # one of them lives
    mine.close()


@as_root
def test_name_of_two_living_ports_of_others_must_be_said_with_the_user(base: Path) -> None:
    stop = os.pipe()
    children = []
    for uid in (NOBODY, OTHER):
        ready = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setgroups([])
            os.setgid(uid)
            os.setuid(uid)
            segment = publish(mode=0o644)()
            os.write(ready[1], b"x")
            os.read(stop[0], 1)
            segment.close()
            os._exit(0)
        os.read(ready[0], 1)
        children.append(pid)
    try:
        with pytest.raises(IavfioError, match=f"{OTHER}/p0"):
            read("p0")
        assert read(f"{OTHER}/p0").alive
    finally:
        os.write(stop[1], b"xx")
        for pid in children:
            os.waitpid(pid, 0)


@as_root
@pytest.mark.parametrize("kind", ["directory", "file", "link", "fifo"])
def test_nobody_blocks_another_users_name(base: Path, kind: str) -> None:
    """Somebody else sits on the name that a user's directory usually has."""

    def sit() -> None:
        path = base / f"iavfio-{OTHER}"
        if kind == "directory":
            path.mkdir(mode=0o777)
        elif kind == "file":
            path.touch()
        elif kind == "link":
            path.symlink_to("/tmp")
        else:
            os.mkfifo(path)

    def open_port() -> None:
        segment = publish(mode=0o644)()
        again = publish("p1", mode=0o644)()
        assert segment.path.parent == again.path.parent == own_dir().path
        assert segment.path.parent.stat().st_uid == OTHER
        assert read("p0").user == user_name(OTHER)

    assert in_child(sit, uid=NOBODY) == 0
    assert in_child(open_port, uid=OTHER) == 0
    assert read("p0").user == user_name(OTHER)  # and every reader finds it


@as_root
def test_file_of_another_owner_is_not_taken_for_the_directorys(base: Path) -> None:
    """A link to somebody's segment, or the file itself, in a directory that is not its owner's."""
    mine = publish("real", mode=0o644)()

    def plant() -> None:
        home = own_dir().path
        (home / "link.stats").symlink_to(mine.path)
        os.mkfifo(home / "fifo.stats")
        (home / "dir.stats").mkdir()

    assert in_child(plant, uid=NOBODY) == 0
    os.link(mine.path, base / f"iavfio-{NOBODY}" / "hard.stats")
    assert known_ports() == ["real"]
    for name in ("link", "fifo", "dir", "hard"):
        with pytest.raises(IavfioError):
            read(name)
    mine.close()


@as_root
def test_directory_that_others_may_write_to_is_passed_over(base: Path) -> None:
    assert in_child(publish(mode=0o644), uid=NOBODY) == 0
    assert known_ports() == ["p0"]
    (base / f"iavfio-{NOBODY}").chmod(0o777)
    assert known_ports() == []


def test_own_directory_that_others_may_write_to_is_refused(base: Path) -> None:
    publish()().close()
    own_dir().path.chmod(0o777)
    with pytest.raises(IavfioError, match="chmod 0755"):
        publish()()


def test_link_in_place_of_the_own_directory_is_not_followed(base: Path, tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir(mode=0o755)
    (base / f"iavfio-{os.geteuid()}").symlink_to(target)
    segment = publish()()
    assert segment.path.parent != base / f"iavfio-{os.geteuid()}"
    assert list(target.iterdir()) == []
    assert read("p0").alive
    segment.close()


def test_base_that_is_missing_is_made(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IAVFIO_RUNTIME_DIR", str(base / "run" / "iavfio"))
    assert known_ports() == []
    segment = publish()()
    mode = (base / "run" / "iavfio").stat().st_mode & 0o7777
    assert mode == (0o1777 if os.geteuid() == 0 else 0o755)
    assert known_ports() == ["p0"]
    segment.close()


def test_base_that_cannot_be_used_is_an_error_with_a_remedy(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (base / "file").touch()
    monkeypatch.setenv("IAVFIO_RUNTIME_DIR", str(base / "file"))
    with pytest.raises(IavfioError, match="--runtime-dir"):
        publish()()
    assert known_ports() == []


@as_root
def test_a_base_that_may_not_be_read_is_told_and_hinders_no_port(base: Path) -> None:
    """Who looks for ports learns why none is seen; who opens one, or errs otherwise, does not."""
    base.chmod(0o733)

    def look() -> None:
        for search in (ports, lambda: read("p0"), lambda: read("0/p0"), clean):
            with pytest.raises(IavfioError, match=f"{base} may not be read by this user") as told:
                search()
            assert "--runtime-dir" in told.value.remedy
            assert not isinstance(told.value, ConfigError)
        assert known_ports() == []
        segment = publish(device="0000:3b:02.0")()
        assert segment.path.exists()
        segment.close()
        assert port_of("0000:3b:02.0") is None
        assert "which this user may not read" in near_ports("nosuch")
        with pytest.raises(ConfigError, match="is no port name"):
            read("../../x")

    assert in_child(look, uid=NOBODY) == 0


def test_relative_base_is_the_same_from_everywhere(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(base)
    monkeypatch.setenv("IAVFIO_RUNTIME_DIR", "here")
    assert base_dir() == base / "here"


@as_root
def test_reader_survives_a_file_that_its_owner_cuts_short(base: Path) -> None:
    """Root reads what any user wrote: it must not die of it."""
    assert in_child(publish(mode=0o644), uid=NOBODY) == 0
    path = base / f"iavfio-{NOBODY}" / "p0.stats"
    reader = SegmentReader(path, NOBODY)
    assert reader.snapshot().torn == ()
    os.truncate(path, 0)

    def look() -> None:
        with pytest.raises(IavfioError, match="it was cut short"):
            reader.snapshot()

    assert in_child(look) == 0


@as_root
def test_offsets_that_a_writer_moves_later_are_not_followed(base: Path) -> None:
    assert in_child(publish(mode=0o644), uid=NOBODY) == 0
    path = base / f"iavfio-{NOBODY}" / "p0.stats"
    reader = SegmentReader(path, NOBODY)
    before = reader.snapshot()
    raw = bytearray(path.read_bytes())
    header = ffi.cast("struct segment_header *", ffi.from_buffer(raw))
    header.rq_offset, header.sq_stride, header.capacity = 1 << 60, 1 << 50, 0xFFFFFFFF
    header.pairs, header.state = 0xFFFFFFFF, 0xFFFFFFFF
    with path.open("r+b") as file:
        file.write(raw)
    after = reader.snapshot()
    assert before.rq == ()
    assert after.rq[0]["packets"] == 0
    assert len(after.rq) == 1  # what the segment has room for
    assert after.last_state == "unknown"


def test_text_of_a_writer_cannot_command_a_terminal(base: Path) -> None:
    segment = PortSegment.create(
        "p0", 1, device="\x1b[2J\x07/dev", labels={"family\x9b": "x" * 5000}, transport="\u202eabc"
    )
    snapshot = read("p0")
    assert snapshot.device == "?[2J?/dev"
    assert snapshot.transport == "?abc"
    assert list(snapshot.labels.items()) == [("family?", "x" * 200)]
    segment.close()


def test_user_dirs_lists_the_own_one_first(base: Path) -> None:
    publish()().close()
    (base / "iavfio-0000").mkdir()
    assert user_dirs()[0].mine


def test_child_that_execs_holds_no_lock(base: Path) -> None:
    """A program that a port's process started must not keep the dead port alive."""
    code = """
import os, subprocess, sys
from iavfio.stats import PortSegment
segment = PortSegment.create("p0", 1)
child = subprocess.Popen(["sleep", "30"], stdout=subprocess.DEVNULL)
print(child.pid, flush=True)
os._exit(0)
"""
    out = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=True
    )
    try:
        assert read("p0").alive is False
    finally:
        os.kill(int(out.stdout), signal.SIGTERM)
