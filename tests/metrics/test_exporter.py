# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of ports and software PFs, read by the parser of Prometheus' own client."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import iavfio
from iavfio.errors import IavfioError
from iavfio.metrics.table import metrics
from iavfio.softvf.asking import Questions
from iavfio.stats import GLOBAL, RX, TX
from iavfio.stats.names import PORT
from tests.live.segments import add, running
from tests.port.rig import drained, send_all, udp, until
from tests.stats.others import in_child

pytest.importorskip("prometheus_client")

from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as plain_parse

from iavfio.metrics.server import openmetrics, registry, serving
from iavfio.metrics.softvf import WIRE, WIRE_DROPS, SoftPfCollector

IAVFIO = [sys.executable, "-m", "iavfio.cli"]
strict_parse: Callable[[str], Iterable[Family]] = openmetrics_parser.text_string_to_metric_families


def scraped(*software_pfs: Path) -> dict[str, Family]:
    """The families by name, as the strict parser of OpenMetrics takes them."""
    told = openmetrics(registry(SoftPfCollector(software_pfs)))
    return {each.name: each for each in strict_parse(told)}


def value(families: dict[str, Family], name: str, **labels: str) -> float | None:
    """The value of one sample; None when there is none."""
    for family in families.values():
        for sample in family.samples:
            if sample.name == name and labels.items() <= sample.labels.items():
                return float(sample.value)
    return None


def test_every_counter_has_one_metric_with_its_unit_and_meaning() -> None:
    expected = {
        (block, each.name)
        for block, table in (("port", PORT), ("vf", GLOBAL), ("rq", RX), ("sq", TX))
        for each in table
        if not each.still
    }
    found = [(each.block, name) for each in metrics() for name in each.counters.values()]
    assert len(found) == len(set(found)) and set(found) == expected
    tables = {"port": PORT, "vf": GLOBAL, "rq": RX, "sq": TX}
    for each in metrics():
        assert each.name.endswith(each.unit)
        for name in each.counters.values():
            counter = next(one for one in tables[each.block] if one.name == name)
            meaning = counter.meaning.removeprefix("dropped: ").removeprefix("refused: ")
            assert meaning.lower() in each.help.lower()
            assert each.unit == ("" if counter.unit == "events" else counter.unit)
    assert len({each.name for each in metrics()}) == len(list(metrics()))


def test_a_scrape_has_ports_queues_and_reasons() -> None:
    segment = running("p0")
    add(segment, "rq", 1, packets=7, bytes=420, drop_error=3)
    add(segment, "sq", 0, refused_full=2, drop_reset=1)
    segment.set_global(range(100, 112))
    segment.set_state("resetting")
    segment.set_state("running")
    families = scraped()
    port = {"port": "p0"}
    for name, labels, expected in [
        ("iavfio_rx_queue_packets_total", {"queue": "1"}, 7),
        ("iavfio_rx_queue_packets_total", {"queue": "0"}, 0),
        ("iavfio_rx_queue_bytes_total", {"queue": "1"}, 420),
        ("iavfio_rx_queue_dropped_packets_total", {"queue": "1", "reason": "error"}, 3),
        ("iavfio_tx_queue_dropped_packets_total", {"queue": "0", "reason": "refused_full"}, 2),
        ("iavfio_tx_queue_dropped_packets_total", {"queue": "0", "reason": "reset"}, 1),
        ("iavfio_vf_rx_bytes_total", {}, 100),
        ("iavfio_vf_rx_unicast_packets_total", {}, 101),
        ("iavfio_vf_rx_dropped_packets_total", {"reason": "discards"}, 104),
        ("iavfio_vf_tx_dropped_packets_total", {"reason": "errors"}, 111),
        ("iavfio_port_resets_total", {}, 1),
        ("iavfio_port_link_changes_total", {}, 1),
        ("iavfio_port_link_up", {}, 1),
        ("iavfio_port_link_speed_bits_per_second", {}, 1e10),
        ("iavfio_port_state", {"iavfio_port_state": "running"}, 1),
        ("iavfio_port_state", {"iavfio_port_state": "failed"}, 0),
        ("iavfio_port_info", {"device": "/p0.sock"}, 1),
    ]:
        assert value(families, name, **port, **labels) == expected, name
    assert families["iavfio_rx_queue_packets"].unit == "packets"
    assert families["iavfio_rx_queue_bytes"].type == "counter"
    segment.close()


