# SPDX-License-Identifier: BSD-3-Clause
"""Metrics of ports and software PFs, read by the parser of Prometheus' own client."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

import iavfio
from iavfio.metrics.table import metrics
from iavfio.stats import GLOBAL, RX, TX
from iavfio.stats.names import PORT
from tests.live.segments import add, running
from tests.port.rig import drained, send_all, udp, until
from tests.stats.others import in_child

pytest.importorskip("prometheus_client")

from prometheus_client import Metric as Family
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families as plain_parse

from iavfio.metrics.server import openmetrics, registry

IAVFIO = [sys.executable, "-m", "iavfio.cli"]
strict_parse: Callable[[str], Iterable[Family]] = openmetrics_parser.text_string_to_metric_families


def scraped(*software_pfs: Path) -> dict[str, Family]:
    """The families by name, as the strict parser of OpenMetrics takes them."""
    return {each.name: each for each in strict_parse(openmetrics(registry(software_pfs)))}


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


ODD = ["", "nonsense", "[]", '{"ok": false}', '{"ok": true}', '{"ok": true, "vfs": [{}]}']
ODD += ['{"ok": true, "vfs": 7}', '{"ok": true, "vfs": [{"index": 0}], "stats": {}, "wire": {}}']


@pytest.mark.parametrize("answer", ODD)
def test_odd_answers_of_a_software_pf_spoil_no_scrape(answer: str) -> None:
    segment = running("p0")
    with (
        tempfile.TemporaryDirectory(prefix="iavfio-x-") as name,
        socket.socket(socket.AF_UNIX) as odd,
    ):
        odd.bind(f"{name}/control.sock")
        odd.listen(8)

        def reply() -> None:
            with contextlib.suppress(OSError):
                while True:
                    line, _ = odd.accept()
                    with line:
                        line.recv(1 << 16)
                        line.sendall(answer.encode() + b"\n")

        server = threading.Thread(target=reply)
        server.start()
        families = scraped(Path(name))
        odd.shutdown(socket.SHUT_RDWR)
        server.join()
    segment.close()
    assert value(families, "iavfio_softvf_up", pf=name) == 0
    assert value(families, "iavfio_port_link_up", port="p0") == 1


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
    ],
)
def test_an_address_that_cannot_be(listen: str, status: int, words: str) -> None:
    done = run("exporter", "--listen", listen)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr


def test_a_port_that_is_taken_names_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        done = run("exporter", "--listen", f"127.0.0.1:{number}")
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert "ss -ltnp" in done.stderr and "--listen 127.0.0.1:0" in done.stderr
