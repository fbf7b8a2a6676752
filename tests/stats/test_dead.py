# SPDX-License-Identifier: BSD-3-Clause
"""Ports whose process is gone: said to be dead, removed on request, replaced at the next open."""

from __future__ import annotations

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio._driver import ffi
from iavfio.errors import IavfioError, StateError
from iavfio.stats import PortSegment, clean, known_ports, ports, read
from iavfio.stats.liveness import remove_if_dead
from iavfio.stats.runtime import own_dir
from tests.sanitizer import no_race
from tests.stats.others import NOBODY, in_child

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="plays several users: needs root")
WRITER = """
import signal, sys
signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # which a background job of a shell ignores
from iavfio.stats import PortSegment
segment = PortSegment.create(sys.argv[1], 1, mode=0o644)
segment.set_state("running")
print("ready", flush=True)
sys.stdin.read()
"""


pytestmark = pytest.mark.usefixtures("base")


@pytest.fixture
def writers() -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()
        process.communicate()


def run_writer(
    writers: list[subprocess.Popen[str]], name: str, *before: str
) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [*before, sys.executable, "-c", WRITER, name],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    writers.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def leave(name: str, device: str = "", state: str = "running") -> None:
    """A port whose process ends without closing it."""

    def publish() -> None:
        segment = PortSegment.create(name, 1, device=device, mode=0o644)
        segment.set_state(state)  # type: ignore[arg-type]

    assert in_child(publish) == 0


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "stats", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM, signal.SIGQUIT])
def test_port_is_dead_as_soon_as_its_process_is(
    writers: list[subprocess.Popen[str]], end: signal.Signals
) -> None:
    process = run_writer(writers, "d0")
    assert (read("d0").state, read("d0").alive) == ("running", True)
    process.send_signal(end)
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie: its pid is still there
    snapshot = read("d0")
    assert (snapshot.state, snapshot.last_state, snapshot.alive) == ("dead", "running", False)
    assert [(port.state, port.alive) for port in ports()] == [("dead", False)]


def test_stopped_process_lives(writers: list[subprocess.Popen[str]]) -> None:
    process = run_writer(writers, "s0")
    process.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
    assert read("s0").alive
    with pytest.raises(StateError, match=f"process {process.pid} runs it"):
        PortSegment.create("s0", 1)
    process.send_signal(signal.SIGCONT)


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="makes a namespace")
def test_life_and_death_are_seen_across_pid_namespaces(
    writers: list[subprocess.Popen[str]],
) -> None:
    process = run_writer(writers, "n0", "unshare", "--pid", "--fork", "--kill-child")
    snapshot = read("n0")
    assert (snapshot.alive, snapshot.pid) == (True, 1)  # pid 1 of this namespace is another
    assert snapshot.process == "process 1 of another PID namespace"
    with pytest.raises(StateError, match="of another PID namespace runs it"):
        PortSegment.create("n0", 1)
    assert clean() == []
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while read("n0").alive and time.monotonic() < deadline:
        time.sleep(0.01)
    assert read("n0").state == "dead"
    assert clean() == ["n0"]


def test_forked_child_neither_holds_a_port_alive_nor_withdraws_it() -> None:
    """multiprocessing and servers fork: the port is its parent's."""
    ready, told = os.pipe(), os.pipe()

    def fork_and_die() -> None:
        segment = PortSegment.create("f0", 1)
        if os.fork() == 0:
            segment.close()
            os.write(ready[1], b"x")
            os.read(told[0], 1)
            os._exit(0)
        os.read(ready[0], 1)
        assert read("f0").alive

    assert in_child(fork_and_die) == 0
    assert read("f0").alive is False
    os.write(told[1], b"x")


def test_pool_of_forked_workers_leaves_the_port_as_it_is() -> None:
    with PortSegmentOpen("m0"):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            assert pool.map(len, ["a", "bb"]) == [1, 2]
        assert read("m0").alive


class PortSegmentOpen:
    def __init__(self, name: str) -> None:
        self.segment = PortSegment.create(name, 1)

    def __enter__(self) -> PortSegment:
        return self.segment

    def __exit__(self, *why: object) -> None:
        self.segment.close()