def test_counters_of_the_pf_are_not_there_before_it_answered() -> None:
    segment = running("p0")
    assert value(scraped(), "iavfio_vf_rx_bytes_total", port="p0") is None
    assert value(scraped(), "iavfio_port_sample_age_seconds", port="p0") is None
    segment.set_global([0] * 12)
    assert value(scraped(), "iavfio_vf_rx_bytes_total", port="p0") == 0
    segment.close()


def test_dead_ports_vanish_whether_closed_or_killed() -> None:
    segment = running("p0")
    assert in_child(lambda: running("dead")) == 0
    assert value(scraped(), "iavfio_port_link_up", port="p0") == 1
    assert value(scraped(), "iavfio_port_link_up", port="dead") is None
    segment.close()
    assert value(scraped(), "iavfio_port_link_up", port="p0") is None


def test_a_label_may_hold_any_character() -> None:
    from iavfio.stats import PortSegment

    segment = PortSegment.create("p0", 1, device='/a "b"\\c/vf0.sock')
    assert value(scraped(), "iavfio_port_info", device='/a "b"\\c/vf0.sock') == 1
    segment.close()


def test_counters_of_a_real_port_do_not_go_back_over_a_reset() -> None:
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name="live") as port:
        port.start(wait_link=5)
        send_all(port, [udp(port.mac, port.mac)] * 20)
        assert until(lambda: drained(port))
        port.refresh_stats()
        before = scraped()
        port.reset()
        port.wait_running(10)
        port.refresh_stats()
        after = scraped()
    counted = 0
    for family in before.values():
        if family.type != "counter":
            continue
        for sample in family.samples:
            now = value(after, sample.name, **sample.labels)
            assert now is not None and now >= sample.value, sample
            counted += 1
    assert counted > 40
    assert value(after, "iavfio_tx_queue_posted_packets_total", port="live") == 20
    assert value(after, "iavfio_port_resets_total", port="live") == 1


def test_a_software_pf_is_scraped_by_its_directory(tmp_path: Path) -> None:
    with iavfio.softvf(vfs=2) as pf, pf.open(0, name="live") as port:
        port.start(wait_link=5)
        send_all(port, [udp(port.mac, port.mac)] * 20)
        families = scraped(pf.directory, tmp_path / "none")
        here = {"pf": str(pf.directory)}
        assert value(families, "iavfio_softvf_up", **here) == 1
        assert value(families, "iavfio_softvf_up", pf=str(tmp_path / "none")) == 0
        assert value(families, "iavfio_softvf_vf_connected", **here, vf="0") == 1
        assert value(families, "iavfio_softvf_vf_connected", **here, vf="1") == 0
        sent = pf.control("stats", vf=0)["stats"]["tx_unicast"]
        assert sent == value(families, "iavfio_softvf_vf_tx_unicast_packets_total", **here, vf="0")
        wire = pf.control("wire")["wire"]
        shown = value(families, "iavfio_softvf_wire_sent_packets_total", **here)
        assert shown == wire["sent"]
        lost = value(
            families, "iavfio_softvf_wire_dropped_packets_total", **here, reason="unmatched"
        )
        assert lost == wire["unmatched"]


GOOD: dict[str, Any] = {
    "info": {"ok": True, "vfs": [{"index": 0, "connected": True, "resets": 3}]},
    "stats": {"ok": True, "stats": {each.name: 7 for each in GLOBAL}},
    "wire": {"ok": True, "wire": dict.fromkeys([*(each[0] for each in WIRE), *WIRE_DROPS], 5)},
    "log": {"ok": True, "counts": [{"vf": -1, "kind": "violation", "rule": "r 1", "count": 2}]},
}


