# SPDX-License-Identifier: BSD-3-Clause
"""The software VF as a process: start, control socket, end, and the deaths in between."""

from __future__ import annotations

import contextlib
import gc
import json
import os
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import iavfio
from iavfio.errors import ConfigError, DeviceLost, StateError
from iavfio.softvf import SoftPf, launch, softvf
from tests.softvf.function.mailbox_rings import ARQ, ATQH, BUF, DD_CMP, LB, POST, RD, SI, Rings
from tests.softvf.server.raw_client import RawClient

SERVER = [sys.executable, "-m", "iavfio.softvf"]


def path_of(pf: SoftPf, vf: int = 0) -> Path:
    return Path(pf.sockets[vf].removeprefix("vfio-user:"))


def wait_until_gone(pid: int, seconds: float = 10.0) -> None:
    """Of a process that may be another's child."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([fd], [], [], seconds)[0], f"{pid} still runs"
    finally:
        os.close(fd)


@pytest.fixture
def pf() -> Iterator[SoftPf]:
    with softvf(vfs=2, options={"reset_ms": 1}) as made:
        yield made


@pytest.mark.parametrize("personality", ["e810", "x710", "x722"])
def test_version_with_the_real_pf(personality: str) -> None:
    with softvf(personality=personality) as pf:
        rings = Rings(path_of(pf))
        rings.wait_active()
        rings.start_length_last()
        assert rings.send(payload=struct.pack("<II", 1, 1)) == (SI | BUF | RD | DD_CMP, 0)
        rings.wait_message(1)
        assert rings.received(0)[:6] == (BUF | LB | DD_CMP, 0x0802, 8, 0, 1, 0)
        assert rings.memory[POST : POST + 8] == struct.pack("<II", 1, 1)
        assert struct.unpack_from("<H", rings.memory, ARQ)[0] & DD_CMP
        assert rings.client.read32(ATQH) == 1
        rings.close()
        assert pf.violations() == []


def test_sockets_are_private_and_gone_at_the_end(pf: SoftPf) -> None:
    assert len(pf.sockets) == 2
    assert stat.S_IMODE(pf.directory.stat().st_mode) == 0o700
    found = sorted(path.name for path in pf.directory.iterdir())
    assert found == ["control.sock", "vf0.sock", "vf1.sock"]
    for path in pf.directory.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    RawClient(path_of(pf, 1)).close()
    pf.close()
    assert not pf.directory.exists()
    assert not pf.running
    with pytest.raises(StateError, match="closed"):
        pf.control("ping")
    pf.close()


def test_info_stats_and_log(pf: SoftPf) -> None:
    assert pf.control("ping") == {}
    client = RawClient(path_of(pf))
    info = pf.control("info")
    assert (info["personality"], info["pid"], info["uplink"]) == ("e810", pf.pid, "loopback")
    assert [vf["connected"] for vf in info["vfs"]] == [True, False]
    assert [vf["socket"] for vf in info["vfs"]] == pf.sockets
    told = pf.control("stats", vf=1)
    assert told["stats"]["rx_unicast"] == 0 and told["to_nobody"] == {}
    client.write(0, 0x8800, bytes(8))
    (violation,) = pf.violations()
    rule = "docs/spec/registers.md 7"
    assert (violation.vf, violation.kind, violation.rule) == (0, "violation", rule)
    assert "8-byte write of BAR0+0x8800" in violation.text
    log = pf.control("log", clear=True)
    counted = {"vf": 0, "kind": "violation", "rule": rule, "count": 1, "text": violation.text}
    assert counted in log["counts"]
    assert pf.violations() == []
    client.close()


@pytest.mark.parametrize(
    ("command", "arguments", "text"),
    [
        ("no_such_command", {}, "no_such_command"),
        ("stats", {}, '"vf" must be 0 to 1'),
        ("stats", {"vf": 2}, '"vf" must be 0 to 1'),
        ("stats", {"vf": True}, '"vf" must be 0 to 1'),
        ("gone", {"vf": 0, "on": "yes"}, '"on" must be'),
        ("ping", {"vf": 0}, "no argument 'vf'"),
        ("gone", {"vf": 0, "off": True}, "no argument 'off'"),
        ("vlan", {"vf": 0, "vlan": 100, "qos": 3}, "gives the tags of a port VLAN no priority"),
    ],
)
def test_bad_commands_are_refused(
    pf: SoftPf, command: str, arguments: dict[str, object], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        pf.control(command, **arguments)
    assert pf.control("ping") == {}


def test_control_lines(pf: SoftPf) -> None:
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(str(pf.directory / "control.sock"))
        line.settimeout(5)
        line.sendall(
            b'{"command": "ping"}\nnonsense\n[]\n\n{"command": 1}\n' + b"[" * 30000 + b"\n"
        )
        reader = line.makefile("rb")
        answers = [json.loads(reader.readline()) for _ in range(5)]
        assert [answer["ok"] for answer in answers] == [True, False, False, False, False]
        assert all("error" in answer for answer in answers[1:])
        line.sendall(b"x" * 70000)
        assert reader.readline() == b"", "an endless line is cut off"
    assert pf.control("ping") == {}


def test_surprise_removal(pf: SoftPf) -> None:
    client = RawClient(path_of(pf))
    pf.control("gone", vf=0)
    assert client.read32(0x8800) == 0xFFFFFFFF
    pf.control("gone", vf=0, on=False)
    pf.control("remove", vf=0)
    assert client.hung_up()
    client.close()
    assert not path_of(pf).exists()
    RawClient(path_of(pf, 1)).close()


def test_host_wants_the_vf_back(pf: SoftPf) -> None:
    client = RawClient(path_of(pf))
    assert pf.control("request", vf=0) == {"signalled": False}
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    assert client.ask(8, struct.pack("<IIIII", 20, 0x24, 4, 0, 1), (fd,))[0] == 0
    assert pf.control("request", vf=0) == {"signalled": True}
    assert os.eventfd_read(fd) == 1
    os.close(fd)
    client.close()


def test_killed_server_is_noticed_and_cleared(pf: SoftPf) -> None:
    client = RawClient(path_of(pf))
    os.kill(pf.pid, signal.SIGKILL)
    assert client.hung_up()
    client.close()
    wait_until_gone(pf.pid)
    with pytest.raises(DeviceLost, match="ended with status -9"):
        pf.control("ping")
    pf.close()
    assert not pf.directory.exists()


# docs/spec/reliability.md F63
def test_killed_client_is_noticed(pf: SoftPf) -> None:
    code = (
        "import sys; from tests.softvf.server.raw_client import RawClient\n"
        "c = RawClient(sys.argv[1]); c.write(7, 4, b'\\6\\0')\n"
        "print('up', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path_of(pf))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == b"up\n"
        child.kill()
    again = RawClient(path_of(pf))
    assert again.read(7, 4, 2) == b"\0\0", "it was reset"
    again.close()


def test_the_server_never_outlives_its_parent() -> None:
    code = (
        "import sys; from iavfio.softvf import softvf\n"
        "pf = softvf(); print(pf.pid, pf.directory, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        assert parent.stdout is not None
        pid, directory = parent.stdout.readline().split()
        parent.kill()
    wait_until_gone(int(pid))
    assert not Path(directory.decode()).exists()


def test_a_fork_does_not_end_it(pf: SoftPf) -> None:
    child = os.fork()
    if child == 0:
        pf.close()
        os._exit(0)
    os.waitpid(child, 0)
    assert pf.control("ping") == {}


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"vfs": 0}, "1 to 64 VFs"),
        ({"personality": "e1000"}, "no personality 'e1000'"),
        ({"uplink": "carrier-pigeon"}, "uplink 'carrier-pigeon'"),
        ({"uplink": "pcap:/nonexistent/file"}, "uplink 'pcap:/nonexistent/file'"),
        ({"options": {"colour": "red"}}, "no option 'colour'"),
    ],
)
def test_impossible_settings_are_told(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        softvf(**arguments)  # type: ignore[arg-type]


# ---- from the command line


def run_server(directory: Path, *arguments: str) -> subprocess.Popen[str]:
    server = subprocess.Popen(
        [*SERVER, "--socket", str(directory), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert server.stdout is not None
    for line in server.stdout:
        if line == "ready\n":
            break
    return server


def test_ctrl_c_ends_it_with_a_summary(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("d") / "new"
    server = run_server(directory, "--vfs", "2", "--verbose")
    client = RawClient(directory / "vf1.sock")
    client.write(0, 0x8800, bytes(8))
    server.send_signal(signal.SIGINT)
    out, err = server.communicate(timeout=10)
    assert server.returncode == 0
    assert out.splitlines()[0].startswith("vf0: rx 0 packets")
    assert "1 violations" in out.splitlines()[1]
    text = "8-byte write of BAR0+0x8800: registers are aligned 32-bit words"
    assert f"vf1 violation: {text} [docs/spec/registers.md 7]\n" in err
    assert f"  vf1 violation, 1 times: {text} [docs/spec/registers.md 7]\n" in out
    assert client.hung_up()
    client.close()
    assert not directory.exists()


# docs/spec/reliability.md D5
def test_dead_sockets_are_replaced_and_living_ones_are_not(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    directory = tmp_path_factory.mktemp("d")
    first = run_server(directory)
    second = subprocess.run(
        [*SERVER, "--socket", str(directory)], capture_output=True, text=True, timeout=20
    )
    assert second.returncode == 1
    assert "is served by another process" in second.stderr
    assert second.stderr.count("\n") <= 2
    RawClient(directory / "vf0.sock").close()
    first.kill()
    first.communicate()
    assert (directory / "vf0.sock").exists()
    third = run_server(directory)
    RawClient(directory / "vf0.sock").close()
    third.terminate()
    third.communicate(timeout=10)
    assert list(directory.iterdir()) == []


def test_foreign_files_are_left_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = tmp_path_factory.mktemp("d")
    (directory / "vf0.sock").write_text("mine")
    done = subprocess.run(
        [*SERVER, "--socket", str(directory)], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 1
    assert "is in the way" in done.stderr
    assert (directory / "vf0.sock").read_text() == "mine"


def test_long_paths_are_refused(tmp_path: Path) -> None:
    done = subprocess.run(
        [*SERVER, "--socket", str(tmp_path / ("x" * 110))],
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert done.returncode == 1
    assert "too long" in done.stderr
    assert "Traceback" not in done.stderr


def test_imports_stay_light() -> None:
    code = "import sys, iavfio.softvf.process, iavfio.softvf.__main__; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"numpy", "click", "rich", "pyroute2", "msgspec"} & set(done.stdout.split())


def test_no_zombie_and_no_fd_is_left() -> None:
    gc.collect()  # what other tests left behind
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(3):
        with softvf() as pf:
            pid = pf.pid
        assert not Path(f"/proc/{pid}").exists()
    gc.collect()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


# docs/spec/reliability.md D6
def test_a_slow_client_stalls_nobody(pf: SoftPf) -> None:
    slow, quick = RawClient(path_of(pf, 0)), RawClient(path_of(pf, 1))
    slow.sock.setblocking(False)
    request = struct.pack("<HHIII", 1, 9, 32, 0, 0) + struct.pack("<QII", 0, 7, 4096)
    with contextlib.suppress(BlockingIOError):
        while True:  # reads without end, and takes no reply
            slow.sock.sendall(request * 64)
    for _ in range(50):
        assert quick.read(7, 0, 2) == b"\x86\x80"
    slow.close()
    quick.close()
    RawClient(path_of(pf, 0)).close()


def test_what_two_killed_processes_left_is_swept(tmp_path: Path) -> None:
    code = (
        "import os, sys; from iavfio.softvf import softvf\n"
        "pf = softvf(); print(pf.pid, pf.directory, flush=True)\n"
        "os.kill(pf.pid, 9); os.kill(os.getpid(), 9)"
    )
    base = Path("/tmp") / f"iav{os.getpid()}"
    base.mkdir()
    try:
        environment = os.environ | {"XDG_RUNTIME_DIR": str(base)}
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=environment
        )
        directory = Path(done.stdout.split()[1])
        assert directory.parent == base
        assert (directory / "control.sock").is_socket()
        for path in directory.iterdir():
            os.utime(path, (0, 0))
        sweep = "from iavfio.softvf import softvf; softvf().close()"
        subprocess.run([sys.executable, "-c", sweep], check=True, env=environment)
        assert list(base.iterdir()) == []
    finally:
        shutil.rmtree(base)


def test_the_package_can_be_called() -> None:
    with iavfio.softvf(vfs=1) as pf:
        assert isinstance(pf, SoftPf)
        assert pf.control("ping") == {}


def test_interrupts_can_be_faked_and_muted(pf: SoftPf) -> None:
    client = RawClient(path_of(pf))
    fd = os.eventfd(0, os.EFD_NONBLOCK)
    assert client.ask(8, struct.pack("<IIIII", 20, 0x24, 2, 1, 1), (fd,))[0] == 0
    assert pf.control("irq", vf=0, vector=1, count=9) == {"signalled": True}
    assert os.eventfd_read(fd) == 9
    assert pf.control("irq", vf=0, vector=2) == {"signalled": False}
    pf.control("mute", vf=0)
    client.write(0, 0x3800, struct.pack("<I", 0x0100001D))
    assert client.read(3, 0x2000, 4) == b"\2\0\0\0"
    with pytest.raises(BlockingIOError):
        os.eventfd_read(fd)
    pf.control("mute", vf=0, on=False)
    assert os.eventfd_read(fd) == 1
    os.close(fd)
    client.close()


def test_a_stalled_socket_answers_later(pf: SoftPf) -> None:
    client = RawClient(path_of(pf))
    assert pf.control("stall", vf=1, seconds=1) == {"stalled": False}
    assert pf.control("stall", vf=0, seconds=0.3) == {"stalled": True}
    number = client.post(9, struct.pack("<QII", 0, 7, 4))
    client.sock.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.take(number, 9)
    client.sock.settimeout(10)
    assert client.take(number, 9)[0] == 0
    client.close()


# docs/spec/reliability.md F66
def test_after_a_signal_nobody_waits_for_a_process_that_ends_by_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pf = softvf()
    launch.hasten()
    waited = []
    try:
        with monkeypatch.context() as patched:
            patched.setattr(subprocess.Popen, "wait", lambda *_, **__: waited.append("waited"))
            pf.close()
    finally:
        launch.hasten(False)
    assert waited == []
    wait_until_gone(pf.pid)
    assert not pf.directory.exists()
