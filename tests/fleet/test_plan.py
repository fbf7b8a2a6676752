# SPDX-License-Identifier: BSD-3-Clause
"""Plans of a fleet: what is read, which queue sends where, and what is refused with its remedy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from iavfio.errors import ConfigError
from iavfio.fleet.plan import Cluster, FleetPlan, Goals, Host
from iavfio.fleet.read import EXAMPLE, plan_of, read_plan
from iavfio.ranges import IMIX
from tests.fleet.fake import plan

HOSTS: list[dict[str, Any]] = [
    {"name": "west", "port": "0000:3b:02.0", "role": "sender", "queues": 2, "cpus": [2, 3]},
    {"name": "east", "port": "0000:3b:02.0", "role": "receiver", "worker": "w1"},
]
ENGINE = {"scheduler": "tcp://192.0.2.1:8786"}


def test_the_example_of_the_errors_is_a_plan(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(EXAMPLE, encoding="utf-8")
    read = read_plan(path)
    assert [host.name for host in read.hosts] == ["west", "east"]
    assert read.asked.pps(60, 0) == 1e6


def test_all_keys_are_read() -> None:
    read = plan_of(
        {
            "engine": {"cluster": "ssh", "hosts": ["a", "b", "c"], "options": {"x": 1}},
            "traffic": {"size": "imix", "rate": "10%", "duration": 2, "verify": True},
            "goals": {"max_loss": [0, 0.005], "trials": 2, "exceed_ratio": 0.1, "max_rate": 9},
            "host": HOSTS,
        }
    )
    assert read.cluster == Cluster(kind="ssh", hosts=("a", "b", "c"), options={"x": 1})
    assert read.size == IMIX and read.verify and read.asked.share == 0.1
    assert [rule.max_loss for rule in read.goals.rules] == [0, 0.005]
    assert (read.goals.rules[0].trials, read.goals.rules[0].exceed) == (2, 0.1)
    assert read.hosts[0].cpus == (2, 3) and read.hosts[1].worker == "w1"


def test_receivers_take_turns_over_all_send_queues() -> None:
    senders = [Host("a", "p", "sender"), Host("b", "p", "sender", queues=2)]
    receivers = [Host("x", "p", "receiver"), Host("y", "p", "receiver")]
    lanes = plan(*senders, *receivers).lanes
    assert [(lane.number, lane.sender, lane.queue, lane.to) for lane in lanes] == [
        (0, "a", 0, "x"),
        (1, "b", 0, "y"),
        (2, "b", 1, "x"),
    ]


def test_a_host_that_does_both_sends_to_others_only() -> None:
    lanes = plan(Host("a", "p", "both"), Host("b", "p", "both")).lanes
    assert [(lane.sender, lane.to) for lane in lanes] == [("a", "b"), ("b", "a")]
    named = plan(
        Host("a", "p", "sender", to=("y", "x"), queues=2),
        Host("x", "p", "receiver"),
        Host("y", "p", "receiver"),
    )
    assert [lane.to for lane in named.lanes] == ["y", "x"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"engine": {}}, "no engine"),
        ({"engine": ENGINE | {"cluster": "local"}}, "two engines"),
        ({"engine": {"cluster": "loca"}}, "did you mean local?"),
        ({"engine": {"scheduler": "192.0.2.1"}}, "is no address"),
        ({"engine": {"cluster": "ssh"}}, "SSH cluster has no hosts"),
        ({"engine": ENGINE | {"hosts": ["a"]}}, "only an SSH cluster has hosts"),
        ({"engine": ENGINE | {"options": {"a": 1}}}, "of no cluster"),
        ({"engine": 3}, "no table"),
        ({"hosts": []}, "there is no table of a plan 'hosts'"),
        ({"host": []}, "no host"),
        ({"host": [3, *HOSTS]}, "is no host"),
        ({"host": [HOSTS[0] | {"rol": "x"}, HOSTS[1]]}, "did you mean role?"),
        ({"host": [{"name": "a"}, HOSTS[1]]}, "host 1: the host has no port"),
        ({"host": [HOSTS[0] | {"role": "sendr"}, HOSTS[1]]}, "did you mean sender?"),
        ({"host": [HOSTS[0] | {"queues": 17}, HOSTS[1]]}, "1 to 16"),
        ({"host": [HOSTS[0] | {"worker": "a", "resource": "b"}, HOSTS[1]]}, "leave one of them"),
        ({"host": [HOSTS[0], HOSTS[1] | {"to": ["west"]}]}, "sends nothing"),
        ({"host": [HOSTS[0] | {"to": ["easst"]}, HOSTS[1]]}, "did you mean east?"),
        ({"host": [HOSTS[0] | {"to": ["west"]}, HOSTS[1]]}, "that is itself"),
        ({"host": [HOSTS[0], HOSTS[0]]}, "two hosts are named west"),
        ({"host": [HOSTS[1]]}, "no host sends"),
        ({"host": [HOSTS[0]]}, "nobody to send to"),
        (
            {"host": [HOSTS[0] | {"queues": 1}, HOSTS[1], HOSTS[1] | {"name": "south"}]},
            "nobody sends to host south",
        ),
        ({"traffic": {"sizes": 64}}, "did you mean size?"),
        ({"traffic": {"size": 63}}, "64 to 9728"),
        ({"traffic": {"size": 64, "ipv6": True}}, "82"),
        ({"traffic": {"size": []}}, "0 frame sizes"),
        ({"traffic": {"rate": "fast"}}, "10kpps"),
        ({"traffic": {"duration": 0}}, "more than 0"),
        ({"traffic": {"verify": 1}}, "True or False"),
        ({"goals": {"max_loss": 2}}, "0 to 1"),
        ({"goals": {"max_loss": []}}, "no goal"),
        ({"goals": {"trials": 0}}, "1 to 100"),
    ],
)
def test_a_wrong_plan_is_told_with_its_remedy(change: dict[str, Any], words: str) -> None:
    tables = {"engine": ENGINE, "host": HOSTS} | change
    with pytest.raises(ConfigError) as wrong:
        plan_of(tables)
    assert words in str(wrong.value)


def test_a_file_that_is_no_plan_is_named(tmp_path: Path) -> None:
    path = tmp_path / "plan.toml"
    for text in (b"[engine", b"\xff"):
        path.write_bytes(text)
        with pytest.raises(ConfigError, match="is no TOML file"):
            read_plan(path)
    path.write_bytes(b"[engine]\nscheduler = 'tcp://a:1'\n")
    with pytest.raises(ConfigError, match=r"plan\.toml: the plan has no host"):
        read_plan(path)


def test_goals_are_one_share_or_several() -> None:
    assert Goals(max_loss=(0.0, 0.1, 0.0)).max_loss == (0.0, 0.1)
    assert isinstance(plan(), FleetPlan)
