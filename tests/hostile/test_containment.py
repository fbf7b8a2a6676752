# SPDX-License-Identifier: BSD-3-Clause
"""An exception in any handler costs its client the session, and nobody else anything.

The promise is docs/spec/reliability.md 6 (D6). Each case plants exceptions of many classes in one
handler of one VF, makes its client run into them, and looks at everybody. Among the classes are
those that a handler means, in other places, as a refusal.
"""

from __future__ import annotations

import errno
import logging
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

import pytest

from iavfio.softvf.burial import Burial
from iavfio.softvf.control import ARGUMENTS, Control
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.function.mailbox import Mailbox
from iavfio.softvf.function.msix import Msix
from iavfio.softvf.pf import Pf
from iavfio.softvf.pf.admin import COMMANDS as POLICY
from iavfio.softvf.pf.requests import FORMS
from iavfio.softvf.pf.table import MESSAGES
from iavfio.softvf.server import listener, sockets
from iavfio.softvf.server.acceptor import Acceptor
from iavfio.softvf.server.listener import VfServer
from iavfio.softvf.server.session import Session
from tests.hostile.handlers import CASES, CONTROL, Act, Case, ask, message, register_table
from tests.hostile.served_pf import ServedPf, served_pf
from tests.softvf.function.mailbox_rings import (
    ARQBAH,
    ARQBAL,
    ARQH,
    ARQLEN,
    ARQT,
    ATQBAH,
    ATQBAL,
    ATQH,
    ATQLEN,
    ATQT,
    RSTAT,
    Rings,
)
from tests.softvf.server.raw_client import RawClient


class Unexpected(Exception):
    """What no handler is prepared for."""


KINDS: tuple[Exception, ...] = (
    Unexpected("planted"),
    OSError(errno.EBADF, "planted"),
    KeyError("planted"),
    ValueError("planted"),
    TypeError("planted"),
    MemoryError(),
    RecursionError("planted"),
)


class Fuse:
    """Whether what was planted raises, what it raises, and how often it has."""

    def __init__(self) -> None:
        self.armed, self.went_off = False, 0
        self.error: Exception = KINDS[0]

    def spark(self) -> None:
        """Raises once it is armed."""
        if self.armed:
            self.went_off += 1
            raise self.error.with_traceback(None)


