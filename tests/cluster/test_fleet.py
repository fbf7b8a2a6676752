# SPDX-License-Identifier: BSD-3-Clause
"""Fleets on dask, with hosts in network namespaces: sums, losses, hosts that die, signals."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

import iavfio
from iavfio.fleet import Cluster, Fleet, FleetPlan, Host
from tests.cluster.lab import SCHEDULER, START, Lab, missing, until

if importlib.util.find_spec("distributed") is None:
    pytest.skip("dask is not installed: make test-fleet installs it", allow_module_level=True)
LACK = missing()
if LACK:
    pytest.skip(LACK, allow_module_level=True)

SENDERS, RECEIVER = ("west", "north"), "east"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with Lab(tmp_path_factory.mktemp("lab"), (*SENDERS, RECEIVER)) as lab:
        yield lab


def plan(lab: Lab, goals: str = "", **traffic: object) -> str:
    """The path of a plan in which all senders of the lab send to the receiver."""
    told = {"rate": "2kpps", "duration": 0.5, "rejoin": 15} | traffic
    text = f'[engine]\nscheduler = "{SCHEDULER}"\n[traffic]\n'
    text += "".join(f"{name} = {json.dumps(value)}\n" for name, value in told.items())
    text += f"[goals]\n{goals}\n"
    for name, host in lab.hosts.items():
        role = "receiver" if name == RECEIVER else "sender"
        text += f'[[host]]\nname = "{name}"\nport = "{host.port}"\nrole = "{role}"\nring = 4096\n'
    path = lab.folder / "plan.toml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def fleet(lab: Lab, *words: str) -> tuple[int, dict[str, Any], str]:
    """Exit status, JSON object and stderr of a command."""
    child = lab.iavfio("fleet", *words, "--json")
    out, err = child.communicate(timeout=90)
    assert "Traceback" not in err, err
    return child.returncode, json.loads(out), err


def test_the_sums_over_all_hosts_are_even(lab: Lab) -> None:
    from iavfio.fleet.records import FleetBenchRecord

    status, told, err = fleet(lab, "bench", plan(lab, verify=True))
    record = msgspec.convert(told, FleetBenchRecord)
    counts = {host.name: host for host in record.hosts}
    assert all(counts[name].sent > 0 for name in SENDERS), err
    assert record.sent == sum(counts[name].sent for name in SENDERS)
    assert record.received == counts[RECEIVER].received > 0
    assert record.sent == record.received - record.duplicated + record.lost
    assert record.lost == record.lost_named + record.lost_unnamed
    assert (status == 0) == record.sound == (record.lost == 0)
    assert [each.to for each in record.members if each.name in SENDERS] == [[RECEIVER]] * 2
    for each in record.members:  # one kernel has one clock
        assert each.clock is not None and abs(each.clock.offset_s) <= each.clock.error_s
    assert min(counts[name].start_s or 0.0 for name in SENDERS) == 0


def test_what_a_switch_swallows_is_lost_between_the_hosts(lab: Lab) -> None:
    lab.hosts["west"].unplug()
    try:
        status, told, err = fleet(lab, "bench", plan(lab), "--no-preflight")
    finally:
        lab.hosts["west"].unplug(down=False)
    west = next(host for host in told["hosts"] if host["name"] == "west")
    assert status == 1 and west["sent"] > 0
    assert told["lost_unnamed"] >= west["sent"]
    assert "between the hosts" in err and not told["sound"]


def test_a_search_finds_what_is_carried(lab: Lab) -> None:
    from iavfio.fleet.records import FleetNdrRecord

    status, told, err = fleet(lab, "ndr", plan(lab, "max_rate = 1000\ntrials = 1\nprecision = 0.5"))
    record = msgspec.convert(told, FleetNdrRecord)
    (size,) = record.report.sizes
    assert (status == 0) == (size.throughput is not None), err
    assert size.trials[0].asked_pps == 1000
    assert record.failures == [] and record.ended_early == ""


def pids(lab: Lab, name: str) -> list[int]:
    """The worker process of a host, or those below its nanny."""
    worker = lab.hosts[name].worker
    assert worker is not None
    if "--no-nanny" in worker.args:  # type: ignore[operator]
        return [worker.pid]
    found = [each.read_text() for each in Path(f"/proc/{worker.pid}/task").glob("*/children")]
    return [int(pid) for pid in " ".join(found).split()]


def killed_in_a_trial(lab: Lab, name: str, path: str) -> tuple[int, dict[str, Any], str]:
    """A search in whose first trial a host's worker is killed."""
    child = lab.iavfio("fleet", "ndr", path, "--json", "--no-preflight")
    before = lab.hosts[name].on_wire
    assert until(lambda: lab.hosts[name].on_wire > before + 100, START)
    for pid in pids(lab, name):
        subprocess.run(["kill", "-KILL", str(pid)], check=True)
    out, err = child.communicate(timeout=90)
    assert "Traceback" not in err, err
    return child.returncode, json.loads(out), err


