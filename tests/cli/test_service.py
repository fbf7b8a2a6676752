# SPDX-License-Identifier: BSD-3-Clause
"""What commands that run as services tell systemd, by the datagrams that it gets."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from iavfio.cli import service
from tests.port.rig import until

SECONDS = 60


def listening(address: str) -> socket.socket:
    line = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    line.bind(address)
    line.settimeout(SECONDS)
    return line


@pytest.mark.parametrize("abstract", [False, True], ids=["path", "abstract"])
@pytest.mark.parametrize("command", ["softvf", "telemetry", "exporter"])
def test_a_service_tells_when_it_is_ready_and_when_it_stops(
    tmp_path: Path, command: str, abstract: bool
) -> None:
    words = {
        "softvf": ["--socket", str(tmp_path / "pf")],
        "telemetry": ["--dir", str(tmp_path / "dpdk")],
        "exporter": ["--listen", "127.0.0.1:0"],
    }[command]
    if command == "exporter":
        pytest.importorskip("prometheus_client")
    name = f"iavfio-{secrets.token_hex(8)}" if abstract else str(tmp_path / "notify")
    written, address = (f"@{name}", f"\0{name}") if abstract else (name, name)
    with (
        listening(address) as manager,
        subprocess.Popen(
            [sys.executable, "-m", "iavfio.cli", command, *words],
            env=os.environ | {"NOTIFY_SOCKET": written},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as child,
    ):
        try:
            first = manager.recv(4096).decode().split("\n")
            assert first[0] == "READY=1"
            assert first[1].startswith("STATUS=serving ")
            if command == "softvf":  # clients may come when the manager hears of it
                assert (tmp_path / "pf" / "vf0.sock").is_socket()
            child.send_signal(signal.SIGTERM)
            assert manager.recv(4096) == b"STOPPING=1"
            _, error = child.communicate(timeout=SECONDS)
        finally:
            child.kill()
        assert child.returncode == 143  # what the units call a success
        assert error == ""
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(4096)


@pytest.mark.parametrize("written", ["/nowhere/notify", "@iavfio-nobody", "vsock:2:1", "@\0", "x"])
def test_a_manager_that_is_not_there_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], written: str
) -> None:
    monkeypatch.setattr(os, "environ", {"NOTIFY_SOCKET": written})
    with service.running("a\nb"):
        told = capsys.readouterr().err
        assert told.startswith(f"iavfio: the service manager at NOTIFY_SOCKET={written} was not")
        assert "told READY: " in told
    assert "told STOPPING: " in capsys.readouterr().err


def fill(address: str) -> None:
    """Whoever listens there has all the datagrams that its socket takes."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.setblocking(False)
        line.connect(address)
        with contextlib.suppress(BlockingIOError):
            while True:
                line.send(b"full")


def words(manager: socket.socket) -> Iterator[str]:
    """First words of what the manager is told."""
    while True:
        yield manager.recv(4096).decode().partition("\n")[0]


# docs/spec/reliability.md F66
def test_a_manager_that_takes_nothing_holds_nobody_up_and_is_told_later(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with listening(address) as manager:
        fill(address)
        service.ready("working")  # comes back
        heard = words(manager)
        assert next(heard) == "full"
        assert next(each for each in heard if each != "full") == "READY=1"
        fill(address)
        service.stopping()
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            assert all(each == "full" for each in heard)


def test_a_manager_that_never_takes_anything_is_remarked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(service, "READY", 0.0)
    with listening(address):
        fill(address)
        service.ready("working")
        told = ""

        def remarked() -> bool:
            nonlocal told
            told += capsys.readouterr().err
            return "\n" in told

        assert until(remarked, SECONDS)
        assert told.endswith("was not told READY: its socket is full, and stays so\n")
        service.stopping()
        assert "was not told STOPPING: its socket is full" in capsys.readouterr().err


def test_who_stops_is_not_ready_any_more(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    monkeypatch.setattr(service, "STOPPING", 0.0)
    with listening(address) as manager:
        fill(address)
        before = set(threading.enumerate())
        service.ready("working")
        waiting = set(threading.enumerate()) - before
        service.stopping()
        for thread in waiting:
            thread.join(5)
            assert not thread.is_alive()
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            assert all(each == "full" for each in words(manager))


def test_without_a_manager_nothing_is_said(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with service.running("working"):
        pass
    assert capsys.readouterr() == ("", "")


def test_a_line_end_in_the_status_cannot_set_another_field(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    with listening(str(tmp_path / "notify")) as manager:
        service.ready("a\nMAINPID=1")
        assert manager.recv(4096) == b"READY=1\nSTATUS=a MAINPID=1"
