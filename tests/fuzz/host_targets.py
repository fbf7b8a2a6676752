# SPDX-License-Identifier: BSD-3-Clause
"""What the host tells: files of /sys and /proc, the kernel's netlink, a PF's control socket."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import socket
import threading
from functools import cache
from pathlib import Path
from typing import Any

from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.requests.link import LinkIPRouteFilter

from iavfio.doctor import examine
from iavfio.doctor.facts import host_facts, versions
from iavfio.errors import IavfioError
from iavfio.host import discover, listing
from iavfio.metrics.softvf import SoftPfCollector
from iavfio.vfs.netlink import Netlink
from iavfio.vfs.software_pf import SoftwarePf
from tests.doctor.well_host import VF, WellHost
from tests.fuzz.file_targets import folder
from tests.fuzz.target import Target, Words
from tests.vfs.fake_pf import INTERFACE, FakeRoute

WORKER = 4242  # the process of a port
EXTRA = {  # files that a well host need not have
    "proc/net/ipv6_route": f"{'20010db8':032} 40 {'0':032} 00 {'0':032} 0 0 0 00000001 {INTERFACE}",
    "run/systemd/system/a": "",
    "etc/systemd/system.conf": "[Manager]\nDefaultLimitMEMLOCK=1M\n",
    "usr/share/misc/pci.ids": "8086  Intel\n\t1592  a card\n",
}


# ---- files


@cache
def well_host() -> tuple[WellHost, dict[str, bytes]]:
    """A host, and what each of its files says."""
    host = WellHost(folder() / "host")
    host.route(INTERFACE)
    host.worker(WORKER, ["2", "3"])
    host.process(WORKER, "dockerd")
    for place, text in EXTRA.items():
        host.put(place, text)
    files = sorted(path for path in host.root.rglob("*") if path.is_file())
    real = sorted({path.resolve() for path in files})
    return host, {str(path.relative_to(host.root.resolve())): path.read_bytes() for path in real}


def files(data: bytes) -> None:
    """Some files say something else; all that looks at a host looks at it."""
    host, content = well_host()
    places, words, changed = list(content), Words(data), set[str]()
    while words.more:
        place = places[words.number(2) % len(places)]
        (host.root / place).write_bytes(words.take(words.number(1)))
        changed.add(place)
    try:
        process = "self" if len(data) & 1 else str(WORKER)
        report = examine(host.look(process=process), [VF])
        assert all(finding.seen.what for finding in report.findings)
        found = discover(host.tree)
        assert json.dumps(listing.data(found))
        assert len(list(listing.lines(found))) == len(found)
        versions(host_facts([VF], host.tree))
    except IavfioError as error:
        assert error.what
    finally:
        for place in changed:
            (host.root / place).write_bytes(content[place])


@cache
def files_seeds() -> list[bytes]:
    _, content = well_host()
    seeds, kinds = [], set[str]()
    for number, (place, text) in enumerate(content.items()):
        kind = re.sub(r"\d+", "N", place)  # one CPU of all, one VF of all
        if kind in kinds:
            continue
        kinds.add(kind)
        head = number.to_bytes(2, "little")
        seeds += [head + bytes((min(len(text), 255),)) + text[:255]]
        seeds += [head + b"\x16" + b"0-99999999999999999999"] if b"-" in text else []
    return seeds


# ---- netlink


class Answers(FakeRoute):
    """The kernel's side of rtnetlink, with these bytes as its answer."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self.data = data

    def link(self, command: str, **request: Any) -> Any:
        message = ifinfmsg(self.data)
        message.decode()
        return (message,)


def netlink(data: bytes) -> None:
    try:
        found = Netlink(INTERFACE, lambda: Answers(data), patience=0).vfs()
    except IavfioError as error:
        assert error.what
        return
    for number, settings in found.items():
        assert number >= 0
        for value in settings.values():
            assert type(value) in (int, bool) or str(value).isprintable()


def netlink_seeds() -> list[bytes]:
    seeds = []
    for vf in (
        {"vf": 0, "mac": "02:00:00:00:00:07"},
        {"vf": 1, "vlan": {"vlan": 100, "qos": 3}},
        {"vf": 2, "trust": 1, "spoofchk": 0, "link_state": 1},
        {"vf": 3, "rate": {"min_tx_rate": 10, "max_tx_rate": 1000}},
    ):
        message = ifinfmsg()
        message["index"] = 7
        message["attrs"] = list(LinkIPRouteFilter("set").set_vf({}, dict(vf)).items())
        message.encode()
        seeds.append(bytes(message.data))
    return seeds


# ---- the control socket


def serve(listener: socket.socket, answers: list[bytes]) -> None:
    """One connection, one request and one of the answers; then it only hangs up."""
    with contextlib.suppress(OSError):
        while True:
            client, _ = listener.accept()
            with client:
                client.settimeout(60)
                request = client.recv(1 << 12)
                if request and answers:
                    client.sendall(answers.pop(0) + b"\n")


def control(data: bytes) -> None:
    """A line for each question that `iavfio vf` and the metrics ask a software PF."""
    shutil.rmtree(folder() / "control", ignore_errors=True)
    (folder() / "control").mkdir()
    path = folder() / "control" / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(8)
        lines = data.split(b"\n")
        answers = [*lines, *lines]
        thread = threading.Thread(target=serve, args=(listener, answers), daemon=True)
        thread.start()
        try:
            _ask_all(path.parent)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _ask_all(directory: Path) -> None:
    pf = SoftwarePf(directory, well_host()[0].tree)
    for ask in (pf.vfs, pf.describe):
        try:
            told = ask()
        except IavfioError as error:
            assert error.what
            assert str(error).replace("\n", "").isprintable()
            continue
        for each in told if isinstance(told, list) else [told]:
            assert all(c.isprintable() for c in json.dumps(str(each), ensure_ascii=False))
    for family in SoftPfCollector([directory]).collect():
        assert family.name


INFO = {
    "ok": True,
    "personality": "e810",
    "vfs": [{"index": 0, "socket": "/run/vf0.sock", "connected": False, "resets": 1}],
}
SNAPSHOT = {
    "ok": True,
    "snapshot": {
        "admin_mac": "02:00:00:00:00:01",
        "port_vlan": 5,
        "trusted": True,
        "spoofchk": False,
        "link": {"mode": "auto"},
    },
}


def control_seeds() -> list[bytes]:
    told: list[dict[str, Any]] = [INFO, SNAPSHOT, INFO, INFO, {"ok": True, "stats": {}}]
    lines = [json.dumps(each).encode() for each in told]
    return [
        b"\n".join(lines),
        lines[0],
        b'{"ok": false, "error": "\\u001b[2J"}',
        b'{"ok": true, "vfs": 5, "personality": []}',
        b'{"ok": true, "vfs": [{"index": 1e400, "socket": "\\u001b", "connected": 1}]}',
        lines[0] + b'\n{"ok": true, "snapshot": {"port_vlan": [1], "link": 4}}',
    ]


TARGETS = (
    Target(
        "files",
        files,
        files_seeds,
        "any content of the files of /sys, /proc and /etc that doctor, list and bind read",
        "an exception that is no IavfioError, a look without end",
    ),
    Target(
        "netlink",
        netlink,
        netlink_seeds,
        "any answer of the kernel to the question for a PF's VFs",
        "an exception that is no IavfioError, a value of another kind",
    ),
    Target(
        "control",
        control,
        control_seeds,
        "any answers of a control socket to `iavfio vf` and to the metrics",
        "an exception that is no IavfioError, text that commands a terminal",
    ),
)
