# SPDX-License-Identifier: BSD-3-Clause
"""The real ice and the software PF's e810, told the same things side by side."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from iavfio.linuxpf.kernel_source import NEWEST
from iavfio.linuxpf.process import JudgeProcess, Reply, What
from iavfio.softvf.linux_pf.ice import flows
from iavfio.softvf.linux_pf.ice.flows import hashing
from iavfio.softvf.linux_pf.ice.queues import decode
from iavfio.softvf.linux_pf.ice.switch import Switch
from tests.judge.ice_programmed import Programmed, by_linux, by_software
from tests.softvf.pf.pf_rig import Rig, rig

CAPS = 0xBEBD8CF9  # what Linux asks for (docs/spec/virtchnl.md 4)
QUEUES = 16
LINK_MODES = {"auto": 0, "enable": 1, "disable": 2}
ZERO_MAC = bytes(6)
EVENT = 17
ADD_RULE, DELETE_RULE = 45, 46
# Capabilities that ice grants: the software PF plays neither flow director nor, of the newest
# kernel, rates of queues and the clock (docs/spec/pf-dialects.md 7).
DIRECTOR, RATES_AND_CLOCK = 1 << 11 | 1 << 28, 1 << 29 | 1 << 31
NOT_PLAYED: Mapping[str, int] = MappingProxyType(
    {"6.1": DIRECTOR, "6.12": DIRECTOR, NEWEST: DIRECTOR | RATES_AND_CLOCK}
)
PRIVATE_FLAGS = ("true_promisc", "vlan_pruning")  # in the order of the judge's numbers
# The software PF of each kernel.
DIALECTS: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "6.1": {"pf_kernel": "6.1"},
        "6.12": {"pf_kernel": "6.12"},
        NEWEST: {"pf_kernel": "7.x"},
    }
)


@dataclass(frozen=True)
class Say:
    """A message of the VF's."""

    opcode: int
    payload: bytes = b""

    def __str__(self) -> str:
        return f"{self.opcode} {self.payload[:24].hex()}"


@dataclass(frozen=True)
class Host:
    """A deed of the administrator's: trust, mac, vlan, link, spoofchk, rate, flags; or an FLR.

    `flags` is the private flags of the PF that are on, with an FLR after it: ethtool lets them be
    changed only before the VFs are made, or before they are promiscuous.
    """

    deed: str
    value: Any = None

    def __str__(self) -> str:
        return f"{self.deed} {self.value}"


Step = Say | Host


class Ice:
    """A VF of the judge's, the first one; `kernel` is the version of its Linux.

    VFs of one process share its `switch`.
    """

    def __init__(
        self,
        process: JudgeProcess,
        kernel: str,
        double_vlan: bool,
        vf: int = 0,
        switch: Switch | None = None,
    ) -> None:
        self.process, self.kernel, self._double_vlan = process, kernel, double_vlan
        self._vf = vf
        if switch is None:
            switch = Switch()
            switch.commands(process.start.commands)
        self.switch = switch
        self.told: set[int] = set()  # VFs that anything was sent to in the last step
        self._own_key = b""
        self._rules: list[bytes] = []  # that somebody may have made: they outlive resets

    def do(self, step: Step) -> list[Reply]:
        """Carries out a step; what the VF was sent."""
        if isinstance(step, Say):
            self.process.said += 1
            if step.opcode == ADD_RULE:
                self._rules.append(step.payload)
            return self._ask(What.MESSAGE, step.opcode, step.payload)
        return self._deeds()[step.deed](step.value)

    def _ask(self, what: What, value: int = 0, payload: bytes = b"") -> list[Reply]:
        answer = self.process.request(what, self._vf, value, payload)
        self.switch.commands(answer.commands)
        self.told = {vf for vf, *_ in answer.messages}
        return self.process.replies(answer, self._vf)

    def neighbour(self, step: Step) -> set[int]:
        """Has VF 1 say a message or be reset by its function; the VFs that were sent anything."""
        other = Ice(self.process, self.kernel, self._double_vlan, 1, self.switch)
        other.do(step)
        return other.told

    def programmed(self) -> Programmed:
        """What the card would do for the VF now."""
        answer = self.process.request(What.QUEUES, self._vf)
        queues, profiles = decode(answer.queues), flows.decode(answer.state)
        vsi = self.switch.vsis.get(queues.vsi)
        hashed = hashing(profiles.rss, bool(vsi and vsi.symmetric))
        return by_linux(self.switch, queues, hashed, self._own_key, self._double_vlan)

    def _deeds(self) -> dict[str, Callable[[Any], list[Reply]]]:
        host = self._ask
        return {
            "flr": lambda _: host(What.FLR),
            "trust": lambda on: host(What.TRUST, int(on)),
            "mac": lambda mac: host(What.MAC, payload=mac),
            "vlan": lambda vid: host(What.PORT_VLAN, vid),
            "link": lambda mode: host(What.LINK, LINK_MODES[mode]),
            "spoofchk": lambda on: host(What.SPOOFCHK, int(on)),
            "rate": lambda mbps: host(What.RATE, mbps),
            "flags": self._set_flags,
        }

    def _set_flags(self, on: Sequence[str]) -> list[Reply]:
        for number, name in enumerate(PRIVATE_FLAGS):
            self.process.request(What.FLAG, number, int(name in on))
        return self._ask(What.FLR)

    def begin(self, trusted: bool) -> None:
        """Makes the VF as one that nobody has used: the PF keeps much over a reset."""
        for step in (
            Host("vlan", 0),
            Host("link", "auto"),
            Host("mac", ZERO_MAC),
            Host("spoofchk", True),
            Host("rate", 0),
            Host("trust", trusted),
            Host("flags", ()),
            Say(1, struct.pack("<II", 1, 1)),
        ):
            self.do(step)
        (_, _, resources), *_ = self.do(Say(3, struct.pack("<I", CAPS)))
        while self._rules:
            self.do(Say(DELETE_RULE, self._rules.pop()))
        ((_, status, classes),) = self.do(Say(25))
        if not status:
            self.do(Say(26, classes))  # it makes all profiles anew, in their own order
        if struct.unpack_from("<H", resources, 2) != (QUEUES,):
            self.do(Say(29, struct.pack("<H", QUEUES)))
            self.do(Say(3, struct.pack("<I", CAPS)))
        self.do(Say(44))  # from here on the PF knows which RXDIDs it offers, for all its VFs
        self.do(Host("flr"))
        self.do(Say(1, struct.pack("<II", 1, 1)))
        self._own_key = self.programmed().key or self._own_key