@contextlib.contextmanager
def software_pf(reply: Callable[[str, socket.socket], None]) -> Iterator[Path]:
    """A directory whose control socket answers by `reply`, which gets the command."""
    with (
        tempfile.TemporaryDirectory(prefix="iavfio-x-") as name,
        socket.socket(socket.AF_UNIX) as odd,
    ):
        odd.bind(f"{name}/control.sock")
        odd.listen(8)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = odd.accept()
                    with line, contextlib.suppress(OSError, ValueError):
                        reply(json.loads(line.recv(1 << 16))["command"], line)

        server = threading.Thread(target=serve)
        server.start()
        try:
            yield Path(name)
        finally:
            odd.shutdown(socket.SHUT_RDWR)
            server.join()


def answering(answers: dict[str, Any]) -> Callable[[str, socket.socket], None]:
    """Replies as a dict has them: text goes as it is, all else as JSON."""

    def reply(command: str, line: socket.socket) -> None:
        told = answers[command]
        line.sendall((told if isinstance(told, str) else json.dumps(told)).encode() + b"\n")

    return reply


def with_one(command: str, *path: Any, told: Any) -> dict[str, Any]:
    """Good answers but for one value."""
    answers = copy.deepcopy(GOOD)
    at = answers[command]
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = told
    return answers


def test_good_answers_are_shown_as_they_are() -> None:
    with software_pf(answering(GOOD)) as directory:
        families = scraped(directory, directory)
        labels = {"pf": str(directory)}
    assert value(families, "iavfio_softvf_up", **labels) == 1
    assert value(families, "iavfio_softvf_vf_resets_total", **labels, vf="0") == 3
    told = {"vf": "-1", "kind": "violation", "rule": "r 1"}
    assert value(families, "iavfio_softvf_violations_total", **labels, **told) == 2


ANYWHERE = ["", "nonsense", "[]", '{"ok": false}', '{"ok": true}', "[" * 200_000, "1" * 20_000]
ANYWHERE += ['{"ok": 1, "vfs": []}', '{"ok": false, "error": "\\ud800\\u001b]0;x"}']
NUMBERS: list[Any] = ["x", "1", True, 1.0, -1, 1 << 64, 10**400, float("nan"), float("inf"), None]
ODD: list[dict[str, Any]] = [dict.fromkeys(GOOD, told) for told in ANYWHERE]
ODD += [with_one("info", "vfs", 0, "resets", told=told) for told in NUMBERS]
ODD += [with_one("info", "vfs", 0, "index", told=told) for told in NUMBERS]
ODD += [with_one("stats", "stats", "rx_bytes", told=told) for told in NUMBERS]
ODD += [with_one("wire", "wire", "sent", told=told) for told in NUMBERS]
ODD += [with_one("log", "counts", 0, "count", told=told) for told in NUMBERS]
ODD += [with_one("info", "vfs", 0, "connected", told=told) for told in (1, "no", None)]
NO_VFS: list[Any] = [7, {}, [{}], [7], GOOD["info"]["vfs"] * 2]
ODD += [with_one("info", "vfs", told=told) for told in NO_VFS]
ODD += [with_one("log", "counts", told=told) for told in (7, [7], GOOD["log"]["counts"] * 2)]
ODD += [with_one("log", "counts", 0, "rule", told=told) for told in (7, None, ["a"])]


@pytest.fixture(scope="module")
def odd_pf() -> Iterator[tuple[dict[str, Any], Path]]:
    """A software PF whose answers each test sets."""
    answers: dict[str, Any] = {}
    with software_pf(answering(answers)) as directory:
        yield answers, directory


