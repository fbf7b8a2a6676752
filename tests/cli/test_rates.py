# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio stats --interval` and `iavfio schema`, from another process than the port's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import iavfio
from iavfio.errors import IavfioError
from iavfio.live import PortRates, PortTotal, Watch
from iavfio.stats import PortSegment
from iavfio.stats.records import CountersRecord, PortRecord, RemovedRecord
from tests.live.segments import add, running
from tests.port.rig import send_all, udp
from tests.stats.others import NOBODY, in_child

IAVFIO = [sys.executable, "-m", "iavfio.cli"]


@pytest.fixture
def segment() -> Iterator[PortSegment]:
    segment = running(f"rates{os.getpid()}", mode=0o644)
    yield segment
    segment.close()


@pytest.fixture
def shared(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A place of ports that all users may enter, as /dev/shm."""
    with tempfile.TemporaryDirectory(prefix="iavfio-base-") as name:
        Path(name).chmod(0o1777)
        monkeypatch.setenv("IAVFIO_RUNTIME_DIR", name)
        yield Path(name)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [*IAVFIO, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*IAVFIO, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finish(child: subprocess.Popen[str]) -> tuple[str, str]:
    """What it still prints; communicate() would not have what readline() has read ahead."""
    assert child.stdout is not None and child.stderr is not None
    out, error = child.stdout.read(), child.stderr.read()
    child.wait(timeout=60)
    return out, error


def test_a_port_with_traffic_is_watched_while_it_is_reset() -> None:
    name = f"live{os.getpid()}"
    with iavfio.softvf(vfs=1) as pf, pf.open(0, name=name) as port:
        port.start(wait_link=5)
        child = start("stats", name, "--interval", "0.05", "--json")
        assert child.stdout is not None
        lines = [child.stdout.readline()]  # it has taken its first look
        send_all(port, [udp(port.mac, port.mac)] * 20)
        assert sum(len(port.rx[0].recv(timeout=1)) for _ in range(3)) >= 1
        port.reset()
        port.wait_running(10)
        lines += [child.stdout.readline() for _ in range(3)]
        child.send_signal(signal.SIGTERM)
        out, error = finish(child)
    told = [
        msgspec.json.decode(line, type=PortRates | PortTotal)
        for line in [*lines, *out.splitlines()]
    ]
    assert (child.returncode, error) == (143, "")
    *steps, total = told
    assert isinstance(total, PortTotal) and all(isinstance(each, PortRates) for each in steps)
    assert total.tx.packets == 20
    assert total.resets == 1
    assert total.tx.packets == sum(each.tx.packets for each in steps)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_a_summary(segment: PortSegment, number: signal.Signals) -> None:
    child = start("stats", segment.name, "--interval", "0.05")
    assert child.stdout is not None
    first = child.stdout.readline()
    assert f"  {segment.name}  running  rx 0 pps" in first
    add(segment, "rq", 0, packets=11, bytes=660)
    child.stdout.readline()
    child.stdout.readline()
    child.send_signal(number)
    out, error = finish(child)
    assert (child.returncode, error) == (128 + number, "")
    assert out.splitlines()[-1].startswith(f"in all: {segment.name}: ")
    assert "rx 11 packets, 660 bytes" in out.splitlines()[-1]


def test_count_ends_it(segment: PortSegment) -> None:
    done = run("stats", segment.name, "--interval", "0.02", "--count", "3")
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 4


def test_a_port_that_ends_is_said_to_be_gone_and_is_status_1(segment: PortSegment) -> None:
    child = start("stats", segment.name, "--interval", "0.3", "--count", "3")
    assert child.stdout is not None
    child.stdout.readline()
    segment.close()
    out, error = finish(child)
    assert out.count("[gone]") == 1 and "dead" in out
    assert child.returncode == 1
    assert f"no process runs {segment.name} any more" in error


def test_without_a_port_all_are_shown(segment: PortSegment) -> None:
    other = running(f"other{os.getpid()}")
    done = run("stats", "--interval", "0.02", "--count", "1", "--json")
    other.close()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 0
    assert {segment.name, other.name} <= {each["port"] for each in found}
    assert {each["schema"] for each in found} == {"iavfio.stats.rates/1", "iavfio.stats.total/1"}


@pytest.mark.skipif(os.geteuid() != 0, reason="plays another user: needs root")
def test_another_user_that_may_read_it_watches_it(shared: Path) -> None:
    segment = running("open", mode=0o644)
    secret = running(f"secret{os.getpid()}")

    def watch() -> None:
        assert [each.port for each in Watch().step()] == [segment.name]
        Watch([segment.name]).step()
        with pytest.raises(IavfioError, match="may not be read by this user"):
            Watch([secret.name])

    assert in_child(watch, uid=NOBODY) == 0
    secret.close()
    segment.close()


def test_the_schema_describes_every_object_of_stats() -> None:
    done = run("schema", "stats")
    schema = json.loads(done.stdout)
    assert done.returncode == 0
    tags = {f"iavfio.stats.{name}/1" for name in ("counters", "port", "removed", "rates", "total")}
    assert set(schema["discriminator"]["mapping"]) == tags
    rx = schema["$defs"]["PortRates"]["properties"]
    assert rx["seconds"]["description"] == "length of the interval"
    listed = run("schema").stdout.splitlines()
    assert {line.split()[1] for line in listed if line.startswith("stats ")} == tags
    assert "stats  iavfio.stats.counters/1  iavfio stats PORT --json" in listed


def test_what_stats_prints_is_what_the_schema_says(segment: PortSegment) -> None:
    segment.set_global(range(12))
    dump = run("stats", segment.name, "--json", "--pool", "--all").stdout
    record = msgspec.json.decode(dump, type=CountersRecord)
    assert (record.port, record.counters["rx_unicast"], record.link.mbps) == (
        segment.name,
        1,
        10000,
    )
    listed = msgspec.json.decode(run("stats", "--json").stdout, type=list[PortRecord])
    assert segment.name in [each.port for each in listed]
    cleaned = run("stats", "--clean", "--json").stdout
    assert isinstance(msgspec.json.decode(cleaned, type=RemovedRecord), RemovedRecord)


@pytest.mark.parametrize("command", ["stats", "schema", "top", "exporter", "telemetry"])
def test_help_has_an_example_and_the_exit_statuses(command: str) -> None:
    words = " ".join(run(command, "--help").stdout.split())
    assert f"Example: iavfio {command}" in words and "Exit status: 0 done; " in words
    assert words.rpartition("Exit status: ")[2].count("2 wrong use") == 1


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["stats", "p", "--interval", "0"], 2, "0.01 to 3600 seconds"),
        (["stats", "p", "--interval", "-1"], 2, "0.01 to 3600 seconds"),
        (["stats", "p", "--interval", "nan"], 2, "out of range"),
        (["stats", "p", "--interval", "1s"], 2, "'1s' is not a number"),
        (["stats", "p", "--interval", "1", "--count", "0"], 2, "--count 1"),
        (["stats", "p", "--count", "3"], 2, "use --interval 1"),
        (["stats", "p", "--interval", "1", "--pool"], 2, "it shows rates"),
        (["stats", "p", "--interval", "1", "--names", "kernel"], 2, "it shows rates"),
        (["stats", "--clean", "--interval", "1"], 2, "it shows no rates"),
        (["stats", "no-such-port", "--interval", "1"], 2, "no port named 'no-such-port'"),
        (["stats", "../../x", "--interval", "1"], 2, "no port name"),
        (["schema", "stat"], 2, "did you mean stats?"),
        (["schema", "zzz"], 2, "known are "),
    ],
)
def test_wrong_use(arguments: list[str], status: int, words: str) -> None:
    done = run(*arguments)
    assert (done.returncode, done.stdout) == (status, "")
    assert words in done.stderr