def test_closed_port_is_gone() -> None:
    with PortSegmentOpen("c0"):
        assert known_ports() == ["c0"]
    assert known_ports() == []
    assert list(own_dir().path.iterdir()) == []


def test_name_of_a_dead_port_is_free_again() -> None:
    leave("d0")
    with PortSegmentOpen("d0"):
        assert read("d0").alive
    assert known_ports() == []


def test_next_open_of_a_device_removes_what_its_last_port_left() -> None:
    leave("old", device="0000:3b:02.0")
    leave("other", device="0000:3b:02.1")
    segment = PortSegment.create("new", 1, device="0000:3b:02.0")
    assert known_ports() == ["new", "other"]
    segment.close()


def test_numbered_names_go_on_where_ports_live_and_take_the_dead_ones() -> None:
    made = [PortSegment.create("softvf", 1, numbered=True) for _ in range(3)]
    assert [each.name for each in made] == ["softvf", "softvf-2", "softvf-3"]
    made[1].close()
    leave("softvf-2")
    made.append(PortSegment.create("softvf", 1, numbered=True))
    assert made[-1].name == "softvf-2"
    longest = [PortSegment.create("x" * 64, 1, numbered=True) for _ in range(2)]
    assert longest[1].name == "x" * 62 + "-2"
    for each in made + longest:
        each.close()


def test_many_that_open_at_once_get_a_name_each() -> None:
    made: list[PortSegment] = []
    threads = [
        threading.Thread(target=lambda: made.append(PortSegment.create("t", 1, numbered=True)))
        for _ in range(16)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each.name for each in made) == sorted(
        ["t", *(f"t-{number}" for number in range(2, 17))]
    )
    assert all(port.alive for port in ports())
    for each in made:
        each.close()
    assert list(own_dir().path.iterdir()) == []


def test_clean_removes_the_dead_and_only_them() -> None:
    leave("d0")
    leave("d1", state="failed")
    home = own_dir().path
    (home / "junk.stats").write_bytes(b"no segment")
    (home / "note.txt").write_text("somebody's own")
    with PortSegmentOpen("live"):
        assert clean() == ["d0", "d1"]
        left = ["junk.stats", "live.stats", "note.txt"]
        assert sorted(path.name for path in home.iterdir()) == left
        assert clean() == []


def test_what_is_no_segment_stays_and_is_told() -> None:
    """Its owner put it there, or a disk damaged it: no process of a port has left it."""
    home = own_dir().path
    os.mkfifo(home / "fifo.stats")
    (home / "folder.stats").mkdir()
    (home / "junk.stats").write_bytes(os.urandom(4096))
    (home / "none.stats").touch()
    leave("d0")
    told = cli()
    assert (told.returncode, told.stdout.split()[5]) == (0, "d0")
    for name, reason in (
        ("fifo", "no regular file\n  remove it: rm "),
        ("folder", f"it is a directory\n  move it away: mv {home}/folder.stats {home}/folder"),
        ("junk", "another version of iavfio wrote it, or it is damaged\n  remove it: rm "),
        ("none", "it is too short\n  remove it: rm "),
    ):
        assert f"{home}/{name}.stats is no readable stats segment: " in told.stderr
        assert reason in told.stderr
    assert cli("--clean").stdout == "d0: removed, its process is gone\n"
    kept = ["fifo.stats", "folder.stats", "junk.stats", "none.stats"]
    assert sorted(path.name for path in home.iterdir()) == kept
    with pytest.raises(IavfioError, match=r"folder\.stats\.old") as refused:
        PortSegment.create("folder", 1)
    assert "rm " not in str(refused.value)


def test_clean_removes_old_drafts_of_writers_that_died() -> None:
    home = own_dir().path
    for name, age in ((".old.1.aa", 3600), (".new.1.aa", 0)):
        (home / name).touch()
        os.utime(home / name, (time.time() - age,) * 2)
    assert clean() == []
    assert [path.name for path in home.iterdir()] == [".new.1.aa"]


@as_root
def test_clean_as_root_reaches_all_users_and_as_another_only_its_own(base: Path) -> None:
    leave("roots")
    assert in_child(lambda: PortSegment.create("theirs", 1, mode=0o644), uid=NOBODY) == 0

    def as_nobody() -> None:
        assert clean() == ["theirs"]

    assert in_child(as_nobody, uid=NOBODY) == 0
    assert in_child(lambda: PortSegment.create("theirs", 1), uid=NOBODY) == 0
    assert clean() == ["roots", "theirs"]