class Bomb(Fuse):
    """Replaces a method by one that raises once it is armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
        super().__init__()
        real = getattr(owner, name)

        def method(*arguments: Any, **named: Any) -> Any:
            self.spark()
            return real(*arguments, **named)

        monkeypatch.setattr(owner, name, method)


VERSION = struct.pack("<II", 1, 1)


def name_of(case: Case) -> str:
    return f"{case[0].__name__}.{case[1]}"


def started(path: Path) -> Rings:
    rings = Rings(path)
    rings.wait_active()
    rings.start_length_last()
    return rings


def victim_is_well(served: ServedPf, victim: Rings) -> None:
    """The other VF answers, and its messages arrive."""
    assert victim.client.read32(RSTAT) == 2
    before = victim.client.read32(ARQH)
    flags, retval = victim.send(payload=VERSION)
    assert flags & 3 == 3
    assert retval == 0
    victim.wait_message((before + 1) % 8)


def costs_the_session(hostile: Rings, fuse: Fuse, error: Exception, act: Act) -> None:
    """The client acts, runs into the exception, and is hung up on."""
    fuse.error, before = error, fuse.went_off
    fuse.armed = True
    try:
        act(hostile)
        hostile.client.sock.settimeout(10)
        while not hostile.client.hung_up():
            pass
    except ConnectionError:
        pass
    fuse.armed = False
    assert fuse.went_off > before
    hostile.client.close()


def run_into(served: ServedPf, fuse: Fuse, act: Act) -> None:
    victim = started(served.paths[1])
    victim_is_well(served, victim)
    for error in KINDS:
        hostile = started(served.paths[0])
        faults = served.vfs[0].account.faults
        costs_the_session(hostile, fuse, error, act)
        hostile.close()
        fresh = RawClient(served.paths[0])  # the VF is whole for the next client, which resets it
        assert fresh.ask(13)[0] == 0
        fresh.close()
        assert served.vfs[0].account.faults > faults, error
    victim_is_well(served, victim)
    info = served.control("info")
    assert info["vfs"][0]["faults"] >= len(KINDS)
    assert info["vfs"][1]["faults"] == 0
    assert info["faults"] == {"control": 0, "process": 0}
    again = started(served.paths[0])
    victim_is_well(served, again)
    for rings in (again, victim):
        rings.close()


def told(caplog: pytest.LogCaptureFixture, name: str) -> list[Exception]:
    """What was logged, all of it in that name and with its traceback."""
    records = [record for record in caplog.records if record.name == "iavfio.softvf"]
    assert all(record.getMessage().startswith(f"{name}: ") for record in records)
    assert all(record.exc_info for record in records)
    return [record.exc_info[1] for record in records if record.exc_info]  # type: ignore[misc]


# docs/spec/reliability.md D6
@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_a_handler_that_raises(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    owner, name, act = case
    bomb = Bomb(monkeypatch, owner, name)
    with caplog.at_level(logging.ERROR, "iavfio.softvf"), served_pf(tmp_path) as served:
        run_into(served, bomb, act)
    assert {type(error) for error in told(caplog, "vf0")} == {type(error) for error in KINDS}


@pytest.mark.parametrize("personality", ["e810", "x710"])
def test_a_register_whose_function_raises(personality: str, tmp_path: Path) -> None:
    with served_pf(tmp_path, personality=personality) as served:
        victim = RawClient(served.paths[1])
        registers = served.vfs[0].registers
        for table, _, offset in register_table(personality):
            rows: dict[int, Any] = getattr(registers, table)
            fuse, real = Fuse(), rows[offset]

            def function(*values: int, fuse: Fuse = fuse, real: Any = real) -> Any:
                fuse.spark()
                return real(*values)

            rows[offset] = function
            access = struct.pack("<QII", offset, 0, 4)
            reads = table == "readers"
            act = ask(9, access) if reads else ask(10, access + bytes(4))
            for error in KINDS[:2]:
                hostile = Rings(served.paths[0])
                hostile.wait_active()
                faults = served.vfs[0].account.faults
                costs_the_session(hostile, fuse, error, act)
                hostile.close()
                RawClient(served.paths[0]).close()
                assert served.vfs[0].account.faults == faults + 1
            rows[offset] = real
            assert victim.read32(RSTAT) == 2
        assert served.control("info")["vfs"][1]["faults"] == 0
        victim.close()


def test_a_version_that_raises(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bomb = Bomb(monkeypatch, Session, "_version")
    with caplog.at_level(logging.ERROR, "iavfio.softvf"), served_pf(tmp_path) as served:
        for bomb.error in KINDS:
            bomb.armed = True
            with pytest.raises(ConnectionError):
                RawClient(served.paths[0])
            bomb.armed = False
        assert RawClient(served.paths[0]).read32(RSTAT) in (0, 2)
        info = served.control("info")
        assert [vf["faults"] for vf in info["vfs"]] == [len(KINDS), 0]
    assert told(caplog, "vf0") == list(KINDS)


@pytest.mark.parametrize("name", ["begin"])
def test_a_step_after_the_clients_end_that_raises(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = Bomb(monkeypatch, Burial, name)
    with served_pf(tmp_path) as served:
        for bomb.error in KINDS:
            client = started(served.paths[0])
            bomb.armed = True
            client.close()
            RawClient(served.paths[0]).close()
            RawClient(served.paths[1]).close()
            bomb.armed = False
        started(served.paths[0]).close()
        assert served.control("info")["vfs"][0]["faults"] >= len(KINDS)


# Each is called for a client that comes, before it has a session.
COMING: Mapping[str, tuple[object, str]] = MappingProxyType(
    {
        "whether it may have a session": (VfServer, "_receive"),
        "whose it is": (sockets, "peer_allowed"),
        "its session": (listener, "Session"),
        "its connection": (listener, "Connection"),
    }
)


@pytest.mark.parametrize("where", COMING)
def test_a_client_that_comes_when_that_raises(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that comes is refused; the one that is there, and the other VF's, stay."""
    owner, name = COMING[where]
    with served_pf(tmp_path) as served:
        bomb = Bomb(monkeypatch, owner, name)
        victim = started(served.paths[1])
        for count, bomb.error in enumerate(KINDS, 1):
            bomb.armed = True
            comer = socket.socket(socket.AF_UNIX)
            comer.settimeout(10)
            comer.connect(str(served.paths[0]))
            assert comer.recv(1) == b""
            comer.close()
            bomb.armed = False
            info = served.control("info")
            assert info["faults"] == {"control": 0, "process": count}
        victim_is_well(served, victim)
        again = started(served.paths[0])
        victim_is_well(served, again)
        for rings in (again, victim):
            rings.close()


