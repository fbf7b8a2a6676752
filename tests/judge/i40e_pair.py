# SPDX-License-Identifier: BSD-3-Clause
"""The i40e judge and the software PF behind one face: each takes the same steps and tells the rest.

A step is a message of the VF's or a deed of the host's administrator. What a step brings about is
its replies, in order; what the PF holds after it is read from the PF itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.linuxpf.process import JudgeProcess, Reply, What
from iavfio.softvf.linux_pf.i40e.queues import decode
from iavfio.softvf.linux_pf.i40e.switch import Switch, Vsi
from tests.judge.i40e_programmed import Programmed, by_linux, by_software, unlike
from tests.softvf.pf.pf_rig import LINUX_CAPS, Rig, rig

BROADCAST = b"\xff" * 6
PAIRS = 4
QUIET = 500.0  # milliseconds after which a reset of the software PF is over
VERSION_1_1 = struct.pack("<II", 1, 1)
HELD = struct.Struct("<6s3H4H13I16I2I")
FILTER = struct.Struct("<6sh")
Deed = Literal["flr", "trust", "mac", "port_vlan", "link", "spoofchk"]
DIALECTS = {NEWEST: "7.x"}  # what pf_kernel calls it
LINK = {"auto": 0, "enable": 1, "disable": 2}


@dataclass(frozen=True)
class Step:
    """A message (opcode and payload) or a deed with its value."""

    opcode: int = 0
    payload: bytes = b""
    deed: Deed | None = None
    value: Any = None

    def __str__(self) -> str:
        if self.deed:
            return f"{self.deed} {self.value}"
        return f"op {self.opcode} {self.payload.hex()[:80]}"


@dataclass(frozen=True)
class Held:
    """What a PF holds for a VF."""

    default_mac: bytes
    macs: frozenset[bytes]
    vlans: frozenset[int]
    pairs: int
    rx_enabled: int
    tx_enabled: int
    unicast: bool
    multicast: bool
    key: bytes
    lut: bytes
    hashcfg: int


RESOURCES = Step(3, struct.pack("<I", LINUX_CAPS))


class JudgeSide:
    """VF 0 of the real i40e driver."""

    def __init__(self, process: JudgeProcess) -> None:
        self._process = process
        self._port_vlan = 0
        self._switch = Switch()
        self._switch.commands(process.start.commands)

    def fresh(self, trusted: bool) -> None:
        """A VF as after power-on: no settings of the administrator's but trust, four pairs.

        Channels outlive even an FLR, and make 16 pairs of any number.
        """
        for step in (
            Step(deed="port_vlan", value=0),
            Step(deed="link", value="auto"),
            Step(deed="spoofchk", value=True),
            Step(deed="mac", value=bytes(6)),
            Step(deed="trust", value=trusted),
            Step(deed="flr"),
            Step(1, VERSION_1_1),
        ):
            self.take(step)
        reply = self.take(RESOURCES)
        if struct.unpack_from("<H", reply[0][2], 2) != (PAIRS,):
            self.take(Step(31))
            self.take(Step(29, struct.pack("<H", PAIRS)))
        self.take(Step(deed="flr"))
        self.take(Step(1, VERSION_1_1))

    def take(self, step: Step) -> list[Reply]:
        """The replies to a step."""
        match step.deed:
            case None:
                self._process.said += 1
                return self._ask(What.MESSAGE, step.opcode, step.payload)
            case "flr":
                return self._ask(What.FLR)
            case "trust":
                return self._ask(What.TRUST, int(step.value))
            case "mac":
                return self._ask(What.MAC, payload=step.value)
            case "port_vlan":
                self._port_vlan = step.value
                return self._ask(What.PORT_VLAN, step.value)
            case "link":
                return self._ask(What.LINK, LINK[step.value])
            case "spoofchk":
                return self._ask(What.SPOOFCHK, int(step.value))

    def _ask(self, what: What, value: int = 0, payload: bytes = b"") -> list[Reply]:
        answer = self._process.request(what, 0, value, payload)
        self._switch.commands(answer.commands)
        return self._process.replies(answer, 0)

    def programmed(self) -> Programmed:
        """What the card would do for the VF now."""
        queues = decode(self._process.request(What.QUEUES).queues)
        return by_linux(self._switch.vsi(0) or Vsi(), queues)

    def held(self) -> Held:
        """What the PF holds now: its filters, its flags and the card's registers."""
        state = self._process.request(What.STATE).state
        default, pairs, _, _, rx, tx, unicast, multicast, *words = HELD.unpack_from(state)
        filters = list(FILTER.iter_unpack(state[HELD.size :]))
        return Held(
            default_mac=default,
            macs=frozenset(mac for mac, _ in filters) - {BROADCAST},
            vlans=frozenset(vid for _, vid in filters if vid > 0) - {self._port_vlan},
            pairs=pairs,
            rx_enabled=rx,
            tx_enabled=tx,
            unicast=bool(unicast),
            multicast=bool(multicast),
            key=struct.pack("<13I", *words[:13]),
            lut=struct.pack("<16I", *words[13:29]),
            hashcfg=words[29] | words[30] << 32,
        )


