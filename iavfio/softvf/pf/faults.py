# SPDX-License-Identifier: BSD-3-Clause
"""Faults on request: a PF that loses, delays or garbles messages, for tests of VF drivers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from iavfio.errors import ConfigError

KINDS: Mapping[str, str] = MappingProxyType(
    {
        "lose": "the request never arrives",
        "ignore": "the answer is success and nothing was done, but for the first `value` requests",
        "drop": "the answer is lost",
        "delay": "the answer comes `value` milliseconds late",
        "duplicate": "the answer comes twice",
        "truncate": "the answer lacks its last `value` bytes",
        "extend": "the answer has `value` zero bytes more",
        "corrupt": "byte `value` of the answer is inverted",
        "retval": "the answer's status is `value`, without payload",
        "opcode": "the answer bears opcode `value`",
    }
)
NEEDS_VALUE = frozenset({"delay", "truncate", "extend", "corrupt", "retval", "opcode"})
LIMIT = 64


@dataclass
class Fault:
    """Hits the next `count` messages of `opcode` (None = any) of one VF."""

    kind: str
    vf: int
    opcode: int | None
    count: int
    value: int

    def text(self) -> str:
        """The fault in words, as the snapshot shows it."""
        which = "any opcode" if self.opcode is None else f"opcode {self.opcode}"
        value = f" {self.value}" if self.kind in NEEDS_VALUE else ""
        return f"{self.kind}{value}, {which}, {self.count} times"


@dataclass(frozen=True)
class Answer:
    """A message to the VF, sent after `delay_ms`."""

    opcode: int
    retval: int
    payload: bytes
    delay_ms: int = 0


class Faults:
    """The faults that wait for their messages."""

    def __init__(self) -> None:
        self._waiting: list[Fault] = []

    def add(self, fault: Fault) -> None:
        """Adds a fault. Raises ConfigError for an unknown kind, or when there are too many."""
        if fault.kind not in KINDS:
            raise ConfigError(
                f"there is no fault {fault.kind!r}", remedy=f"kinds: {', '.join(KINDS)}"
            )
        if len(self._waiting) >= LIMIT:
            raise ConfigError(f"{LIMIT} faults wait already", remedy='"kind": "clear" removes them')
        self._waiting.append(fault)

    def clear(self, vf: int) -> None:
        """Removes the faults of a VF."""
        self._waiting = [fault for fault in self._waiting if fault.vf != vf]

    def texts(self, vf: int) -> list[str]:
        """The faults of a VF, in words."""
        return [fault.text() for fault in self._waiting if fault.vf == vf]

    def _take(self, vf: int, opcode: int, wanted: frozenset[str]) -> list[Fault]:
        hits = [
            fault
            for fault in self._waiting
            if fault.vf == vf and fault.opcode in (None, opcode) and fault.kind in wanted
        ]
        for fault in hits:
            fault.count -= 1
        self._waiting = [fault for fault in self._waiting if fault.count > 0]
        return hits

    def loses(self, vf: int, opcode: int) -> bool:
        """Whether this request gets lost."""
        return bool(self._waiting and self._take(vf, opcode, frozenset({"lose"})))

    def ignores(self, vf: int, opcode: int) -> bool:
        """Whether this request is answered and not carried out."""
        hits = self._take(vf, opcode, frozenset({"ignore"})) if self._waiting else []
        idle = [fault for fault in hits if fault.value <= 0]
        for fault in hits:
            fault.value -= 1
        return bool(idle)

    def spoil(self, vf: int, opcode: int, answer: Answer) -> list[Answer]:
        """The answers that the VF gets in place of `answer`: none, one or several."""
        if not self._waiting:
            return [answer]
        out = [answer]
        for fault in self._take(vf, opcode, frozenset(KINDS) - {"lose", "ignore"}):
            if fault.kind == "drop":
                return []
            twice = fault.kind == "duplicate"
            out = out * 2 if twice else [_garble(fault, each) for each in out]
        return out


def _garble(fault: Fault, answer: Answer) -> Answer:
    opcode, retval, payload = answer.opcode, answer.retval, answer.payload
    delay = answer.delay_ms
    if fault.kind == "delay":
        delay += fault.value
    elif fault.kind == "truncate":
        payload = payload[: max(len(payload) - fault.value, 0)]
    elif fault.kind == "extend":
        payload += bytes(fault.value)
    elif fault.kind == "corrupt" and fault.value < len(payload):
        at = fault.value
        payload = payload[:at] + bytes((payload[at] ^ 0xFF,)) + payload[at + 1 :]
    elif fault.kind == "retval":
        retval, payload = fault.value, b""
    elif fault.kind == "opcode":
        opcode = fault.value
    return Answer(opcode, retval, payload, delay)
