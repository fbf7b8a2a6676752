# SPDX-License-Identifier: BSD-3-Clause
"""DPDK's telemetry socket: its answers, its clients, and DPDK's own script as the judge."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.errors import ConfigError, IavfioError
from iavfio.metrics.dpdk import MOST_BYTES, Telemetry
from iavfio.metrics.telemetry import NAME, TelemetryServer, runtime_dir, serving
from tests.live.segments import add, running
from tests.port.rig import send_all, udp, until

IAVFIO = [sys.executable, "-m", "iavfio.cli"]
SCRIPT = shutil.which("dpdk-telemetry.py")


def told(telemetry: Telemetry, request: str) -> Any:
    answer = json.loads(telemetry.answer(request.encode()))
    assert list(answer) == [request.partition(",")[0] or "none"]
    return next(iter(answer.values()))


def test_counters_in_dpdk_s_words() -> None:
    segment = running("p0")
    add(segment, "rq", 0, packets=5, bytes=300, drop_error=2, alloc_page_fail=9)
    add(segment, "rq", 1, packets=1, bytes=60, drop_chain=1)
    add(segment, "sq", 1, packets=4, bytes=240)
    segment.set_global([10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120])
    telemetry = Telemetry()
    assert told(telemetry, "/ethdev/list") == [0]
    stats = told(telemetry, "/ethdev/stats,0")
    nothing = [0] * 14
    assert stats == {
        "ipackets": 6,
        "opackets": 4,
        "ibytes": 360,
        "obytes": 240,
        "imissed": 50,
        "ierrors": 63,
        "oerrors": 230,
        "rx_nombuf": 9,
        "q_ipackets": [5, 1, *nothing],
        "q_opackets": [0, 4, *nothing],
        "q_ibytes": [300, 60, *nothing],
        "q_obytes": [0, 240, *nothing],
        "q_errors": [2, 1, *nothing],
    }
    xstats = told(telemetry, "/ethdev/xstats,0")
    assert xstats["rx_good_packets"] == 6 and xstats["rx_q1_errors"] == 1
    assert xstats["rx_unicast_packets"] == 20 and xstats["tx_error_packets"] == 120
    assert xstats["rq0_drop_error"] == 2 and xstats["sq1_linearized"] == 0
    short = told(telemetry, "/ethdev/xstats,0,hide_zero=true")
    assert short == {name: value for name, value in xstats.items() if value}
    segment.close()


def test_a_port_keeps_its_number() -> None:
    first, second = running("a"), running("b")
    telemetry = Telemetry()
    assert told(telemetry, "/ethdev/list") == [0, 1]
    first.close()
    assert told(telemetry, "/ethdev/list") == [1]
    assert told(telemetry, "/ethdev/stats,0") is None
    third = running("c")
    again = running("a")
    assert told(telemetry, "/ethdev/list") == [0, 1, 2]
    names = [told(telemetry, f"/ethdev/info,{number}")["name"] for number in range(3)]
    assert names == ["a", "b", "c"]
    for segment in (second, third, again):
        segment.close()


def test_link_and_description() -> None:
    segment = running("p0")
    telemetry = Telemetry()
    up = told(telemetry, "/ethdev/link_status,0")
    assert up == {"status": "UP", "speed": 10_000, "duplex": "full-duplex"}
    segment.set_link(False, 0, bytes.fromhex("02000000000a"))
    assert told(telemetry, "/ethdev/link_status,0") == {"status": "DOWN"}
    info = told(telemetry, "/ethdev/info,0")
    assert (info["mac_addr"], info["nb_rx_queues"], info["port_id"]) == ("02:00:00:00:00:0A", 2, 0)
    assert info["dev_started"] == 1
    segment.close()


@pytest.mark.parametrize(
    "request_text",
    [
        *(f"/ethdev/{name}{port}" for name in ("stats", "xstats", "info", "link_status")
          for port in ("", ",", ",1", ",-1", ",x", ",99999999999999999999", ",٣", ",0x")),
        "/nothing", "/ethdev", "stats", "/help", "/help,/nothing", "", ",", "/ethdev/stats\n,7",
    ],
)  # fmt: skip
def test_what_is_unknown_is_null(request_text: str) -> None:
    segment = running("p0")
    answer = json.loads(Telemetry().answer(request_text.encode()))
    assert list(answer.values()) == [None]
    segment.close()


def test_no_request_makes_it_fail() -> None:
    telemetry = Telemetry()
    for request in (b"\xff\xfe", b"\0" * 100, b'/"\\', b"/" * 1024, b"/ethdev/list,\xff"):
        assert isinstance(json.loads(telemetry.answer(request)), dict)


def test_every_command_is_listed_and_explained() -> None:
    telemetry = Telemetry()
    commands = told(telemetry, "/")
    assert {"/", "/help", "/info", "/ethdev/list", "/ethdev/stats", "/ethdev/xstats"} <= set(
        commands
    )
    for each in commands:
        assert told(telemetry, f"/help,{each}")[each]
    about = told(telemetry, "/info")
    assert about == json.loads(telemetry.greeting())
    assert about["pid"] == os.getpid() and about["max_output_len"] == MOST_BYTES


def test_the_largest_port_fits_into_an_answer() -> None:
    segment = running("p0", pairs=16)
    for queue in range(16):
        for block, name in (("rq", "packets"), ("rq", "bytes"), ("sq", "packets")):
            add(segment, block, queue, **{name: (1 << 64) - 1})
    assert len(told(Telemetry(), "/ethdev/xstats,0")) > 500
    segment.close()


# ---- the socket


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="iavfio-t-") as name:
        yield Path(name)


def connect(path: Path) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    line.settimeout(20)
    line.connect(str(path))
    return line


def test_clients_are_served_side_by_side_and_may_leave(place: Path) -> None:
    with serving(place, Telemetry()) as server, connect(server.path) as one:
        gone = connect(server.path)
        two = connect(server.path)
        gone.close()
        two.send(b"/info")
        one.send(b"/ethdev/list")
        server.serve(0.2)
        for line, command in ((one, "/ethdev/list"), (two, "/info")):
            assert "max_output_len" in json.loads(line.recv(1024))
            assert command in json.loads(line.recv(MOST_BYTES))
        two.close()
    assert not server.path.exists()


def test_a_client_that_does_not_read_holds_up_nobody(place: Path) -> None:
    segment = running("p0", pairs=16)
    with serving(place, Telemetry()) as server:
        lazy, other = connect(server.path), connect(server.path)
        lazy.setblocking(False)
        for _ in range(60):
            with contextlib.suppress(BlockingIOError, BrokenPipeError):
                lazy.send(b"/ethdev/xstats,0")
            server.serve(0)
        other.send(b"/ethdev/list")
        server.serve(0.2)
        other.recv(1024)
        assert json.loads(other.recv(1024)) == {"/ethdev/list": [0]}
        lazy.close()
        other.close()
    segment.close()


def test_the_socket_of_a_dead_program_is_replaced_and_that_of_a_living_one_is_not(
    place: Path,
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as left:
        left.bind(str(place / NAME))
    with (
        serving(place, Telemetry()) as server,
        pytest.raises(IavfioError, match="is in use") as raised,
    ):
        TelemetryServer(place, Telemetry())
    assert "--file-prefix" in raised.value.remedy
    (place / NAME).write_text("a file", encoding="utf-8")
    with pytest.raises(IavfioError):
        TelemetryServer(place, Telemetry())
    assert (place / NAME).read_text(encoding="utf-8") == "a file"
    assert server.path == place / NAME


def test_a_program_whose_backlog_is_full_is_in_use_and_holds_up_nobody(place: Path) -> None:
    with contextlib.ExitStack() as stack:
        kind = socket.SOCK_SEQPACKET | socket.SOCK_NONBLOCK
        busy = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
        busy.bind(str(place / NAME))
        busy.listen(0)
        while True:  # it never accepts
            client = stack.enter_context(socket.socket(socket.AF_UNIX, kind))
            if client.connect_ex(str(place / NAME)) == errno.EAGAIN:
                break
        with pytest.raises(IavfioError, match="is in use"):
            TelemetryServer(place, Telemetry())


def test_only_its_user_may_connect_whatever_the_umask_is(place: Path) -> None:
    before = os.umask(0)
    try:
        with serving(place / "deep" / "dir", Telemetry()) as server:
            assert server.path.stat().st_mode & 0o777 == 0o600
            assert server.path.parent.stat().st_mode & 0o777 == 0o700
    finally:
        os.umask(before)


def test_places_where_no_socket_can_be(place: Path) -> None:
    with pytest.raises(ConfigError, match="too long for a socket"):
        TelemetryServer(place / ("d" * 120), Telemetry())
    (place / "file").write_text("", encoding="utf-8")
    with pytest.raises(IavfioError, match="cannot be made"):
        TelemetryServer(place / "file", Telemetry())


@pytest.mark.parametrize(
    ("environment", "uid", "expected"),
    [
        ({}, 0, "/var/run/dpdk/rte"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, 0, "/var/run/dpdk/rte"),
        ({"XDG_RUNTIME_DIR": "/run/user/7"}, 7, "/run/user/7/dpdk/rte"),
        ({}, 7, "/tmp/dpdk/rte"),
        ({"RUNTIME_DIRECTORY": "/run/x", "XDG_RUNTIME_DIR": "/y"}, 7, "/run/x/dpdk/rte"),
    ],
)
def test_it_lies_where_dpdk_s_tools_look(
    environment: dict[str, str], uid: int, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RUNTIME_DIRECTORY", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    assert runtime_dir("rte") == Path(expected)


@pytest.mark.skipif(SCRIPT is None, reason="dpdk-telemetry.py is missing: apt-get install dpdk-dev")
def test_dpdk_s_own_script_reads_a_running_port(place: Path) -> None:
    """The script of Debian's package, unchanged, on a port of the software VF with traffic."""
    assert SCRIPT is not None
    python = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable
    where = os.environ | {"RUNTIME_DIRECTORY": str(place)}
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name="live") as port:
        port.start(wait_link=5)
        send_all(port, [udp(port.mac, port.mac)] * 20)
        assert until(lambda: port.tx[0].clean() >= 0 and port.tx[0].in_flight == 0)
        child = subprocess.Popen(
            [*IAVFIO, "telemetry", "--file-prefix", "judged"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=where,
        )
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line == f"serving DPDK's telemetry at {place}/dpdk/judged/{NAME}\n"
        asked = ["/ethdev/list", "/ethdev/stats,0", "/ethdev/xstats,0,hide_zero=true"]
        asked += ["/ethdev/link_status,0", "/ethdev/info,0", "/ethdev/stats,1", "/help,/", "/x"]
        script = subprocess.run(
            [python, SCRIPT, "-f", "judged"],
            input="\n".join([*asked, "quit"]) + "\n",
            capture_output=True, text=True, timeout=60, check=False, env=where,
        )  # fmt: skip
        child.send_signal(signal.SIGINT)
        _, error = child.communicate(timeout=60)
    assert (child.returncode, error) == (130, "")
    assert script.returncode == 0, script.stderr
    answers = [json.loads(line) for line in script.stdout.splitlines() if line.startswith("{")]
    answers = [each for each in answers if "max_output_len" not in each]
    found = {name: value for each in answers for name, value in each.items()}
    assert len(answers) == len(asked), script.stdout
    assert answers[0] == {"/ethdev/list": [0]}
    assert answers[1]["/ethdev/stats"]["opackets"] == 20
    assert found["/ethdev/xstats"]["tx_good_packets"] == 20
    assert found["/ethdev/link_status"]["status"] == "UP"
    assert found["/ethdev/info"]["name"] == "live"
    assert answers[5] == {"/ethdev/stats": None} and found["/x"] is None


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--file-prefix", "a/b"], 2, "is no file prefix"),
        (["--file-prefix", ".."], 2, "is no file prefix"),
        (["--file-prefix", ""], 2, "is no file prefix"),
        (["--dir", "/" + "d" * 120], 2, "too long for a socket"),
        (["--dir", "/proc/x"], 1, "name a directory of your own"),
    ],
)
def test_wrong_use(arguments: list[str], status: int, words: str) -> None:
    done = subprocess.run(
        [*IAVFIO, "telemetry", *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr and "Traceback" not in done.stderr