def test_an_accept_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes waits meanwhile, and is served after that."""
    bomb = Bomb(monkeypatch, Acceptor, "_accept")
    with served_pf(tmp_path) as served:
        victim = started(served.paths[1])
        for bomb.error in KINDS:
            before, bomb.armed = bomb.went_off, True
            with socket.socket(socket.AF_UNIX) as comer:
                comer.connect(str(served.paths[0]))
                while bomb.went_off == before:
                    victim_is_well(served, victim)
            bomb.armed = False
        RawClient(served.paths[0]).close()
        info = served.control("info")
        assert info["faults"] == {"control": 0, "process": bomb.went_off}
        assert [vf["faults"] for vf in info["vfs"]] == [0, 0]
        victim.close()


@pytest.mark.parametrize("opcode", sorted(MESSAGES), ids=lambda op: MESSAGES[op].name)
def test_a_virtchnl_handler_that_raises(
    opcode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = Fuse()

    def length_fault(payload: bytes, version: tuple[int, int]) -> str | None:
        bomb.spark()
        return MESSAGES[opcode].length_fault(payload, version)

    row = MESSAGES[opcode]
    raising = SimpleNamespace(
        length_fault=length_fault,
        handler_of=row.handler_of,
        unknown_to=(),
        unlock=row.unlock,
        gate=row.gate,
        name=row.name,
    )
    monkeypatch.setattr("iavfio.softvf.pf.driver.MESSAGES", {**MESSAGES, opcode: raising})
    with served_pf(tmp_path) as served:
        run_into(served, bomb, message(opcode, VERSION))


def _of_vf_0(*forms: str) -> dict[str, int]:
    """The arguments with which a command gets as far as its own code; it hangs up there."""
    return {"vf": 0} if any("vf" in form.split() for form in forms) else {}


@pytest.mark.parametrize("command", CONTROL)
def test_a_control_command_that_raises(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    bomb = Bomb(monkeypatch, Control, CONTROL[command])
    with caplog.at_level(logging.ERROR, "iavfio.softvf"), served_pf(tmp_path) as served:
        victim = started(served.paths[1])
        for bomb.error in KINDS:
            bomb.armed = True
            assert served.control(command, **_of_vf_0(ARGUMENTS.get(command, "vf"))) == {}
            bomb.armed = False
        assert bomb.went_off == len(KINDS)
        if command != "info":
            assert served.control("info")["faults"] == {"control": len(KINDS), "process": 0}
        victim_is_well(served, victim)
        victim.close()
    assert told(caplog, "a client of the control socket") == list(KINDS)


@pytest.mark.parametrize("command", POLICY)
def test_a_command_of_the_pf_that_raises(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fuse = Fuse()
    fuse.armed = True
    raising = {**POLICY, command: lambda pf, request: fuse.spark()}
    monkeypatch.setattr("iavfio.softvf.pf.admin.COMMANDS", raising)
    with served_pf(tmp_path) as served:
        for fuse.error in KINDS:
            assert served.control(command, **_of_vf_0(*FORMS.get(command, ("vf",)))) == {}
        assert fuse.went_off == len(KINDS)
        assert served.control("info")["faults"]["control"] == len(KINDS)


def test_whoever_makes_the_pf_act_does_not_pay_for_the_vf(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The administrator changes the link; to deliver that to VF 0 raises."""
    bomb = Bomb(monkeypatch, Mailbox, "deliver")
    with served_pf(tmp_path) as served:
        hostile = Rings(served.paths[0])
        hostile.wait_active()
        hostile.start_length_last()
        bomb.armed = True
        assert served.control("send", vf=0, opcode=17, retval=0, payload="")["ok"]
        bomb.armed = False
        assert hostile.client.hung_up()
        assert served.control("info")["vfs"][0]["faults"] == 1
        hostile.close()


def test_even_the_end_of_a_session_may_raise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bombs = [
        Bomb(monkeypatch, owner, name)
        for owner, name in ((Pf, "client_gone"), (Msix, "drop_all"), (DataPlane, "reset_vf"))
    ]
    with served_pf(tmp_path) as served:
        client = RawClient(served.paths[0])
        for bomb in bombs:
            bomb.armed = True
        client.close()
        end = RawClient(served.paths[1])
        assert end.read32(RSTAT) in (0, 2)
        for bomb in bombs:
            bomb.armed = False
        again = RawClient(served.paths[0])
        again.ask(13)
        again.close()
        end.close()
        assert served.control("info")["vfs"][0]["faults"] >= len(bombs)


# docs/spec/reliability.md D1
@pytest.mark.parametrize("ring", ["atq", "arq"])
@pytest.mark.parametrize("index", [0, 1, 5, 31])
@pytest.mark.parametrize("low", [0xFFFFFFC0, 0xFFFFFF80, 0x0])
def test_a_ring_near_the_end_of_all_addresses(
    ring: str, index: int, low: int, tmp_path: Path
) -> None:
    """Register writes alone, as a guest can do them: base plus index lies beyond 2^64."""
    head, base_low, base_high, length, tail = (
        (ATQH, ATQBAL, ATQBAH, ATQLEN, ATQT)
        if ring == "atq"
        else (ARQH, ARQBAL, ARQBAH, ARQLEN, ARQT)
    )
    with served_pf(tmp_path) as served:
        hostile, victim = RawClient(served.paths[0]), Rings(served.paths[1])
        victim.wait_active()
        victim.start_length_last()
        hostile.write(7, 4, b"\6\0")
        for register, value in (
            (head, index),
            (base_low, low),
            (base_high, 0xFFFFFFFF),
            (length, 0x80000020),
            (tail, (index + 1) % 32),
        ):
            hostile.write32(register, value)
        assert served.control("send", vf=0, opcode=17, retval=0, payload="00")["ok"]
        assert hostile.read32(length) & 1 << 30  # a critical error, as for any bad address
        victim_is_well(served, victim)
        info = served.control("info")
        assert [vf["faults"] for vf in info["vfs"]] == [0, 0]
        assert info["vfs"][0]["connected"]
        hostile.close()
        victim.close()