class Soft:
    """A VF of a software PF, the first one."""

    def __init__(self, made: Rig, vf: int = 0) -> None:
        self.rig, self._vf = made, vf
        self.told: set[int] = set()  # VFs that anything was sent to in the last step
        self.rig.say(1, struct.pack("<II", 1, 1), vf)
        self.rig.say(3, struct.pack("<I", CAPS), vf)
        self.rig.say(44, vf=vf)
        self.do(Host("flr"))
        self._own_key = self.rig.plane.config[vf].rss_key

    def do(self, step: Step) -> list[Reply]:
        """Carries out a step; what the VF was sent until half a second later."""
        return self._take(step, self._vf)

    def _take(self, step: Step, vf: int) -> list[Reply]:
        made = self.rig
        for hardware in made.hardware:
            hardware.take()
        if isinstance(step, Say):
            made.pf.message(vf, step.opcode, step.payload)
        elif step.deed in ("flr", "flags"):
            if step.deed == "flags":
                flags: dict[str, Any] = {name: name in step.value for name in PRIVATE_FLAGS}
                made.pf.personality = replace(made.pf.personality, **flags)
            made.plane.reset_vf(vf)  # the function does the hardware's half itself
            made.pf.flr(vf)
        else:
            made.pf.control(_request(step, vf))
        made.clock.advance(500)
        sent = [hardware.take() for hardware in made.hardware]
        self.told = {number for number, messages in enumerate(sent) if messages}
        return sent[vf]

    def neighbour(self, step: Step) -> set[int]:
        """As Ice.neighbour, until half a second later."""
        self._take(step, 1)
        return self.told

    def programmed(self) -> Programmed:
        """What the data plane does for the VF now."""
        made = self.rig
        calls = [call for call in made.plane.calls if call[1] == self._vf]
        double_vlan = made.personality.double_vlan
        return by_software(made.plane.config[self._vf], calls, self._own_key, double_vlan)


def _request(step: Host, vf: int) -> dict[str, Any]:
    names = {
        "trust": "on",
        "spoofchk": "on",
        "mac": "mac",
        "vlan": "vlan",
        "link": "state",
        "rate": "mbps",
    }
    value = step.value.hex(":") if step.deed == "mac" else step.value
    return {"command": step.deed, "vf": vf, names[step.deed]: value}


@contextmanager
def soft(
    kernel: str, trusted: bool = False, double_vlan: bool = False, ddp: str = "os"
) -> Iterator[Soft]:
    """A software PF as it comes, after the VF has asked once for what the PF must be asked for."""
    dialect = DIALECTS[kernel]
    with rig("e810", trusted=trusted, double_vlan=double_vlan, ddp=ddp, **dialect) as made:
        yield Soft(made)


@contextmanager
def judge(kernel: str, path: Path, double_vlan: bool = False, ddp: str = "os") -> Iterator[Ice]:
    """A real ice of this kernel, whose judge has this path."""
    mode = ["judge_dvm=1"] if double_vlan else []
    with JudgeProcess(path, f"judge_ddp={ddp}", *mode) as process:
        yield Ice(process, kernel, double_vlan)


def comparable(kernel: str, replies: list[Reply]) -> list[Reply]:
    """Replies of ice without those capabilities of its kernel that the software PF lacks."""
    return [_without(NOT_PLAYED[kernel], reply) for reply in replies]


def _without(not_played: int, reply: Reply) -> Reply:
    opcode, status, payload = reply
    if opcode != 3 or len(payload) < 12:
        return reply
    caps = struct.unpack_from("<I", payload, 8)[0] & ~not_played
    return opcode, status, payload[:8] + struct.pack("<I", caps) + payload[12:]


def text(replies: Sequence[Reply]) -> str:
    """Returns replies as text, for messages of tests."""
    shown = (
        f"event {payload.hex()}" if opcode == EVENT else f"{opcode}: {status} {payload.hex()}"
        for opcode, status, payload in replies
    )
    return ", ".join(shown) or "silence"
