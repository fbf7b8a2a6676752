# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio why`: on a device that is opened for it, and on a running port of another process."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.capture.mirror import Mirror
from iavfio.cli import strays
from iavfio.errors import IavfioError
from iavfio.port import inquiry, mirroring
from iavfio.port.port import Port
from iavfio.port.probe import NOBODY
from iavfio.softvf.asking import Questions
from iavfio.softvf.launch import SoftPf
from tests.port.rig import send_all, udp, until


def why(*arguments: str) -> tuple[int, str, str]:
    told = subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "why", *arguments],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert "Traceback" not in told.stderr
    return told.returncode, told.stdout, told.stderr


def test_a_device_is_opened_and_probed() -> None:
    with iavfio.softvf(vfs=1) as pf:
        pf.control("link", vf=0, state="disable")
        status, out, _ = why(pf.sockets[0])
    assert status == 1
    assert out.startswith("link down: ") and "state auto" in out


@pytest.mark.parametrize(
    ("option", "cause"), [("--probes", "spoof check"), ("--no-probes", "discards on sending")]
)
def test_a_running_port_is_probed_beside_its_program(option: str, cause: str) -> None:
    name = f"why{os.getpid()}"
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.start(wait_link=5)
        send_all(port, [udp(port.mac, bytes.fromhex("020000000099"))] * 10)
        assert until(lambda: port.tx[0].clean() >= 0 and port.tx[0].in_flight == 0)
        port.refresh_stats()
        sent = port.stats.snapshot().sq[0]["posted"]
        status, out, _ = why(name, "--interval", "0", "--json", option)
        probes = port.stats.snapshot().sq[0]["posted"] - sent
    assert probes == (0 if option == "--no-probes" else 3)  # own and foreign address, a tag
    assert status == 1
    told = json.loads(out)
    assert [finding["name"] for finding in told["findings"]] == [cause]
    assert set(told["findings"][0]) == {"name", "what", "evidence", "remedy"}
    assert ("no frame was sent" in told["findings"][0]["evidence"]) == (option == "--no-probes")


def test_a_program_that_sends_all_the_time_is_not_disturbed() -> None:
    """Nor is a frame of its own taken for a probe."""
    name = f"why{os.getpid()}"
    sent = [0]
    failed: list[Exception] = []
    over = threading.Event()

    def flood(port: Port) -> None:
        while not over.is_set():
            try:
                sent[0] += port.tx[0].send([udp(port.mac, bytes.fromhex("020000000099"))] * 4)
            except IavfioError as error:
                failed.append(error)

    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.start(wait_link=5)
        sender = threading.Thread(target=flood, args=[port])
        sender.start()
        status, out, _ = why(name, "--json", "--interval", "0.2")
        over.set()
        sender.join()
        assert failed == []
        told = json.loads(out)
        found = {finding["name"]: finding for finding in told["findings"]}
        assert status == 1 and set(found) == {"discards on sending"}
        assert "its program sends all the time" in found["discards on sending"]["evidence"]
        assert until(lambda: port.tx[0].clean() >= 0 and port.tx[0].in_flight == 0)
        counts = port.stats.snapshot().sq[0]
        assert counts["packets"] == counts["posted"] >= sent[0] + 1


def test_nothing_found_is_said_and_is_status_0() -> None:
    name = f"why{os.getpid()}"
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.start(wait_link=5)
        status, out, _ = why(name, "--interval", "0.1")
    assert status == 0 and "nothing was found" in out


def test_a_port_that_does_not_exist() -> None:
    status, _, error = why("no-such-port")
    assert status in (1, 2) and "no-such-port" in error


@pytest.fixture
def running() -> Iterator[tuple[SoftPf, Port, str]]:
    name = f"why{os.getpid()}"
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.configure(promiscuous=True)
        port.start(wait_link=5)
        yield pf, port, name


def test_the_process_of_a_port_is_asked_for_what_counters_do_not_tell(
    running: tuple[SoftPf, Port, str],
) -> None:
    pf, port, name = running
    port.control.status.note("something to know")
    status, out, _ = why(name, "--interval", "0", "--json")
    told = json.loads(out)
    assert (status, [each["name"] for each in told["findings"]]) == (1, ["not trusted"])
    assert any("noted by the port: something to know" in hint for hint in told["hints"])
    pf.control("trust", vf=0, on=True)  # which resets the VF
    assert until(lambda: len(port.resets) == 1 and port.state == "running")
    status, out, _ = why(name, "--interval", "0")
    assert status == 0 and "to know: noted by the port: " in out


