# SPDX-License-Identifier: BSD-3-Clause
"""Which worker a host gets: by name, address, SSH host, resource, or in turn."""

from __future__ import annotations

from typing import Any

import pytest

from iavfio.fleet import placement
from iavfio.fleet.engine import HostLost
from iavfio.fleet.placement import assign
from iavfio.fleet.plan import Host

WORKERS: dict[str, dict[str, Any]] = {
    "tcp://10.0.0.1:1": {"name": "east", "host": "10.0.0.1", "resources": {"vf": 1.0}},
    "tcp://10.0.0.2:1": {"name": 0, "host": "10.0.0.2", "resources": {"vf": 2.0}},
    "tcp://10.0.0.3:1": {"name": 1, "host": "10.0.0.3", "resources": {}},
}


def number(*hosts: Host, **more: Any) -> list[int]:
    """The last number of the address that each host got."""
    found = assign(hosts, WORKERS, **more)
    return [int(found[host.name].split(":")[1][-1]) for host in hosts]


def host(name: str, **given: Any) -> Host:
    return Host(name, "p", "sender", **given)


def test_a_worker_is_found_by_name_and_address() -> None:
    assert number(host("west", worker="0"), host("x", worker="10.0.0.3"), host("east")) == [2, 3, 1]
    assert number(host("a", worker="tcp://10.0.0.2:1")) == [2]
    assert number(host("a", worker="east"), host("b", worker="east")) == [1, 1]  # two VFs of one


def test_a_worker_is_found_by_the_name_of_its_host(monkeypatch: pytest.MonkeyPatch) -> None:
    def known(name: str) -> set[str]:
        return {"10.0.0.9", "10.0.0.3"} if name == "lab-2" else set()

    monkeypatch.setattr(placement, "resolved", known)
    assert number(host("a", worker="lab-2"), host("b")) == [3, 1]
    assert placement.resolved("lab-3") == set()


def test_others_get_a_free_worker_each() -> None:
    assert sorted(number(host("a"), host("b"), host("east"))) == [1, 2, 3]
    assert number(host("a"), others=frozenset(["tcp://10.0.0.1:1", "tcp://10.0.0.2:1"])) == [3]


def test_a_resource_is_one_that_nobody_else_has() -> None:
    assert sorted(number(host("a", resource="vf"), host("b", resource="vf"))) == [1, 2]
    with pytest.raises(HostLost, match="no worker with the resource vf"):
        number(*(host(name, resource="vf") for name in "abc"))


@pytest.mark.parametrize(
    ("hosts", "words"),
    [
        ([host("a", worker="nope")], "no worker nope; the scheduler has 3 workers: east, 0, 1"),
        ([host(name) for name in "abcd"], "there is no worker left"),
    ],
)
def test_a_host_without_a_place_is_named(hosts: list[Host], words: str) -> None:
    with pytest.raises(HostLost) as lost:
        number(*hosts)
    assert words in str(lost.value) and "dask worker SCHEDULER" in str(lost.value)
