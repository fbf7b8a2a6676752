# SPDX-License-Identifier: BSD-3-Clause
"""An exception in any handler costs its client the session, and nobody else anything.

The promise is docs/spec/reliability.md 6 (D6). Each case plants an exception in one handler of one
VF, makes its client run into it, and looks at everybody.
"""

from __future__ import annotations

import logging
import os
import struct
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from iavfio.softvf.control import Control
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.function.config_space import ConfigSpace
from iavfio.softvf.function.device import Vf
from iavfio.softvf.function.mailbox import Mailbox
from iavfio.softvf.function.msix import Msix
from iavfio.softvf.function.registers import Registers
from iavfio.softvf.pf import Pf
from iavfio.softvf.pf.resets import Resets
from iavfio.softvf.pf.table import MESSAGES
from iavfio.softvf.server.session import Session
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
    DYN_CTL01,
    RSTAT,
    Rings,
)
from tests.softvf.server.raw_client import RawClient

Act = Callable[[Rings], object]


class Unexpected(Exception):
    """What no handler is prepared for."""


class Fuse:
    """Whether what was planted raises, and how often it has."""

    def __init__(self) -> None:
        self.armed, self.went_off = False, 0


class Bomb(Fuse):
    """Replaces a method by one that raises once it is armed."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
        super().__init__()
        real = getattr(owner, name)

        def method(instance: Any, *arguments: Any, **named: Any) -> Any:
            if self.armed:
                self.went_off += 1
                raise Unexpected(name)
            return real(instance, *arguments, **named)

        monkeypatch.setattr(owner, name, method)


def ask(command: int, payload: bytes = b"") -> Act:
    return lambda rings: rings.client.ask(command, payload)


def w32(register: int, value: int = 0) -> Act:
    return lambda rings: rings.client.write32(register, value)


def access(region: int, offset: int, data: bytes) -> bytes:
    return struct.pack("<QII", offset, region, len(data)) + data


def dma_map(rings: Rings) -> None:
    fd = os.memfd_create("more")
    os.ftruncate(fd, 4096)
    try:
        rings.client.ask(2, struct.pack("<IIQQQ", 32, 3, 0, 1 << 40, 4096), (fd,))
    finally:
        os.close(fd)


def message(opcode: int, payload: bytes = b"") -> Act:
    return lambda rings: rings.send(v_opcode=opcode, payload=payload)


VERSION = struct.pack("<II", 1, 1)
IRQS = struct.pack("<IIIII", 20, 1 | 32, 2, 0, 1)
MULTI = struct.pack("<Q", 1) + struct.pack("<QIIQ", RSTAT, 0, 4, 0)
COMMANDS: list[tuple[type, str, Act]] = [
    (Session, "_dma_map", dma_map),
    (Session, "_dma_unmap", ask(3, struct.pack("<IIQQ", 24, 0, 1 << 40, 4096))),
    (Session, "_info", ask(4, struct.pack("<IIII", 16, 0, 0, 0))),
    (Session, "_region_info", ask(5, struct.pack("<IIIIQQ", 32, 0, 0, 0, 0, 0))),
    (Session, "_io_fds", ask(6, struct.pack("<IIII", 16, 0, 0, 0))),
    (Session, "_irq_info", ask(7, struct.pack("<IIII", 16, 0, 2, 0))),
    (Session, "_set_irqs", ask(8, IRQS)),
    (Session, "_read", ask(9, struct.pack("<QII", RSTAT, 0, 4))),
    (Session, "_write", ask(10, access(0, RSTAT, bytes(4)))),
    (Session, "_write_many", ask(15, MULTI)),
    (Session, "_reset", ask(13)),
    (Session, "_feature", ask(16)),
    (DataPlane, "dma_map", dma_map),
    (DataPlane, "dma_unmap", ask(3, struct.pack("<IIQQ", 24, 0, 1 << 40, 4096))),
    (Msix, "fire", ask(8, IRQS)),
    (Msix, "publish", ask(10, access(3, 12, bytes(4)))),
    (Vf, "write", ask(15, MULTI)),
    (Vf, "flr", ask(13)),
    (ConfigSpace, "read", ask(9, struct.pack("<QII", 0, 7, 4))),
    (ConfigSpace, "write", ask(10, access(7, 4, bytes(2)))),
    (ConfigSpace, "reset", ask(13)),
    (Resets, "flr", ask(13)),
]
REGISTERS: list[tuple[type, str, Act]] = [
    (Registers, "read", ask(9, struct.pack("<QII", RSTAT, 0, 4))),
    (Registers, "write", w32(RSTAT)),
    (Registers, "_write_rstat", w32(RSTAT)),
    (Registers, "_write_dyn_ctl", w32(DYN_CTL01)),
    *((Mailbox, "write_base_low", w32(at)) for at in (ATQBAL, ARQBAL)),
    *((Mailbox, "write_base_high", w32(at)) for at in (ATQBAH, ARQBAH)),
    *((Mailbox, "write_length", w32(at)) for at in (ATQLEN, ARQLEN)),
    *((Mailbox, "write_head", w32(at)) for at in (ATQH, ARQH)),
    *((Mailbox, "write_tail", w32(at)) for at in (ATQT, ARQT)),
    *((DataPlane, "bar_write32", w32(at)) for at in (0x0000, 0x2000)),
    (DataPlane, "write_itr", w32(0x4C00)),
    (DataPlane, "write_dyn_ctl", w32(0x3800)),
]
QUEUES: list[tuple[type, str, Act]] = [
    (Mailbox, "work", message(1, VERSION)),
    (Mailbox, "deliver", message(1, VERSION)),
    (Mailbox, "_take", message(1, VERSION)),
    (Mailbox, "_inspect", message(1, VERSION)),
    (Mailbox, "_complete", message(1, VERSION)),
    (Mailbox, "_inspect_posted", message(1, VERSION)),
    (Vf, "dma_read", message(1, VERSION)),
    (Vf, "dma_write", message(1, VERSION)),
    (Vf, "mailbox_interrupt", message(1, VERSION)),
    (Vf, "message_from_vf", message(1, VERSION)),
    (Pf, "message", message(1, VERSION)),
    (Vf, "queue_shutdown", lambda rings: rings.send(opcode=3, v_opcode=0, param0=1)),
    (Pf, "queue_shutdown", lambda rings: rings.send(opcode=3, v_opcode=0, param0=1)),
]
TIMERS: list[tuple[type, str, Act]] = [
    (Resets, "_complete", ask(13)),
    (Resets, "_activate", ask(13)),
    (Resets, "_begin", message(2)),
    (Pf, "_event_is_over", message(1, VERSION)),
    (Vf, "_hardware_reset", message(2)),
]


def name_of(case: tuple[type, str, Act]) -> str:
    return f"{case[0].__name__}.{case[1]}"


def victim_is_well(served: ServedPf, victim: Rings) -> None:
    """The other VF answers, and its messages arrive."""
    assert victim.client.read32(RSTAT) == 2
    before = victim.client.read32(ARQH)
    flags, retval = victim.send(payload=VERSION)
    assert flags & 3 == 3
    assert retval == 0
    victim.wait_message((before + 1) % 8)


def run_into(served: ServedPf, bomb: Fuse, act: Act) -> None:
    victim, hostile = Rings(served.paths[1]), Rings(served.paths[0])
    for rings in (victim, hostile):
        rings.wait_active()
        rings.start_length_last()
    victim_is_well(served, victim)
    bomb.armed = True
    try:
        act(hostile)
        hostile.client.sock.settimeout(10)
        while not hostile.client.hung_up():
            pass
    except ConnectionError:
        pass
    bomb.armed = False
    assert bomb.went_off
    victim_is_well(served, victim)
    info = served.control("info")
    assert info["vfs"][0]["faults"] >= 1
    assert info["vfs"][1]["faults"] == 0
    assert info["faults"] == {"control": 0, "process": 0}
    hostile.client.close()
    fresh = RawClient(served.paths[0])  # the VF is whole for the next client, which resets it first
    assert fresh.ask(13)[0] == 0
    fresh.close()
    again = Rings(served.paths[0])
    again.wait_active()
    again.start_length_last()
    victim_is_well(served, again)
    for rings in (again, victim):
        rings.close()


@pytest.mark.parametrize("case", COMMANDS + REGISTERS + QUEUES + TIMERS, ids=name_of)
def test_a_handler_that_raises(
    case: tuple[type, str, Act],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    owner, name, act = case
    bomb = Bomb(monkeypatch, owner, name)
    with caplog.at_level(logging.ERROR, "iavfio.softvf"), served_pf(tmp_path) as served:
        run_into(served, bomb, act)
    records = [record for record in caplog.records if record.name == "iavfio.softvf"]
    assert records
    assert all(record.getMessage().startswith("vf0: ") for record in records)
    assert records[0].exc_info
    assert isinstance(records[0].exc_info[1], Unexpected)


@pytest.mark.parametrize("opcode", sorted(MESSAGES), ids=lambda op: MESSAGES[op].name)
def test_a_virtchnl_handler_that_raises(
    opcode: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = Fuse()

    def length_fault(payload: bytes, version: tuple[int, int]) -> str | None:
        if bomb.armed:
            bomb.went_off += 1
            raise Unexpected(MESSAGES[opcode].name)
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


@pytest.mark.parametrize(
    "command",
    "tell_info tell_log stats journal gone remove disconnect request error stall irq mute wire "
    "end".split(),
)
def test_a_control_command_that_raises(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = Bomb(monkeypatch, Control, f"_{command}")
    with served_pf(tmp_path) as served:
        victim = Rings(served.paths[1])
        victim.wait_active()
        victim.start_length_last()
        bomb.armed = True
        spoken = {"tell_info": "info", "tell_log": "log", "end": "stop"}.get(command, command)
        assert served.control(spoken, vf=0) == {}  # it hung up
        assert bomb.went_off == 1
        bomb.armed = False
        assert served.control("info")["faults"] == {"control": 1, "process": 0}
        victim_is_well(served, victim)
        victim.close()


def test_a_command_of_the_pf_that_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = Bomb(monkeypatch, Pf, "control")
    with served_pf(tmp_path) as served:
        bomb.armed = True
        assert served.control("trust", vf=0, on=True) == {}
        bomb.armed = False
        assert served.control("trust", vf=0, on=True)["ok"]
        assert served.control("info")["faults"]["control"] == 1


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