def test_a_host_that_dies_ends_the_search_and_is_named(lab: Lab) -> None:
    path = plan(lab, "max_rate = 1000\ntrials = 1\nprecision = 0.5", duration=6, rejoin=1)
    status, told, err = killed_in_a_trial(lab, "north", path)
    assert status == 1
    assert {each["host"] for each in told["failures"]} == {"north"}
    assert not told["failures"][0]["back"] and "north" in told["ended_early"]
    assert "north" in err
    assert until(lambda: not any(host.open for host in lab.hosts.values()))


def test_a_host_that_comes_back_lets_the_search_go_on(lab: Lab) -> None:
    lab.hosts["north"].begin(nanny=True)
    assert until(lambda: bool(pids(lab, "north")), START)
    path = plan(lab, "max_rate = 1000\ntrials = 1\nprecision = 0.5", duration=3, rejoin=30)
    status, told, err = killed_in_a_trial(lab, "north", path)
    assert [(each["host"], each["back"]) for each in told["failures"]] == [("north", True)], err
    assert told["ended_early"] == "" and len(told["report"]["sizes"]) == 1
    assert (status == 0) == (told["report"]["sizes"][0]["throughput"] is not None)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_summary(lab: Lab, number: int, status: int) -> None:
    child = lab.iavfio("fleet", "bench", plan(lab, duration=120), "--json")
    before = lab.hosts["west"].on_wire
    assert until(lambda: lab.hosts["west"].on_wire > before + 100, START)
    child.send_signal(number)
    out, err = child.communicate(timeout=60)
    assert child.returncode == status, err
    told = json.loads(out)
    assert told["interrupted"] and "Traceback" not in err
    assert until(lambda: not any(host.open for host in lab.hosts.values()))


def test_ports_are_closed_when_the_program_is_killed(lab: Lab) -> None:
    child = lab.iavfio("fleet", "bench", plan(lab, duration=120), "--json")
    before = lab.hosts["west"].on_wire
    assert until(lambda: lab.hosts["west"].on_wire > before + 100, START)
    child.kill()
    child.communicate()
    assert until(lambda: not any(host.open for host in lab.hosts.values()), START)


@pytest.fixture
def ssh(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """How asyncssh connects to a server of this host."""
    known = tmp_path / "known_hosts"
    program = str(Path(__file__).with_name("ssh_server.py"))
    with subprocess.Popen([sys.executable, program, str(known)], stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield {"port": port, "username": "anybody", "known_hosts": str(known)}
        server.terminate()


def test_hosts_are_reached_over_ssh(ssh: dict[str, Any]) -> None:
    """Two VFs of one host, which has one worker."""
    worker = {"nthreads": 1, "name": "w"}
    options = {
        "connect_options": ssh,
        "remote_python": sys.executable,
        "worker_options": worker,
    }
    with iavfio.softvf(vfs=2, uplink="none") as pf:
        plan = FleetPlan(
            cluster=Cluster(kind="ssh", hosts=("127.0.0.1",) * 2, options=options),
            hosts=(
                Host("west", pf.sockets[0], "sender", worker="w"),
                Host("east", pf.sockets[1], "receiver", worker="w", ring=4096),
            ),
            rate="2kpps",
            duration=0.3,
        )
        with Fleet(plan) as fleet:
            done = fleet.run()
    assert done.failed == {} and done.sent > 0
    assert done.sent == done.received + done.named + done.unnamed


def test_the_commands_of_the_guide_do_what_they_say(tmp_path: Path) -> None:
    from tests.docs.test_examples import BLOCK, ROOT

    text = (ROOT / "docs/guides/fleet.md").read_text(encoding="utf-8")
    ran = [match for match in BLOCK.finditer(text) if match[2] in ("sh", "python")]
    assert {match[2] for match in ran} == {"sh", "python"}
    for match in ran:
        words = ["bash", "-ec"] if match[2] == "sh" else [sys.executable, "-c"]
        done = subprocess.run(
            [*words, match[4].replace("/tmp/", f"{tmp_path}/")],
            env=_environment(),
            capture_output=True,
            text=True,
            timeout=90,
            cwd=tmp_path,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout


def _environment() -> dict[str, str]:
    import os

    from tests.docs.test_examples import ROOT

    folder = Path(sys.executable).parent
    return os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