@pytest.mark.parametrize("at", range(len(ODD)))
def test_odd_answers_of_a_software_pf_spoil_no_scrape(
    odd_pf: tuple[dict[str, Any], Path], at: int
) -> None:
    answers, directory = odd_pf
    answers |= ODD[at]
    segment = running("p0")
    families = scraped(directory)
    segment.close()
    assert value(families, "iavfio_softvf_up", pf=str(directory)) == 0
    assert value(families, "iavfio_port_link_up", port="p0") == 1


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rule=st.text(), kind=st.text(max_size=300), count=st.integers() | st.floats())
def test_any_text_and_number_of_a_software_pf_can_be_scraped(
    odd_pf: tuple[dict[str, Any], Path], rule: str, kind: str, count: float
) -> None:
    answers, directory = odd_pf
    told = [{"vf": 0, "kind": kind, "rule": rule, "count": count}]
    answers |= with_one("log", "counts", told=told)
    families = scraped(directory)
    good = type(count) is int and 0 <= count < 1 << 64
    assert value(families, "iavfio_softvf_up", pf=str(directory)) == float(good)


@pytest.mark.parametrize("piece", [b" ", b"[" * 65536], ids=["slowly", "for ever"])
def test_an_answer_without_an_end_costs_the_time_or_the_size_that_was_set(piece: bytes) -> None:
    def drip(command: str, line: socket.socket) -> None:
        for _ in range(600):
            line.sendall(piece)
            if len(piece) == 1:
                time.sleep(0.05)

    with (
        software_pf(drip) as directory,
        pytest.raises(IavfioError, match=r"in time|timed out|longer than 1048576 bytes"),
    ):
        Questions(0.3 if len(piece) == 1 else 60, 1 << 20).ask(directory, "info")


@pytest.mark.parametrize("how", ["absent", "full", "silent", "odd"])
def test_a_software_pf_that_does_not_answer_once_is_trouble(how: str, tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        path = tmp_path / "control.sock"
        if how != "absent":
            listener = stack.enter_context(socket.socket(socket.AF_UNIX))
            listener.bind(str(path))
            listener.listen(0)
        if how == "full":
            waiting = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(8)]
            for each in waiting:
                each.setblocking(False)
                each.connect_ex(str(path))
        if how == "odd":
            threading.Thread(target=answer_once, args=(listener,), daemon=True).start()
        done = run("exporter", "--softvf", str(tmp_path), "--once")
    assert done.returncode == 1, done.stderr
    families = {each.name: each for each in strict_parse(done.stdout)}
    assert value(families, "iavfio_softvf_up", pf=str(tmp_path)) == 0
    first, remedy = done.stderr.splitlines()
    cause = {
        "absent": "No such file or directory",
        "full": "its backlog is full",
        "silent": "it has not answered in time",
        "odd": "tells no counters: ",
    }[how]
    assert first.startswith("iavfio: ") and cause in first and str(tmp_path) in first
    assert remedy.startswith("  ")
    assert ("ss -xlp" in remedy) == (how != "absent")


def answer_once(listener: socket.socket) -> None:
    client, _ = listener.accept()
    with client:
        client.recv(4096)
        client.sendall(b'{"ok": true}\n')


