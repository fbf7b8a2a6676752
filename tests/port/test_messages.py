# SPDX-License-Identifier: BSD-3-Clause
"""What a port says of its own accord: notes, events and log lines say the same."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

import iavfio
from iavfio.logs import FLOOD, SAME_LINES, FloodFilter, logger
from iavfio.port.events import PortEvent
from iavfio.port.status import PortStatus
from tests.port.rig import until, works


def lines(caplog: pytest.LogCaptureFixture, room: str = "port") -> list[tuple[int, str]]:
    return [(level, text) for name, level, text in caplog.record_tuples if name == f"iavfio.{room}"]


def said(caplog: pytest.LogCaptureFixture, level: int, text: str, room: str = "port") -> bool:
    return any(at == level and text in line for at, line in lines(caplog, room))


# ---- one place makes all three


def test_a_note_is_an_event_and_a_line_and_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iavfio")
    status, seen = PortStatus("p"), list[PortEvent]()
    status.on_event.append(seen.append)
    with status.lock:
        for _ in range(3):
            status.note("the sky falls:\n  hold it")
    assert status.notes == ["the sky falls:\n  hold it"]
    assert seen == [PortEvent("note", "the sky falls:\n  hold it")]
    assert lines(caplog) == [(logging.WARNING, "p: the sky falls:; hold it")]


def test_a_condition_is_said_once_until_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iavfio")
    status, seen = PortStatus("p"), list[str]()
    status.on_event.append(lambda event: seen.append(event.kind))
    with status.lock:
        status.begin("rain", "it rains")
        status.begin("rain", "it rains harder")
    assert status.notes == ["it rains"] and status.conditions == {"rain"}
    with status.lock:
        status.end("rain")
        status.end("rain")
    assert status.notes == [] and status.conditions == frozenset()
    with status.lock:
        status.begin("rain", "it rains again")
    assert seen == ["note", "over", "note"]
    assert lines(caplog) == [
        (logging.WARNING, "p: it rains"),
        (logging.INFO, "p: no longer so: it rains"),
        (logging.WARNING, "p: it rains again"),
    ]


# ---- floods


def test_a_flood_is_counted_and_summed_up(caplog: pytest.LogCaptureFixture) -> None:
    now = [100.0]
    flood = FloodFilter(lambda: now[0])
    log = logging.getLogger("iavfio.flood")
    log.addFilter(flood)
    caplog.set_level(logging.INFO, "iavfio.flood")
    for number in range(1000):
        log.info("%s: stray message %d", "vf0", number)
        log.info("%s: stray message %d", "vf1", number)  # another port's lines are its own
    assert len(lines(caplog, "flood")) == 2 * SAME_LINES
    now[0] += FLOOD
    log.info("%s: something else", "vf0")
    left = 1000 - SAME_LINES
    for port in ("vf0", "vf1"):
        assert said(
            caplog,
            logging.INFO,
            f"{port}: stray message 999 ({left} more such lines in 1.0 s)",
            "flood",
        )
    assert len(lines(caplog, "flood")) == 2 * SAME_LINES + 3
    log.info("%s: stray message %d", "vf0", 1000)
    assert lines(caplog, "flood")[-1][1] == "vf0: stray message 1000"


def test_sums_come_without_another_line(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    flood = FloodFilter(lambda: now[0])
    log = logging.getLogger("iavfio.flood2")
    log.addFilter(flood)
    caplog.set_level(logging.INFO, "iavfio.flood2")
    for _ in range(SAME_LINES + 5):
        log.warning("again")
    flood.settle()
    assert len(lines(caplog, "flood2")) == SAME_LINES
    now[0] += FLOOD
    flood.settle()
    assert lines(caplog, "flood2")[-1] == (logging.WARNING, "again (5 more such lines in 1.0 s)")
    flood.settle(at_once=True)
    assert len(lines(caplog, "flood2")) == SAME_LINES + 1


def test_many_kinds_of_lines_take_no_memory() -> None:
    flood = FloodFilter(lambda: 0.0)
    for number in range(5000):
        record = logging.makeLogRecord({"name": "x", "msg": f"{'a' * number}"})
        assert flood.filter(record)
    assert len(vars(flood)["_kinds"]) < 600


def test_loggers_are_silent_and_limited() -> None:
    for room in ("port", "virtchnl", "pyvfio", "softvf"):
        assert any(isinstance(f, FloodFilter) for f in logger(room).filters)
    script = (
        "import logging, iavfio, iavfio.port.port\n"
        "logging.getLogger('iavfio.port').warning('loud')\n"
        "logging.getLogger('iavfio.pyvfio').error('loud')\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
    assert done.stderr == b""


# ---- the life of a port


def test_a_reset_an_outage_and_the_end_of_the_pf_are_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, "iavfio")
    with iavfio.softvf() as pf, pf.open() as port:
        port.start(wait_link=10)
        assert until(lambda: said(caplog, logging.INFO, "vf0: running"))
        assert until(lambda: said(caplog, logging.INFO, "vf0: link up, 100 Gbit/s"))
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1)
        assert until(lambda: said(caplog, logging.WARNING, "vf0: the VF is reset: "))
        outage = f"vf0: works again after {port.resets[0].outage * 1e3:.1f} ms"
        assert until(lambda: said(caplog, logging.INFO, outage))
        pf.control("link", vf=0, state="disable")
        assert until(lambda: said(caplog, logging.INFO, "vf0: link down"))
        pf.control("pf_driver", state="unload")
        assert until(lambda: port.state == "failed")
        assert until(lambda: said(caplog, logging.ERROR, "vf0: the device is gone"))
        assert until(lambda: said(caplog, logging.WARNING, "the device is gone", "pyvfio"))
    assert until(lambda: said(caplog, logging.INFO, "vf0: closed"))
    assert until(lambda: said(caplog, logging.INFO, "opened by vfio-user", "pyvfio"))
    assert until(lambda: said(caplog, logging.INFO, "ended", "softvf"))


def test_the_end_of_a_server_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iavfio")
    pf = iavfio.softvf()
    with pf.open() as port:
        port.start(wait_link=10)
        pf.close()
        assert until(lambda: port.state == "failed")
        assert until(lambda: said(caplog, logging.ERROR, "vf0: the device is gone"))


def test_a_reset_is_told_while_it_lasts_and_its_callback_may_do_anything() -> None:
    with iavfio.softvf(options={"reset_ms": 300}) as pf, pf.open() as port:
        port.start(wait_link=10)
        states: list[tuple[str, str]] = []
        port.on_event.append(lambda event: states.append((event.kind, port.state)))
        pf.control("reset", vf=0)
        assert until(lambda: len(port.resets) == 1 and ("recovered", "running") in states)
        assert states[0] == ("reset", "resetting")
        kinds = [kind for kind, _ in states if kind != "link"]
        assert kinds == ["reset", "recovered"]
    with iavfio.softvf(options={"reset_ms": 300}) as pf, pf.open() as port:
        port.start(wait_link=10)
        port.on_event.append(lambda event: port.close() if event.kind == "reset" else None)
        pf.control("reset", vf=0)
        assert until(lambda: port.state == "closed")


def test_an_outage_is_measured_to_the_first_packet_too(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "iavfio")
    with iavfio.softvf() as pf, pf.open() as port:
        port.start(wait_link=10)
        works(port)
        kinds: list[str] = []
        port.on_event.append(lambda event: kinds.append(event.kind))
        record = port.reset()
        assert record is port.resets[-1]
        assert record.first_packet is None and "traffic" not in kinds
        works(port)
        assert until(lambda: record.first_packet is not None)
        assert record.first_packet is not None and record.first_packet > record.outage > 0
        assert until(lambda: kinds.count("traffic") == 1)
        works(port)
        told = f"the first packet came after {record.first_packet * 1e3:.1f} ms"
        assert said(caplog, logging.INFO, told) and caplog.text.count("first packet came") == 1
        for _ in range(2):  # the first of two resets in a row sees no packet
            port.reset()
        works(port)
        assert until(lambda: port.resets[-1].first_packet is not None)
        assert port.resets[-2].first_packet is None


def test_every_event_is_a_line_and_every_note_an_event(caplog: pytest.LogCaptureFixture) -> None:
    """Of a port that meets a refusal, a new address, a reset and a link that goes and comes."""
    caplog.set_level(logging.DEBUG, "iavfio.port")
    with iavfio.softvf() as pf, pf.open() as port:
        seen = list[PortEvent]()
        port.on_event.append(seen.append)
        before = list(port.notes)
        pf.control("fault", vf=0, kind="retval", opcode=5, count=1, value=-5)
        port.start(wait_link=10)
        pf.control("mac", vf=0, mac="02:00:00:00:00:77")
        assert until(lambda: len(port.resets) == 1)
        pf.control("link", vf=0, state="disable")
        assert until(lambda: not port.link.up)
        pf.control("fault", vf=0, kind="retval", opcode=15, count=1, value=-5)
        assert until(lambda: any("counters are not renewed" in note for note in port.notes))
        kinds = {event.kind for event in seen}
        assert kinds >= {"link", "mac", "reset", "recovered", "note"}
        for event in seen:
            assert any(event.text.splitlines()[0] in line for _, line in lines(caplog)), event

        def noted() -> list[str]:
            return [event.text for event in seen if event.kind == "note"]

        # A note is there before the event that tells it.
        assert until(lambda: noted() == [note for note in port.notes if note not in before])


def test_what_the_spoof_check_eats_is_said_at_the_first_refresh() -> None:
    """The counters are compared from the start on, not from the first look of housekeeping."""
    with iavfio.softvf(vfs=2, uplink="none") as pf, pf.open(0) as port:
        port.start(wait_link=5)
        frame = bytes.fromhex("020000000001020000aabbcc0800") + bytes(50)
        with port.tx[0].build([frame] * 100) as burst:
            assert port.tx[0].send(burst) == 100

        def said() -> bool:
            port.refresh_stats()
            return any("spoof" in note for note in port.notes)

        assert until(said)
        (note,) = [note for note in port.notes if "spoof" in note]
        assert "spoofchk off" in note