class SoftSide:
    """VF 0 of the software PF; its clock runs until nothing more is to come."""

    def __init__(self, made: Rig) -> None:
        self._rig = made
        for step in (Step(1, VERSION_1_1), RESOURCES, Step(deed="flr"), Step(1, VERSION_1_1)):
            self.take(step)

    def take(self, step: Step) -> list[Reply]:
        """The replies to a step."""
        made = self._rig
        made.hardware[0].take()
        match step.deed:
            case None:
                made.pf.message(0, step.opcode, step.payload)
            case "flr":
                made.plane.reset_vf(0)  # the function does the hardware's half itself
                made.pf.flr(0)
            case "trust":
                made.pf.control({"command": "trust", "vf": 0, "on": step.value})
            case "mac":
                made.pf.control({"command": "mac", "vf": 0, "mac": step.value.hex(":")})
            case "port_vlan":
                made.pf.control({"command": "vlan", "vf": 0, "vlan": step.value})
            case "link":
                made.pf.control({"command": "link", "vf": 0, "state": step.value})
            case "spoofchk":
                made.pf.control({"command": "spoofchk", "vf": 0, "on": step.value})
        made.clock.advance(QUIET)
        return made.hardware[0].take()

    def held(self) -> Held:
        """What the PF holds now."""
        vf = self._rig.pf.vfs[0]
        return Held(
            default_mac=vf.own_mac,
            macs=frozenset(vf.macs),
            vlans=frozenset(vf.vlans),
            pairs=vf.num_queue_pairs,
            rx_enabled=vf.rx_enabled,
            tx_enabled=vf.tx_enabled,
            unicast=vf.promisc_unicast,
            multicast=vf.promisc_multicast,
            key=vf.rss_key,
            lut=vf.rss_lut,
            hashcfg=vf.hashcfg,
        )

    def programmed(self) -> Programmed:
        """What the data plane does for the VF now."""
        return by_software(self._rig.config, self._rig.plane.calls)


@contextmanager
def soft_side(trusted: bool, **options: Any) -> Iterator[SoftSide]:
    """A software PF just after power-on that gives its VF no MAC address, as i40e does."""
    with rig("x710", mac="zero", trusted=trusted, **options) as made:
        yield SoftSide(made)


@dataclass(frozen=True)
class Exchange:
    """One step of both sides, and the steps before it since power-on."""

    kernel: str
    trusted: bool
    before: tuple[Step, ...]
    step: Step
    real: list[Reply]
    soft: list[Reply]
    unlike: dict[str, tuple[Any, Any]]  # what the PFs hold after it, real and software
    programmed: dict[str, tuple[Any, Any]]  # and what serves the VF's frames

    @property
    def equal(self) -> bool:
        """Whether replies, their order and what the PFs hold and programmed are the same."""
        return self.real == self.soft and not self.unlike and not self.programmed

    def __str__(self) -> str:
        trust = "trusted" if self.trusted else "untrusted"
        return (
            f"i40e of {self.kernel}, {trust}, after {len(self.before)} steps, {self.step}:\n"
            f"  i40e says     {show(self.real)}\n  software PF   {show(self.soft)}\n"
            f"  held unlike   {self.unlike}\n  effects       {self.programmed}"
        )


def show(replies: list[Reply]) -> str:
    """Replies on one line."""
    return " + ".join(f"{op}: {status} {data.hex()}" for op, status, data in replies) or "silence"


def duel(
    judge: JudgeSide, kernel: str, trusted: bool, steps: Sequence[Step], **options: Any
) -> list[Exchange]:
    """Says the steps to both, up to the first after which they differ."""
    judge.fresh(trusted)
    done: list[Exchange] = []
    with soft_side(trusted, pf_kernel=DIALECTS.get(kernel, kernel), **options) as soft:
        for at, step in enumerate(steps):
            real, played = judge.take(step), soft.take(step)
            held = unlike(judge.held(), soft.held())
            programmed = unlike(judge.programmed(), soft.programmed())
            before = tuple(steps[:at])
            done.append(Exchange(kernel, trusted, before, step, real, played, held, programmed))
            if not done[-1].equal:
                break
    return done
