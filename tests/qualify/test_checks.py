# SPDX-License-Identifier: BSD-3-Clause
"""Each check passes on a software VF, and fails on one with the fault that the check is for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from iavfio._driver import lib
from iavfio.errors import ConfigError
from iavfio.port.identity import Identity
from iavfio.qualify.checks import CHECKS, NAMES, timing
from iavfio.qualify.report import line, summary
from iavfio.qualify.run import qualify
from iavfio.qualify.vfs import Vfs
from iavfio.softvf.launch import SoftPf
from tests.qualify.rig import CARDS, run, spoil

UNTRIED = {"unbind", "host"}  # need a VF of this host's kernel; see the tests at the end


@pytest.mark.parametrize("card", CARDS)
def test_every_check_passes_on_a_software_vf(vfs: Vfs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "WINDOW", 0.2)
    outcomes = {outcome.check: outcome for outcome in qualify(vfs, CHECKS)}
    assert tuple(outcomes) == NAMES
    ends = {name: (o.status, o.reason) for name, o in outcomes.items() if o.status != "passed"}
    assert set(ends) == UNTRIED, ends
    assert all(status == "not run" for status, _ in ends.values())
    assert "a software VF needs no preparation" in ends["host"][1]
    assert "a software VF has no kernel driver" in ends["unbind"][1]
    told = {outcome.check: line(outcome) for outcome in outcomes.values()}
    assert all(ends[name][1] in told[name] for name in UNTRIED)
    assert summary(list(outcomes.values())).endswith("2 not run (host, unbind)")


def refuse(opcode: int) -> Callable[[SoftPf], object]:
    return lambda pf: pf.control("fault", vf=1, kind="retval", opcode=opcode, value=-5, count=1000)


def stall(queue: int) -> Callable[[SoftPf], object]:
    return lambda pf: pf.control("fault", vf=0, kind="tx_stall", queue=queue)


def mute(pf: SoftPf) -> None:
    pf.control("mute", vf=1, on=True)


def no_link(pf: SoftPf) -> None:
    pf.control("link", vf=1, state="disable")


FAULTS: list[tuple[str, Callable[[SoftPf], object], str]] = [
    ("negotiation", refuse(lib.VC_OP_GET_VF_RESOURCES), "refused GET_VF_RESOURCES"),
    ("link", no_link, "did not come up|disabled the link"),
    ("both-ways", spoil("lose"), "40 of 200 frames lost, the first is"),
    ("both-ways", spoil("corrupt"), "40 frames were changed on the way"),
    ("both-ways", spoil("twice"), "40 frames came twice"),
    ("queues", spoil("corrupt"), "queue 0: 1"),
    ("code-paths", spoil("corrupt"), "scalar with auto descriptors: 40 frames were changed"),
    ("checksums", spoil("checksum", 1), "a right frame"),
    ("checksums", spoil("checksum", 2), "a wrong UDP checksum was not seen"),
    ("sizes", spoil("lose", 1000), "1 of"),
    ("rss", spoil("hash"), "hash"),
    ("rss", refuse(lib.VC_OP_CONFIG_RSS_KEY), "refused CONFIG_RSS_KEY"),
    ("counters", spoil("uncounted"), "rx_unicast moved by 240, not 300"),
    ("addresses", refuse(lib.VC_OP_ADD_ETH_ADDR), "refused ADD_ETH_ADDR"),
    ("broadcast", spoil("lose", 1), "a broadcast did not arrive"),
    ("multicast", spoil("lose", 1), "a group that was asked for did not arrive"),
    ("interrupts", mute, "queue 0: sleeper 0 was not woken within 2 s"),
    ("write-back", spoil("lose", 7), "packet 6, alone, was not written back within 2 s"),
    ("latency", spoil("lose", 900), "did not arrive"),
    ("restarts", spoil("lose", 7), "frames arrived"),
    ("own-reset", spoil("lose", 7), "before the reset: 55 of 64 frames arrived"),
    ("function-reset", spoil("lose", 7), "before the reset: 55 of 64 frames arrived"),
    ("reset-traffic", spoil("lose", 7), "frames arrived"),
    ("reopening", spoil("lose"), "frames lost"),
    ("throughput", spoil("lose", 100), "no counter says why"),
    ("soak", spoil("corrupt", 40), "corrupt"),
    ("soak", spoil("twice", 40), "twice|duplicate"),
]


@pytest.mark.parametrize(
    ("card", "name", "fault", "words"),
    [
        pytest.param(CARDS[i % 2], *row, id=f"{row[0]}-{CARDS[i % 2]}-{i}")
        for i, row in enumerate(FAULTS)
    ],
)
def test_a_fault_fails_the_check_that_is_for_it(
    pf: SoftPf,
    vfs: Vfs,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    fault: Callable[[SoftPf], object],
    words: str,
) -> None:
    monkeypatch.setattr(timing, "WINDOW", 0.2)
    monkeypatch.setattr(timing, "WAKES", 2)
    monkeypatch.setattr(timing, "LATE", 2.0)
    monkeypatch.setattr("iavfio.port.negotiation.NEGOTIATE_DEADLINE", 1.0)
    vfs.way()
    fault(pf)
    outcome = run(vfs, name)
    assert outcome.status == "failed", outcome
    assert any(word in outcome.reason for word in words.split("|")), outcome.reason
    pf.control("fault", vf=1, kind="clear")
    pf.control("mute", vf=1, on=False)
    pf.control("link", vf=1, state="auto")
    assert run(vfs, "both-ways").status == "passed"  # nothing of the failure is left


def test_a_queue_that_does_not_send_is_named(pf: SoftPf, vfs: Vfs) -> None:
    vfs.way()
    pf.control("fault", vf=0, kind="tx_stall", queue=2)
    outcome = run(vfs, "queues")
    assert outcome.status == "failed" and "queue 2: " in outcome.reason


@pytest.mark.parametrize("card", ["x710"])
def test_promiscuity_that_cannot_be_switched_off(pf: SoftPf, vfs: Vfs) -> None:
    pf.control("trust", vf=1, on=True)
    opcode = int(lib.VC_OP_CONFIG_PROMISCUOUS_MODE)
    pf.control("fault", vf=1, kind="ignore", opcode=opcode, value=1, count=100)
    outcome = run(vfs, "promiscuity")
    assert outcome.status == "failed", outcome
    assert "still arrives after promiscuous mode was switched off" in outcome.reason


@pytest.mark.parametrize("card", CARDS)
def test_an_address_that_is_not_withdrawn(pf: SoftPf, vfs: Vfs) -> None:
    opcode = int(lib.VC_OP_DEL_ETH_ADDR)
    vfs.way()
    pf.control("fault", vf=1, kind="ignore", opcode=opcode, count=100)
    outcome = run(vfs, "addresses")
    assert outcome.status == "failed"
    assert outcome.reason == "before, with, after the filter: [False, True, True]"


def test_a_spoofed_frame_that_is_counted_and_vanishes(pf: SoftPf, vfs: Vfs) -> None:
    vfs.way()
    pf.control("spoofchk", vf=0, on=False)
    pf.control("fault", vf=1, kind="spoil", how="lose", every=1)
    outcome = run(vfs, "spoof")
    assert outcome.status == "failed"
    assert outcome.reason == "a spoofed frame vanished and was counted as sent"


def test_two_vfs_that_do_not_reach_each_other(pf: SoftPf, vfs: Vfs) -> None:
    pf.control("vlan", vf=1, vlan=100)
    outcome = run(vfs, "both-ways")
    assert outcome.status == "failed" and "no frame reaches the second VF" in outcome.reason
    assert run(vfs, "sizes").status == "not run"


def test_one_vf_without_a_way_back_runs_what_needs_none(pf: SoftPf) -> None:
    vfs = Vfs(pf.sockets[:1], {})
    ends = {outcome.check: outcome.status for outcome in qualify(vfs, CHECKS)}
    assert {name for name, end in ends.items() if end == "passed"} == {
        "identity",
        "negotiation",
        "link",
    }
    assert set(ends.values()) == {"passed", "not run"}


def test_a_device_that_cannot_be_opened_fails_each_check_and_ends_none(tmp_path: Path) -> None:
    vfs = Vfs([f"vfio-user:{tmp_path}/no.sock"], {})
    ends = [(outcome.status, outcome.trace) for outcome in qualify(vfs, CHECKS)]
    assert {status for status, _ in ends} == {"failed", "not run"}
    assert not any(trace for _, trace in ends)


def test_another_device_is_told(vfs: Vfs, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse_it(device: object) -> None:
        raise ConfigError("it is not an Intel adaptive VF")

    monkeypatch.setattr(Identity, "of", refuse_it)
    outcome = run(vfs, "identity")
    assert outcome.status == "failed" and "not an Intel adaptive VF" in outcome.reason


def test_a_host_without_the_device_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    outcome = run(Vfs(["0000:fe:1f.7"], {}), "host")
    assert outcome.status == "failed" and "0000:fe:1f.7" in outcome.reason


def test_the_guide_names_every_check() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "qualify.md").read_text("utf-8")
    rows = "\n".join(f"| `{check.name}` | {check.shows} |" for check in CHECKS)
    assert rows in guide
