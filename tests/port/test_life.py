# SPDX-License-Identifier: BSD-3-Clause
"""A port's life: resets of every kind, refusals, loss of either side, and what comes after."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.errors import ConfigError, DeviceError, DeviceLost, IavfioError, StateError
from iavfio.port.port import Port
from iavfio.softvf.launch import SoftPf
from tests.port.rig import collect, drained, send_all, udp, until
from tests.port.targets import AS_SERVED, own_process, software_pf

FAST = dict(AS_SERVED)


@pytest.fixture(params=["e810", "x710", "x722"])
def pf(request: pytest.FixtureRequest) -> Iterator[SoftPf]:
    with software_pf(vfs=2, personality=request.param, options=FAST) as pf:
        yield pf


@pytest.fixture
def one() -> Iterator[SoftPf]:
    with software_pf(vfs=2, options=FAST) as pf:
        yield pf


@pytest.fixture
def pool() -> Pool:
    return Pool(4096, huge="never")


def works(port: Port) -> None:
    """Packets come back, and the settings are in force."""
    frames = [udp(port.mac, port.mac, sport=1024 + i) for i in range(64)]
    send_all(port, frames)
    assert sorted(collect(port.rx, 64)) == sorted(frames)
    assert until(lambda: drained(port))


def recovered(port: Port, resets: int) -> bool:
    return until(lambda: len(port.resets) >= resets and port.state == "running")


@pytest.mark.parametrize("notify", [True, False])
def test_vf_reset_by_the_host_is_survived(pf: SoftPf, pool: Pool, notify: bool) -> None:
    with pf.open(0, pool=pool) as port:
        port.configure(queues=2, metadata={"rss"})
        port.start(wait_link=5)
        works(port)
        for n in (1, 2, 3):
            pf.control("reset", vf=0, notify=notify)
            assert recovered(port, n), (port.state, port.notes)
            assert port.wait_link(5).up
            works(port)
            assert 0 < port.resets[-1].outage < 5
    assert pool.idle == pool.size
    assert pf.violations() == []


@pytest.mark.parametrize("kind", ["pfr", "corer", "globr", "empr"])
def test_pf_reset_is_survived(one: SoftPf, pool: Pool, kind: str) -> None:
    with one.open(0, pool=pool) as port, one.open(1, pool=pool) as other:
        for p in (port, other):
            p.start(wait_link=5)
        one.control("pf_reset", kind=kind, latency_ms=20)
        for p in (port, other):
            assert recovered(p, 1), p.notes
            assert p.wait_link(5).up
            works(p)
    assert pool.idle == pool.size
    assert one.violations() == []


def test_own_reset_tells_the_outage_and_rebuilds(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.configure(queues=2)
        port.start(wait_link=5)
        record = port.reset()
        assert record.outage < 5
        assert port.state == "running"
        assert port.wait_link(5).up
        works(port)


# docs/spec/reliability.md F21
def test_reset_under_traffic_loses_no_buffer(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        frames = [udp(port.mac, port.mac)] * 32
        for n in range(1, 6):
            end = time.monotonic() + 0.05
            while time.monotonic() < end or len(port.resets) < n - 1:
                with port.tx[0].build(frames) as burst:
                    port.tx[0].send(burst)
                port.rx[0].recv().release()
            pf.control("reset", vf=0)
            assert recovered(port, n), port.notes
        port.wait_link(5)
        port.rx[0].recv(max=512).release()
        collect(port.rx, 4096, 0.2)
        works(port)
    assert pool.idle == pool.size
    books = port.stats.snapshot().sq[0]
    assert books["posted"] == books["packets"] + books["drop_reset"]


def test_held_burst_stays_valid_through_a_reset(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool) as port:
        port.start(wait_link=5)
        frame = udp(port.mac, port.mac)
        send_all(port, [frame])
        with port.rx[0].recv(timeout=5) as burst:
            one.control("reset", vf=0)
            assert recovered(port, 1)
            assert bytes(burst.bytes(0)) == frame
    assert pool.idle == pool.size


# docs/spec/reliability.md F21
def test_settings_are_in_force_after_a_reset(one: SoftPf, pool: Pool) -> None:
    one.control("trust", vf=0, on=True)
    with one.open(0, pool=pool) as port:
        port.configure(mac="02:00:00:00:00:77", extra_macs=["01:00:5e:00:00:01"], queues=4)
        port.configure(promiscuous=True, all_multicast=True)
        port.start(wait_link=5)
        before = one.control("snapshot", vf=0)["snapshot"]
        one.control("reset", vf=0)
        assert recovered(port, 1)
        after = one.control("snapshot", vf=0)["snapshot"]
    for key in ("macs", "promisc", "rss", "queues"):
        assert after[key] == before[key], key
    assert "02:00:00:00:00:77" in after["macs"]


# docs/spec/reliability.md F26
def test_mac_that_the_host_sets_is_adopted(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        port.start(wait_link=5)
        pf.control("mac", vf=0, mac="02:00:00:00:00:99")
        assert recovered(port, 1), port.notes
        assert port.mac.hex(":") == "02:00:00:00:00:99"
        port.wait_link(5)
        works(port)


# docs/spec/reliability.md F29
def test_link_changes_are_told(pf: SoftPf, pool: Pool) -> None:
    with pf.open(0, pool=pool) as port:
        seen: list[str] = []
        port.on_event.append(lambda event: seen.append(event.kind))
        port.start(wait_link=5)
        pf.control("link", state="down")
        assert until(lambda: not port.link.up)
        pf.control("link", state="up", speed=25000)
        assert port.wait_link(5).mbps == 25000
        assert "link" in seen


# docs/spec/reliability.md F9
def test_untrusted_promiscuity_is_not_believed(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool) as port, one.open(1, pool=pool) as other:
        port.start(wait_link=5)
        other.start(wait_link=5)
        port.set_promiscuous(True)
        foreign = udp(bytes.fromhex("020000000abc"), other.mac)
        send_all(other, [foreign])
        assert collect(port.rx, 1, 0.2) == []
        one.control("trust", vf=0, on=True)
        assert recovered(port, 1)
        port.wait_link(5)
        send_all(other, [foreign])
        assert collect(port.rx, 1) == [foreign]


def test_more_queues_are_requested_from_the_pf(pool: Pool) -> None:
    with (
        software_pf(personality="x710", options=FAST) as pf,
        pf.open(0, pool=pool) as port,
    ):
        assert port.session.resources.queue_pairs == 4
        port.configure(queues=8, ring=64)
        port.start(wait_link=5)
        assert len(port.rx) == 8
        works(port)
        assert pf.violations() == []


# docs/spec/reliability.md F8
def test_pf_that_has_fewer_queues_names_the_number(pool: Pool) -> None:
    options = FAST | {"queue_pool": 6}
    with (
        software_pf(personality="x710", options=options) as pf,
        pf.open(0, pool=pool) as port,
        pytest.raises(ConfigError, match="use queues=6"),
    ):
        port.configure(queues=8)


def test_seventeen_queues_are_refused(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool) as port, pytest.raises(ConfigError, match="use queues=16"):
        port.configure(queues=17)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"ring": 100}, "use ring=128"),
        ({"ring": 32}, "use ring=64"),
        ({"ring": 8192}, "use ring=8160|use ring=4096"),
        ({"mtu": 9703}, "use mtu=9702"),
        ({"metadata": {"colour"}}, "rss"),
        ({"mac": "01:00:5e:00:00:01"}, "group address"),
        ({"mac": "xyz"}, "02:00:00:00:00:01"),
        ({"isa": "sse9"}, "scalar"),
        ({"rss": iavfio.Rss(lut=(0, 5))}, "queue 5"),
    ],
)
def test_impossible_setting_is_refused_and_changes_nothing(
    one: SoftPf, pool: Pool, settings: dict[str, object], words: str
) -> None:
    with one.open(0, pool=pool) as port:
        before = port.settings
        with pytest.raises(ConfigError, match=words):
            port.configure(**settings)  # type: ignore[arg-type]
        assert port.settings == before
        port.start()


def test_forbidden_transitions_say_why(one: SoftPf, pool: Pool) -> None:
    port = one.open(0, pool=pool)
    with pytest.raises(StateError, match=r"start\(\)"):
        port.rx[0].recv()
    port.start()
    with pytest.raises(StateError, match=r"stop\(\)"):
        port.start()
    with pytest.raises(StateError, match=r"stop\(\)"):
        port.configure(queues=2)
    port.stop()
    port.stop()
    with pytest.raises(StateError, match="stopped"):
        port.rx[0].recv()
    port.close()
    port.close()
    with pytest.raises(StateError, match="closed"):
        port.start()


def test_pool_too_small_for_the_rings_is_named(one: SoftPf) -> None:
    small = Pool(256, huge="never")
    with one.open(0, pool=small) as port:
        with pytest.raises(IavfioError, match="larger pool"):
            port.start()
        assert small.idle == small.size
        port.configure(ring=64)
        port.start(wait_link=5)
        frame = udp(port.mac, port.mac)
        send_all(port, [frame])
        assert collect(port.rx, 1) == [frame]


# docs/spec/reliability.md F63
@own_process("it kills the software PF")
def test_killed_software_vf_is_noticed_and_a_new_one_works(pool: Pool) -> None:
    pf = iavfio.softvf()
    port = pf.open(0, pool=pool)
    port.start(wait_link=5)
    os.kill(pf.pid, signal.SIGKILL)
    assert until(lambda: port.state == "failed", 2)
    with pytest.raises(DeviceLost, match="gone"):
        port.rx[0].recv(timeout=1)
    with pytest.raises(DeviceError):
        port.recover()
    port.close()
    pf.close()
    assert pool.idle == pool.size
    with iavfio.softvf() as again, again.open(0, pool=pool) as fresh:
        fresh.start(wait_link=5)
        works(fresh)


# docs/spec/reliability.md F63
def test_killed_driver_leaves_the_software_vf_usable(one: SoftPf, pool: Pool) -> None:
    code = (
        "import sys, iavfio\n"
        "p = iavfio.open(sys.argv[1]); p.configure(queues=2); p.start(wait_link=5)\n"
        "print('up', flush=True)\n"
        "while True:\n"
        "    with p.tx[0].build([bytes(64)] * 32) as b: p.tx[0].send(b)\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, one.sockets[0]], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "up\n"
    child.kill()
    child.wait()
    child.stdout.close()
    with one.open(0, pool=pool) as port:
        port.start(wait_link=5)
        works(port)


# docs/spec/reliability.md F31
@own_process("a PCI slot does not come back")
def test_surprise_removal_is_told_at_once(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool) as port:
        port.start(wait_link=5)
        one.control("remove", vf=0)
        assert until(lambda: port.state == "failed", 2)
        assert "gone" in port.why_stopped()
    assert pool.idle == pool.size


# docs/spec/reliability.md F33
@own_process("a PCI slot does not come back")
def test_host_that_wants_the_device_back_gets_it(one: SoftPf, pool: Pool) -> None:
    port = one.open(0, pool=pool, release_on_request=True)
    port.start(wait_link=5)
    one.control("request", vf=0)
    assert until(lambda: port.state == "closed", 5)
    assert pool.idle == pool.size


# docs/spec/reliability.md F65
def test_second_opener_is_refused_and_the_first_undisturbed(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool) as port:
        port.start(wait_link=5)
        with pytest.raises(iavfio.VfioError, match=r"one client|is in use|another process has it"):
            one.open(0, pool=pool)
        works(port)


# docs/spec/reliability.md F64
def test_forked_child_cannot_use_its_parents_port(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool) as port:
        port.start(wait_link=5)
        frame = udp(port.mac, port.mac)
        with port.tx[0].build([frame]) as burst:
            view = burst.bytes(0)
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    port.tx[0].send(burst)
                except StateError:
                    code = 0 if bytes(view) == bytes(len(frame)) else 2
                except BaseException:
                    code = 3
                os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        works(port)


def test_stats_of_a_running_port_from_another_process(one: SoftPf, pool: Pool) -> None:
    with one.open(0, pool=pool, name="watched") as port:
        port.start(wait_link=5)
        works(port)
        port.refresh_stats()
        port.settle()
        told = subprocess.run(
            [sys.executable, "-m", "iavfio.cli", "stats", "watched"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        )
        rows = [line for line in told.stdout.splitlines() if not line.startswith("#")]
        assert rows == [line for line in str(port.stats).splitlines() if not line.startswith("#")]
        assert "# watched: running" in told.stdout
    gone = subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "stats", "watched"],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert gone.returncode != 0
    assert "no port named 'watched'" in gone.stderr


def test_queues_of_a_closed_port_say_so(one: SoftPf, pool: Pool) -> None:
    """A thread may come to a queue after another one has closed the port."""
    with one.open(0, pool=pool) as port:
        port.configure(queues=2)
        port.start()
        burst = port.tx[1].build([bytes(64)])
        calls = (
            lambda: port.rx[1].recv(),
            lambda: port.rx[1].recv(timeout=-1),
            lambda: port.tx[1].send(burst),
            lambda: port.tx[1].clean(),
        )
    for call in calls:
        with pytest.raises(StateError, match=r"port was closed\n.*open it again"):
            call()
    assert port.tx[1].in_flight == 0
    burst.release()


def test_nothing_is_left_after_close(pool: Pool) -> None:
    def fds() -> list[str]:
        gc.collect()
        return sorted(str(p.readlink()) for p in Path("/proc/self/fd").iterdir() if p.is_symlink())

    with software_pf() as pf:
        pf.open(0, pool=pool).close()
        before = len(fds())
        for _ in range(5):
            with pf.open(0, pool=pool) as port:
                port.configure(queues=2)
                port.start()
        del port  # its counters stay mapped as long as it lives
        assert len(fds()) == before
