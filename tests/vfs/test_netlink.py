# SPDX-License-Identifier: BSD-3-Clause
"""Every way in which netlink fails or answers in part, and what pyroute2 makes of our requests."""

from __future__ import annotations

import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pyroute2.netlink.exceptions import NetlinkError
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.requests.link import LinkIPRouteFilter

from iavfio.host.errors import HostError, KernelRefused, NotPermitted
from iavfio.vfs import apply
from iavfio.vfs.netlink import Netlink, attributes
from iavfio.vfs.words import LINKS
from tests.vfs.fake_pf import INTERFACE, FakePf, FakeRoute, fresh

FAILURES: list[tuple[Exception, type[HostError], str, str]] = [
    (NetlinkError(errno.EPERM), NotPermitted, "CAP_NET_ADMIN", "sudo"),
    (NetlinkError(errno.EACCES), NotPermitted, "CAP_NET_ADMIN", "sudo"),
    (PermissionError(errno.EPERM, "Operation not permitted"), NotPermitted, "CAP_NET", "sudo"),
    (NetlinkError(errno.EOPNOTSUPP), KernelRefused, "switchdev mode (EOPNOTSUPP)", "dmesg"),
    (NetlinkError(errno.ENODEV), KernelRefused, "is gone (ENODEV)", "iavfio list"),
    (NetlinkError(errno.EINVAL), KernelRefused, "does not take this value", "dmesg"),
    (NetlinkError(errno.EIO), KernelRefused, "(EIO)", "dmesg"),
    (OSError(errno.ENOBUFS, "No buffer space"), KernelRefused, "(ENOBUFS)", "dmesg"),
    (RuntimeError("the loop is closed"), KernelRefused, "RuntimeError: the loop", "dmesg"),
    (KeyError("attrs"), KernelRefused, "KeyError", "dmesg"),
]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakePf:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    return FakePf(tmp_path, vfs=2)


@pytest.mark.parametrize(("failure", "kind", "cause", "remedy"), FAILURES, ids=str)
def test_a_refused_change_has_three_parts_and_leaves_no_record(
    host: FakePf, failure: Exception, kind: type[HostError], cause: str, remedy: str
) -> None:
    host.links.failures = [failure]
    with pytest.raises(kind) as refused:
        apply(host.pf(), 0, {"trust": True})
    assert refused.value.what == f"setting trust of {INTERFACE} failed"
    assert cause in refused.value.cause
    assert remedy in refused.value.remedy
    assert host.links.vfs[0] == fresh()
    assert not (host.root / "run/iavfio/vfs.json").exists()


@pytest.mark.parametrize(("failure", "kind", "cause", "remedy"), FAILURES, ids=str)
def test_a_refused_read_has_three_parts(
    host: FakePf, failure: Exception, kind: type[HostError], cause: str, remedy: str
) -> None:
    host.links.read_failure = failure
    with pytest.raises(kind, match="reading the VFs of ens1f0 failed"):
        host.pf().vfs()


@pytest.mark.parametrize("number", [errno.EBUSY, errno.EAGAIN])
def test_a_vf_in_reset_is_waited_for(host: FakePf, number: int) -> None:
    host.links.failures = [NetlinkError(number), NetlinkError(number)]
    pf = host.pf()
    Netlink(INTERFACE, lambda: host.links, patience=60.0).put(0, {"trust": 1}, "setting trust")
    assert pf.vfs()[0].trust is True
    host.links.failures = [NetlinkError(number)] * 1000
    with pytest.raises(KernelRefused, match="in reset all the time") as refused:
        apply(pf, 0, {"trust": False})
    assert errno.errorcode[number] in refused.value.cause


def test_an_interface_that_went(host: FakePf) -> None:
    host.links.gone = True
    with pytest.raises(KernelRefused, match="there is no network interface ens1f0"):
        host.pf().vfs()


def test_a_read_that_fails_after_the_change_keeps_the_record(host: FakePf) -> None:
    class Once(FakeRoute):
        def link(self, command: str, **request: Any) -> Any:
            done = super().link(command, **request)
            if command == "set":
                self.read_failure = NetlinkError(errno.ENODEV)
            return done

    host.links = Once(vfs=host.links.vfs)
    with pytest.raises(KernelRefused, match="reading the VFs"):
        apply(host.pf(), 0, {"trust": True})
    record = json.loads((host.root / "run/iavfio/vfs.json").read_text())
    (kept,) = record["records"].values()
    assert kept["vfs"] == {"0": {"trust": False}}


