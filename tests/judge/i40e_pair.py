# SPDX-License-Identifier: BSD-3-Clause
"""The i40e judge and the software PF behind one face: each takes the same steps and tells the rest.

A step is a message of the VF's or a deed of the host's administrator. What a step brings about is
its replies, in order; what the PF holds after it is read from the PF itself.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.linuxpf.process import JudgeProcess, Reply, What
from iavfio.softvf.linux_pf.i40e.queues import decode
from iavfio.softvf.linux_pf.i40e.switch import Switch, Vsi
from tests.judge.i40e_programmed import Programmed, by_linux, by_software, unlike
from tests.softvf.pf.pf_rig import LINUX_CAPS, Rig, rig

BROADCAST = b"\xff" * 6
PAIRS = 4
VFS = 4  # of the judge, which share its filters
PF_VSI = 0x1FF  # the number of the PF's own VSI on the judge's card
QUIET = 500.0  # milliseconds after which a reset of the software PF is over
VERSION_1_1 = struct.pack("<II", 1, 1)
HELD = struct.Struct("<6s3H4H13I16I2I")
FILTER = struct.Struct("<6sh")
SELECT = struct.Struct("<4xII")  # maps of ENABLE_QUEUES
RESET_VF, EVENT = 2, 17
RESET_IMPENDING = struct.pack("<I", 2)  # how the event begins
REQUEST = struct.Struct("<H")  # queue pairs of REQUEST_QUEUES
CARD_QUEUES = range(64, 64 + 256)  # behind the PF's own
QTX_ENA, QRX_ENA = 0x100000, 0x120000  # a word for each of the card's queues
Unlike = dict[str, tuple[Any, Any]]
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


def enables_beyond(steps: Iterable[Step]) -> bool:
    """Whether ENABLE_QUEUES names queues behind the fewest that the VF had or asked for by then."""
    fewest = PAIRS
    for step in steps:
        if step.deed is None and step.opcode == 29 and len(step.payload) == REQUEST.size:
            fewest = min(fewest, *REQUEST.unpack(step.payload))
        if step.deed is None and step.opcode == 8 and len(step.payload) >= SELECT.size:
            rx, tx = SELECT.unpack_from(step.payload)
            if (rx | tx) >> fewest:
                return True
    return False


def configures_beyond(steps: Iterable[Step]) -> bool:
    """Whether the last CONFIG_VSI_QUEUES had more entries than the VF had or asked for queues."""
    fewest, entries = PAIRS, 0
    for step in steps:
        if step.deed is None and step.opcode == 29 and len(step.payload) == REQUEST.size:
            fewest = min(fewest, *REQUEST.unpack(step.payload))
        if step.deed is None and step.opcode == 6 and len(step.payload) >= 4:
            (entries,) = struct.unpack_from("<2xH", step.payload)
    return entries > fewest


def vsi_places(step: Step) -> list[int]:
    """Where in the payload of a message the numbers of VSIs stand."""
    size = len(step.payload)
    pairs = range(8, size, 64)
    places = {
        6: [0, *pairs, *(at + 24 for at in pairs)],  # CONFIG_VSI_QUEUES
        7: [*range(2, size, 12)],  # CONFIG_IRQ_MAP
    }
    return places.get(step.opcode, [0])


class JudgeSide:
    """A VF of the real i40e driver, the first one; VFs of one process share its `switch`."""

    def __init__(self, process: JudgeProcess, vf: int = 0, switch: Switch | None = None) -> None:
        self._process = process
        self._vf = vf
        self._port_vlan = 0
        if switch is None:
            switch = Switch()
            switch.commands(process.start.commands)
        self.switch = switch
        self.told: set[int] = set()  # VFs that anything was sent to in the last step
        self._heard: list[Step] = []  # messages since the VF was made fresh

    def fresh(self, trusted: bool) -> None:
        """A VF as after power-on: no settings of the administrator's but trust, four pairs.

        Channels outlive even an FLR, and make 16 pairs of any number. So do queues of others that
        the VF has enabled.
        """
        if enables_beyond(self._heard):
            for queue in CARD_QUEUES:
                for register in (QTX_ENA, QRX_ENA):
                    self._process.request(What.WRITE, 0, register + 4 * queue)
        self._heard.clear()
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
                self._heard.append(step)
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
        answer = self._process.request(what, self._vf, value, payload)
        self.switch.commands(answer.commands)
        self.told = {vf for vf, *_ in answer.messages}
        return self._process.replies(answer, self._vf)

    def programmed(self) -> Programmed:
        """What the card would do for the VF now."""
        queues = decode(self._process.request(What.QUEUES, self._vf).queues)
        return by_linux(self.switch.vsi(self._vf) or Vsi(), queues)

    def held(self) -> Held:
        """What the PF holds now: its filters, its flags and the card's registers."""
        state = self._process.request(What.STATE, self._vf).state
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
    """A VF of the software PF, the first one; its clock runs until nothing more is to come."""

    def __init__(self, made: Rig, vf: int = 0) -> None:
        self._rig, self._vf = made, vf
        self.told: set[int] = set()  # VFs that anything was sent to in the last step
        for step in (Step(1, VERSION_1_1), RESOURCES, Step(deed="flr"), Step(1, VERSION_1_1)):
            self.take(step)

    def take(self, step: Step) -> list[Reply]:
        """The replies to a step."""
        made, vf = self._rig, self._vf
        for hardware in made.hardware:
            hardware.take()
        match step.deed:
            case None:
                made.pf.message(vf, step.opcode, step.payload)
            case "flr":
                made.plane.reset_vf(vf)  # the function does the hardware's half itself
                made.pf.flr(vf)
            case "trust":
                made.pf.control({"command": "trust", "vf": vf, "on": step.value})
            case "mac":
                made.pf.control({"command": "mac", "vf": vf, "mac": step.value.hex(":")})
            case "port_vlan":
                made.pf.control({"command": "vlan", "vf": vf, "vlan": step.value})
            case "link":
                made.pf.control({"command": "link", "vf": vf, "state": step.value})
            case "spoofchk":
                made.pf.control({"command": "spoofchk", "vf": vf, "on": step.value})
        made.clock.advance(QUIET)
        sent = [hardware.take() for hardware in made.hardware]
        self.told = {number for number, messages in enumerate(sent) if messages}
        return sent[vf]

    def held(self) -> Held:
        """What the PF holds now."""
        vf = self._rig.pf.vfs[self._vf]
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
        calls = [call for call in self._rig.plane.calls if call[1] == self._vf]
        return by_software(self._rig.plane.config[self._vf], calls)