def test_all_software_pfs_of_a_scrape_share_one_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prometheus waits for 10 s: silent ones must not cost that, nor the others their places."""
    ended = threading.Event()
    monkeypatch.setattr("iavfio.metrics.softvf.SECONDS", 1.0)
    with contextlib.ExitStack() as stack:
        stack.callback(ended.set)
        silent = [
            stack.enter_context(software_pf(lambda *_: (ended.wait(30), None)[1])) for _ in range(3)
        ]
        stack.callback(ended.set)
        good = stack.enter_context(software_pf(answering(GOOD)))
        began = time.monotonic()
        families = scraped(*silent, good)
        assert time.monotonic() - began < 8
        assert value(families, "iavfio_softvf_up", pf=str(good)) == 1
        assert [value(families, "iavfio_softvf_up", pf=str(each)) for each in silent] == [0.0] * 3


def test_it_serves_both_formats_over_http_and_ends_by_a_signal() -> None:
    segment = running("p0")
    child = subprocess.Popen(
        [*IAVFIO, "exporter", "--listen", "127.0.0.1:0"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    url = child.stdout.readline().removeprefix("serving metrics at ").strip()
    with urllib.request.urlopen(url, timeout=30) as answer:
        plain = {each.name for each in plain_parse(answer.read().decode())}
    request = urllib.request.Request(url, headers={"Accept": "application/openmetrics-text"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        strict = {each.name for each in strict_parse(answer.read().decode())}
    child.send_signal(signal.SIGTERM)
    _, error = child.communicate(timeout=60)
    segment.close()
    assert (child.returncode, error) == (143, "")
    assert {"iavfio_rx_queue_packets", "iavfio_port_resets"} <= plain & strict


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*IAVFIO, *arguments],
        capture_output=True, text=True, timeout=60, check=False, env=os.environ | env,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done


def test_once_prints_and_ends() -> None:
    segment = running("p0")
    done = run("exporter", "--once")
    segment.close()
    assert done.returncode == 0
    assert "iavfio_rx_queue_packets" in {each.name for each in strict_parse(done.stdout)}


def test_without_the_client_the_command_that_installs_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "prometheus_client.py").write_text(
        "raise ModuleNotFoundError('gone', name='prometheus_client')\n", encoding="utf-8"
    )
    done = run("exporter", PYTHONPATH=f"{tmp_path}:{Path(iavfio.__file__).parents[1]}")
    assert done.returncode == 1
    assert "iavfio[metrics]" in done.stderr
    assert "pip install 'prometheus_client>=0.20'" in done.stderr


@pytest.mark.parametrize(
    ("listen", "status", "words"),
    [
        ("9469", 2, "[::1]:9469"),
        ("localhost", 2, "is no address to listen at"),
        ("127.0.0.1:70000", 2, "is no address to listen at"),
        ("::1:9469", 2, "[::1]:9469"),
        ("http://x:1", 2, "is no address to listen at"),
        ("", 2, "is no address to listen at"),
        ("203.0.113.7:0", 2, "--listen 127.0.0.1:9469"),
        ("no.such.host.invalid:0", 2, "--listen 127.0.0.1:9469"),
        ("a..b:1", 2, "'a..b' is no name of a host"),
        (f"{'a' * 64}.de:1", 2, "--listen 127.0.0.1:9469"),
        ("\u0661:1", 2, "--listen 127.0.0.1:9469"),
    ],
)
def test_an_address_that_cannot_be(listen: str, status: int, words: str) -> None:
    done = run("exporter", "--listen", listen)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr


@pytest.mark.parametrize(
    ("host", "url"),
    [("0.0.0.0", r"http://127\.0\.0\.1:\d+/metrics"), ("127.0.0.2", r"http://127\.0\.0\.2:\d+/.*")],
)
def test_the_url_is_one_that_can_be_scraped(host: str, url: str) -> None:
    with serving(host, 0, registry()) as told:
        assert re.fullmatch(url, told)
        with urllib.request.urlopen(told, timeout=30) as answer:
            assert b"iavfio_port" in answer.read()


def switches(thread: threading.Thread) -> int:
    """How often a thread has waited for something."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])


def test_a_server_that_nobody_asks_wakes_up_for_its_end_alone() -> None:
    """One that looked for its end now and then would let Ctrl-C wait until it looks."""
    before = set(threading.enumerate())
    with serving("127.0.0.1", 0, registry()):
        (thread,) = set(threading.enumerate()) - before
        time.sleep(0.3)
        waited = switches(thread)
        time.sleep(1.2)
        assert switches(thread) == waited
    assert not thread.is_alive()


def test_a_port_that_is_taken_names_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        done = run("exporter", "--listen", f"127.0.0.1:{number}")
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "ss -ltnp" in done.stderr and "--listen 127.0.0.1:0" in done.stderr