def without(name: str) -> Callable[[list[Any]], list[Any]]:
    """Takes an attribute out of every VF of an answer."""

    def spoil(answer: list[Any]) -> list[Any]:
        (_, vfs) = answer[0]["attrs"][1]
        for _, info in vfs["attrs"]:
            info["attrs"] = [pair for pair in info["attrs"] if pair[0] != name]
        return answer

    return spoil


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("IFLA_VF_MAC", {"mac"}),
        ("IFLA_VF_VLAN", {"vlan", "qos"}),
        ("IFLA_VF_TRUST", {"trust"}),
        ("IFLA_VF_SPOOFCHK", {"spoofchk"}),
        ("IFLA_VF_LINK_STATE", {"link"}),
        ("IFLA_VF_RATE", {"rate", "min-rate"}),
    ],
)
def test_what_an_answer_lacks_is_not_told_and_the_rest_is(
    host: FakePf, name: str, words: set[str]
) -> None:
    host.links.spoil = without(name)
    for state in host.pf().vfs():
        assert {word for word in host.pf().settable if state.value(word) is None} == words


ODD: list[Callable[[list[Any]], list[Any]]] = [
    lambda answer: [],
    lambda answer: [{"attrs": []}],
    lambda answer: [{}],
    lambda answer: [None],
    lambda answer: [{"attrs": [("IFLA_VFINFO_LIST", None)]}],
    lambda answer: [{"attrs": [("IFLA_VFINFO_LIST", {"attrs": [("IFLA_VF_INFO", {})]})]}],
    lambda answer: [
        {"attrs": [("IFLA_VFINFO_LIST", {"attrs": [("IFLA_VF_INFO", {"attrs": [("x",)]})]})]}
    ],
    lambda answer: [
        {
            "attrs": [
                (
                    "IFLA_VFINFO_LIST",
                    {"attrs": [("IFLA_VF_INFO", {"attrs": [("IFLA_VF_LINK_STATE", {"vf": 0})]})]},
                )
            ]
        }
    ],
    lambda answer: [
        {
            "attrs": [
                (
                    "IFLA_VFINFO_LIST",
                    {
                        "attrs": [
                            (
                                "IFLA_VF_INFO",
                                {"attrs": [("IFLA_VF_LINK_STATE", {"vf": 0, "link_state": 9})]},
                            )
                        ]
                    },
                )
            ]
        }
    ],
]


@pytest.mark.parametrize("spoil", ODD)
def test_an_odd_answer_tells_nothing_and_ends_nothing(
    host: FakePf, spoil: Callable[[list[Any]], list[Any]]
) -> None:
    host.links.spoil = spoil
    states = host.pf().vfs()
    assert [state.vf for state in states] == [0, 1]
    assert all(state.value(word) is None for state in states for word in host.pf().settable)


@pytest.mark.parametrize(
    ("step", "name", "field", "value"),
    [
        ({"mac": "02:00:00:00:00:07"}, "IFLA_VF_MAC", "mac", "02:00:00:00:00:07"),
        ({"vlan": 100, "qos": 3}, "IFLA_VF_VLAN", "qos", 3),
        ({"vlan": 100}, "IFLA_VF_VLAN", "vlan", 100),
        ({"trust": True}, "IFLA_VF_TRUST", "trust", 1),
        ({"spoofchk": False}, "IFLA_VF_SPOOFCHK", "spoofchk", 0),
        ({"link": "disable"}, "IFLA_VF_LINK_STATE", "link_state", LINKS.index("disable")),
        ({"rate": 1000}, "IFLA_VF_RATE", "max_tx_rate", 1000),
        ({"min-rate": 10}, "IFLA_VF_RATE", "min_tx_rate", 10),
    ],
)
def test_pyroute2_encodes_each_setting_so_that_it_reads_back(
    step: dict[str, Any], name: str, field: str, value: Any
) -> None:
    vfs = LinkIPRouteFilter("set").set_vf({}, {"vf": 3} | attributes(step, {}))
    message = ifinfmsg()
    message["index"] = 7
    message["attrs"] = list(vfs.items())
    message.encode()
    back = ifinfmsg(bytes(message.data))
    back.decode()
    ((_, info),) = back.get_attr("IFLA_VFINFO_LIST")["attrs"]
    ((found, content),) = info["attrs"]
    assert (found, content["vf"], content[field]) == (name, 3, value)