@as_root
def test_root_removes_nothing_behind_a_link_of_another_user(base: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "precious.stats").touch()

    def plant() -> None:
        home = own_dir().path
        (home / "soft.stats").symlink_to(victim / "precious.stats")
        (base / "iavfio-evil").symlink_to(victim)

    assert in_child(plant, uid=NOBODY) == 0
    clean()
    assert (victim / "precious.stats").exists()


def test_file_that_is_replaced_while_it_is_removed_stays() -> None:
    """Removing is by the file that was found dead, not by whatever has its name now."""
    leave("d0")
    home = own_dir()
    stale = os.open(home.path / "d0.stats", os.O_RDWR)
    with PortSegmentOpen("d0"):
        folder = home.open()
        assert remove_if_dead(folder, "d0.stats") is False
        os.close(folder)
        assert read("d0").alive
    os.close(stale)


@no_race
def test_openers_and_cleaners_race_without_losing_a_living_port() -> None:
    """Each round leaves a dead port; one opens its name while others clean."""
    stop = threading.Event()
    lost: list[str] = []

    def cleaner() -> None:
        while not stop.is_set():
            clean()

    threads = [threading.Thread(target=cleaner) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(30):
            leave("r0")
            with PortSegmentOpen("r0") as segment:
                if not segment.path.exists() or not read("r0").alive:
                    lost.append("r0")
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert lost == []


def test_file_in_the_way_is_an_error_with_its_remedy() -> None:
    (own_dir().path / "p0.stats").mkdir()
    with pytest.raises(IavfioError, match="mv "):
        PortSegment.create("p0", 1)


def test_command_says_dead_in_every_form() -> None:
    leave("d0", device="0000:3b:02.0")
    listed = cli()
    assert listed.returncode == 0
    assert "dead (process gone)" in listed.stdout and "running" not in listed.stdout
    assert "iavfio stats --clean" in listed.stderr
    as_json = json.loads(cli("--json").stdout)
    assert [(row["port"], row["state"], row["alive"]) for row in as_json] == [("d0", "dead", False)]
    dump = cli("d0")
    assert dump.returncode == 0 and "is gone; these are its last counts" in dump.stderr
    assert "# d0: dead, process" in dump.stdout
    told = json.loads(cli("d0", "--json").stdout)
    assert (told["state"], told["last_state"], told["alive"]) == ("dead", "running", False)
    assert cli("--clean").stdout == "d0: removed, its process is gone\n"
    empty = cli()
    assert empty.stdout == "" and "no port is running" in empty.stderr
    assert json.loads(cli("--json").stdout) == []
    assert json.loads(cli("--clean", "--json").stdout)["removed"] == []
    assert cli("d0", "--clean").returncode == 2


def test_header_that_is_cut_short_has_an_owner_all_the_same() -> None:
    with PortSegmentOpen("p0") as segment:
        os.truncate(segment.path, 16)
        with pytest.raises(StateError, match="another process runs it"):
            PortSegment.create("p0", 1)


def test_removal_needs_the_file_that_was_looked_at() -> None:
    leave("d0")
    home = own_dir()
    folder = home.open()
    assert remove_if_dead(folder, "missing.stats") is False
    assert remove_if_dead(folder, "d0.stats") is True
    assert remove_if_dead(folder, "d0.stats") is False
    os.close(folder)


def test_header_names_the_process_and_its_namespace() -> None:
    with PortSegmentOpen("p0") as segment:
        raw = ffi.cast("struct segment_header *", ffi.from_buffer(segment.path.read_bytes()))
        assert raw.owner_pid == os.getpid()
        assert raw.owner_pidns == Path("/proc/self/ns/pid").stat().st_ino


def test_runtime_dir_option_is_the_environment_for_one_command(base: Path) -> None:
    leave("d0")
    assert "d0" in cli().stdout
    assert cli("--runtime-dir", str(base / "elsewhere")).stdout == ""
    bench = subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "bench", "--help"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert "--runtime-dir" in bench.stdout