def test_a_port_that_has_a_mirror_is_asked_as_well(running: tuple[SoftPf, Port, str]) -> None:
    mirror = Mirror(running[2])
    told = inquiry.ask(running[2])
    probed = told.probed
    assert probed.trust == "untrusted" and probed.promiscuous and probed.max_frame == 1522
    assert running[1].control.mirroring.caller is not None
    mirror.end()
    assert until(lambda: running[1].control.mirroring.caller is None)


def test_what_is_asked_in_vain_is_told(
    running: tuple[SoftPf, Port, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port, name = running
    port.control.mirroring.why = lambda _: b'{"version": 2}'
    with pytest.raises(IavfioError, match="no answer that can be read"):
        inquiry.ask(name)
    port.control.mirroring.why = lambda _: b"\xff"
    with pytest.raises(IavfioError, match="no answer that can be read"):
        inquiry.ask(name)
    monkeypatch.setattr(inquiry, "ANSWER", 0.05)

    def late(_: bool) -> bytes:
        time.sleep(0.3)
        return b""

    port.control.mirroring.why = late
    with pytest.raises(IavfioError, match="does not answer"):
        inquiry.ask(name)
    status, out, _ = why(name, "--interval", "0")
    assert status == 1 and "do not tell all" in out
    assert f"its process says nothing: port {name!r} gives no answer" in out
    status, out, _ = why(name, "--interval", "0", "--json")
    told = json.loads(out)
    assert status == 1 and told["findings"] == [] and "no answer" in told["unasked"]


def refusing(words: dict[str, object]) -> Callable[[bool], bytes]:
    return lambda _: json.dumps(words).encode()


def broken(_: bool) -> bytes:
    raise ZeroDivisionError("of a test")


UNASKED: dict[str, tuple[Callable[[Port], object], str]] = {
    "closed": (lambda port: port.control.mirroring.close(), "cannot be asked"),
    "broken": (lambda port: setattr(port.control.mirroring, "why", broken), "ZeroDivisionError"),
    "another version": (
        lambda port: setattr(port.control.mirroring, "why", refusing({"version": 2})),
        "no answer that can be read",
    ),
    "ended": (
        lambda port: setattr(port.control.mirroring, "why", refusing({"ended": "stalled"})),
        "it was stalled",
    ),
    "full": (lambda port: setattr(mirroring, "MOST_CALLERS", 0), "does not hear"),
}


@pytest.mark.parametrize("cause", UNASKED)
def test_a_process_that_does_not_answer_is_never_nothing_found(
    cause: str, running: tuple[SoftPf, Port, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever keeps it from answering: the port was not looked at."""
    monkeypatch.setattr(mirroring, "MOST_CALLERS", mirroring.MOST_CALLERS)  # put back at the end
    _, port, name = running
    assert inquiry.ask(name, frames=False).probed.trust == "untrusted"
    arrange, words = UNASKED[cause]
    arrange(port)
    status, out, _ = why(name, "--interval", "0", "--json")
    told = json.loads(out)
    assert (status, told["findings"]) == (1, []) and words in told["unasked"]


def test_frames_to_nobody_are_a_cause_where_it_can_be_known() -> None:
    name = f"why{os.getpid()}"
    nobody, probed = "02:00:00:00:00:77", NOBODY.hex(":")
    with iavfio.softvf(vfs=3, uplink="none") as pf, pf.open(0, name=name) as port:
        port.start(wait_link=5)
        pf.control("mac", vf=2, mac="02:00:00:00:00:66")  # nothing drives this VF
        assert why(name, "--interval", "0.1")[0] == 0  # which sends probes to nobody
        assert probed in pf.control("stats", vf=0)["to_nobody"]

        told = threading.Event()

        def send() -> None:
            while not told.wait(0.05):
                for end in (0x77, 0x66):
                    send_all(port, [udp(bytes([2, 0, 0, 0, 0, end]), port.mac)])

        sending = threading.Thread(target=send)
        sending.start()
        findings = json.loads(why(name, "--interval", "0.5", "--json")[1])["findings"]
        told.set()
        sending.join()
        (found,) = findings
        assert found["name"] == "sent to nobody" and f"frames to {nobody}" in found["evidence"]
        assert probed not in found["evidence"] and "66" not in found["evidence"]
        for interval in ("0.1", "0"):
            assert why(name, "--interval", interval)[0] == 0, "none went while it was watched"


@pytest.mark.parametrize("answer", [{}, {"vfs": 5}, {"vfs": [{"socket": 1}]}, {"vfs": [{}] * 99}])
def test_a_software_pf_that_says_something_else_is_not_believed(
    answer: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Questions, "ask", lambda *_, **__: answer)
    assert strays.strays_of(str(tmp_path / "vf0.sock")) == {}
    assert strays.strays_of("0000:3b:02.0") == {}
    mine = {"socket": f"vfio-user:{tmp_path}/vf0.sock", "index": 0}
    of = {"vfs": [mine], "to_nobody": {"\x1b[31m": 3, "02:00:00:00:00:99": 2}}
    monkeypatch.setattr(Questions, "ask", lambda *_, **__: of)
    assert strays.strays_of(str(tmp_path / "vf0.sock")) == {"?[31m": 3, "02:00:00:00:00:99": 2}


def test_why_a_port_does_not_hear_is_told_and_it_hears_again(
    running: tuple[SoftPf, Port, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, port, name = running
    with monkeypatch.context() as patch:
        patch.setattr(mirroring, "MOST_CALLERS", 0)
        with pytest.raises(IavfioError, match="0 others are heard") as refusal:
            inquiry.ask(name)
        assert "does not hear" in refusal.value.what

    def no_thread(self: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_thread)
        for _ in range(6):  # more than may be heard at a time
            with pytest.raises(IavfioError, match="cannot answer"):
                inquiry.ask(name)

    def broken(_: bool) -> bytes:
        raise ZeroDivisionError("of a test")

    why = port.control.mirroring.why
    port.control.mirroring.why = broken
    with pytest.raises(IavfioError, match="ZeroDivisionError: of a test"):
        inquiry.ask(name)
    port.control.mirroring.why = why
    assert inquiry.ask(name).probed.trust == "untrusted"


def test_a_caller_for_whom_there_is_no_descriptor_costs_no_processor(
    running: tuple[SoftPf, Port, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The socket stays readable, so that the watchdog's thread would turn without a pause."""
    turns = [0]

    def no_room(_: socket.socket) -> object:
        turns[0] += 1
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(inquiry, "ANSWER", 1.0)
    with monkeypatch.context() as patch:
        patch.setattr(socket.socket, "accept", no_room)
        with pytest.raises(IavfioError, match="does not answer"):
            inquiry.ask(running[2])
    assert 1 <= turns[0] <= 1.0 / mirroring.BREATH + 2


ESCAPES = "\x1b]0;pwn\x07\x1b[31mred\r\nnext\u202e"
MANY: list[tuple[dict[str, Any], dict[str, Any]]] = [  # what is answered, and of its `probed`
    ({"notes": [ESCAPES]}, {}),
    ({"notes": ["x" * 100_000]}, {}),
    ({"notes": [f"n{i}" for i in range(20_000)]}, {}),
    ({"discarded_now": -5}, {"discarded_probes": -(1 << 62)}),
    ({}, {"reason": ESCAPES, "pf_error": ESCAPES}),
    ({}, {"stalled": -2.0, "stuck": True}),
    ({}, {"absent": [b64encode(bytes(6)).decode()] * 5000}),
    ({}, {"absent": [b64encode(b"AAA").decode()]}),
]


@pytest.mark.parametrize(("more", "probed"), MANY)
def test_an_answer_of_anybody_commands_no_terminal_and_floods_none(
    running: tuple[SoftPf, Port, str], more: dict[str, Any], probed: dict[str, Any]
) -> None:
    _, port, name = running
    real = json.loads(inquiry.tell(port, False))
    answer = json.dumps(real | more | {"probed": real["probed"] | probed}).encode()
    port.control.mirroring.why = lambda _: answer
    if len(answer) > inquiry.LONGEST:
        with pytest.raises(IavfioError):
            inquiry.ask(name)
    status, out, error = why(name, "--interval", "0")
    assert status in (0, 1) and len(out) < 25_000 and "internal error" not in error
    assert all(line.isprintable() for text in (out, error) for line in text.split("\n"))
    assert "-2 s" not in out and "41:41:41" not in out and out.count("00:00:00:00:00:00") <= 4


@pytest.mark.parametrize("answer", [b"[" * 60_000, b'{"x":' * 60_000, b'{"probed": {"x": [' * 9000])
def test_an_answer_of_many_levels_is_none(running: tuple[SoftPf, Port, str], answer: bytes) -> None:
    running[1].control.mirroring.why = lambda _: answer[: inquiry.LONGEST]
    with pytest.raises(IavfioError, match="no answer that can be read"):
        inquiry.ask(running[2])