@contextmanager
def soft_side(trusted: bool, **options: Any) -> Iterator[SoftSide]:
    """A software PF just after power-on that gives its VF no MAC address, as i40e does."""
    with rig("x710", vfs=VFS, mac="zero", trusted=trusted, **options) as made:
        yield SoftSide(made)


@dataclass(frozen=True)
class Exchange:
    """One step of both sides, and the steps before it since power-on."""

    kernel: str
    trusted: bool
    before: tuple[Step, ...]
    refused: frozenset[int]  # which of those i40e answered with an error
    resets: frozenset[int]  # which of those reset the VF
    step: Step
    real: list[Reply]
    soft: list[Reply]
    unlike: dict[str, tuple[Any, Any]]  # what the PFs hold after it, real and software
    programmed: dict[str, tuple[Any, Any]]  # and what serves the VF's frames
    others: dict[int, tuple[Unlike, Unlike]] = field(default_factory=dict)  # both, of other VFs

    @property
    def is_reset(self) -> bool:
        """Whether the step resets the VF: an FLR, RESET_VF, or what i40e announces as a reset."""
        announced = any(op == EVENT and data[:4] == RESET_IMPENDING for op, _, data in self.real)
        return self.step.deed == "flr" or self.step.opcode == RESET_VF or announced

    @property
    def equal(self) -> bool:
        """Whether replies, their order and what the PFs hold and programmed are the same."""
        unlike = self.unlike or self.programmed or self.others
        return self.real == self.soft and not unlike

    def __str__(self) -> str:
        trust = "trusted" if self.trusted else "untrusted"
        return (
            f"i40e of {self.kernel}, {trust}, after {len(self.before)} steps, {self.step}:\n"
            f"  i40e says     {show(self.real)}\n  software PF   {show(self.soft)}\n"
            f"  held unlike   {self.unlike}\n  effects       {self.programmed}\n"
            f"  of other VFs  {self.others}"
        )


def show(replies: list[Reply]) -> str:
    """Replies on one line."""
    return " + ".join(f"{op}: {status} {data.hex()}" for op, status, data in replies) or "silence"


def exchange(
    judge: JudgeSide,
    soft: SoftSide,
    kernel: str,
    trusted: bool,
    done: Sequence[Exchange],
    step: Step,
) -> Exchange:
    """Says one step to both; `done` is what the VF has said and done before."""
    real, played = judge.take(step), soft.take(step)
    refused = frozenset(
        number
        for number, each in enumerate(done)
        if any(op == each.step.opcode and status for op, status, _ in each.real)
    )
    return Exchange(
        kernel=kernel,
        trusted=trusted,
        before=tuple(each.step for each in done),
        refused=refused,
        resets=frozenset(number for number, each in enumerate(done) if each.is_reset),
        step=step,
        real=real,
        soft=played,
        unlike=unlike(judge.held(), soft.held()),
        programmed=unlike(judge.programmed(), soft.programmed()),
    )


def duel(
    judge: JudgeSide, kernel: str, trusted: bool, steps: Sequence[Step], **options: Any
) -> list[Exchange]:
    """Says the steps to both, up to the first after which they differ."""
    judge.fresh(trusted)
    done: list[Exchange] = []
    with soft_side(trusted, pf_kernel=DIALECTS.get(kernel, kernel), **options) as soft:
        for step in steps:
            done.append(exchange(judge, soft, kernel, trusted, done, step))
            if not done[-1].equal:
                break
    return done
