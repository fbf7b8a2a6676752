# SPDX-License-Identifier: BSD-3-Clause
"""What drivers say in tests: collected from software PFs, and made few conversations of.

With $IAVFIO_TEST_JOURNALS, a directory, each test that ends a software PF leaves there what was
said to its first VF. Then

python3 -m tests.journals DIRECTORY   writes tests/data/conversations/DRIVER.json

keeps so many of the conversations that each request that a PF accepted is in one of them, however
often and by whomever it was said. tests/judge says them to Linux's own PFs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any
from uuid import uuid4
from weakref import WeakSet

import pytest

from iavfio.errors import IavfioError
from iavfio.softvf import launch
from iavfio.softvf.personality import named

DIRECTORY = os.environ.get("IAVFIO_TEST_JOURNALS")
KEPT = Path(__file__).parent / "data/conversations"
RESET, VERSION, CONFIG_VSI_QUEUES = "reset", 1, 6
ADDRESSES, KEYS = (10, 11), (23, 24)  # opcodes of addresses; of the key and the table of RSS
PAIR, FIRST, RINGS = 64, 8, (8, 48)  # bytes of a queue pair, before the first; of a pair's rings
# Options that leave the PF's answers as they are, or that a judge is started with.
NEUTRAL = {
    *("trusted", "mac", "spoof_check", "link_speed", "double_vlan", "ddp"),
    *("reset_ms", "notice_lead_ms", "completed_ms", "answer_ms", "notify"),
    *("wb_group", "delay_us", "memory_gib", "causes_latch", "tails_stay"),
}
MOST = 120  # steps of a conversation that is kept


@dataclass(frozen=True)
class Request:
    """What a driver said, and the status of the software PF's reply; None when none came."""

    opcode: int
    payload: bytes
    status: int | None


Step = Request | str  # or a reset


@dataclass(frozen=True)
class Conversation:
    """What drivers said in this test to VF 0 of a card, one after the other."""

    test: str
    card: str
    steps: tuple[Step, ...]

    def to_json(self) -> dict[str, Any]:
        """The conversation as JSON-able values."""
        steps = [
            step
            if isinstance(step, str)
            else [step.opcode, step.status, len(step.payload), step.payload.rstrip(b"\0").hex()]
            for step in self.steps
        ]
        return {"test": self.test, "card": self.card, "steps": steps}


def load(driver: str) -> list[Conversation]:
    """The conversations that are kept for the cards of a PF's driver, i40e or ice."""
    path = KEPT / f"{driver}.json"
    return [read(each) for each in json.loads(path.read_text(encoding="utf-8"))]


def read(told: dict[str, Any]) -> Conversation:
    """A conversation of JSON-able values, where zeros at the end of a payload are its length's."""
    steps = [
        step
        if isinstance(step, str)
        else Request(step[0], bytes.fromhex(step[3]).ljust(step[2], b"\0"), step[1])
        for step in told["steps"]
    ]
    return Conversation(told["test"], told["card"], tuple(steps))


def watch(patch: pytest.MonkeyPatch, directory: str) -> None:
    """Has software PFs that answer as they do unasked write down what was said to them."""
    begin, ready, close = launch.begin, launch.Starting.ready, launch.SoftPf.close
    plain: WeakSet[launch.Starting | launch.SoftPf] = WeakSet()

    def begun(*given: Any, **named: Any) -> launch.Starting:
        starting = begin(*given, **named)
        options = next((each for each in given if isinstance(each, Mapping)), {})
        if {*options, *(named.get("options") or ())} <= NEUTRAL:
            plain.add(starting)
        return starting

    def is_ready(starting: launch.Starting) -> launch.SoftPf:
        pf = ready(starting)
        if starting in plain:
            plain.add(pf)
        return pf

    def closed(pf: launch.SoftPf) -> None:
        if pf in plain and not pf.closed and pf.running:
            collect(pf.control, directory)
        close(pf)

    patch.setattr(launch, "begin", begun)
    patch.setattr(launch.Starting, "ready", is_ready)
    patch.setattr(launch.SoftPf, "close", closed)


def collect(control: Callable[..., dict[str, Any]], directory: str | Path) -> None:
    """Writes down what was said to VF 0 of a software PF that answers yet."""
    try:
        info = control("info")
        if info.get("pf", "software") != "software":
            return
        steps = steps_of(control("journal", vf=0)["entries"])
        if steps:
            test = os.environ.get("PYTEST_CURRENT_TEST", "").rpartition(" (")[0]
            found = Conversation(test, info["personality"], tuple(steps))
            path = Path(directory) / f"{uuid4().hex}.json"
            path.write_text(json.dumps(found.to_json()), encoding="utf-8")
    except (IavfioError, OSError, ValueError):
        pass  # of a software PF that is gone already, or plays dead


def steps_of(entries: Sequence[dict[str, Any]]) -> list[Step]:
    """Requests with the status of their replies, and resets, from a VERSION on."""
    found: list[Step] = []
    for number, entry in enumerate(entries):
        if entry["direction"] == "note" and entry["note"] == RESET:
            found.append(RESET)
        elif entry["direction"] == "out":
            payload = bytes.fromhex(entry["hex"])
            found.append(Request(entry["opcode"], payload, _status(entries[number + 1 :], entry)))
    return [*dropwhile(_is_cut_off, found)]


def _is_cut_off(step: Step) -> bool:
    """Whether a step belongs to a negotiation that the journal has forgotten, or to nobody's."""
    return isinstance(step, str) or step.opcode != VERSION


def _status(later: Sequence[dict[str, Any]], entry: dict[str, Any]) -> int | None:
    """The status of the reply to a request, before the next one of its kind or a reset."""
    for other in later:
        if other["direction"] == "note":
            return None
        if other["opcode"] == entry["opcode"]:
            return int(other["status"]) if other["direction"] == "in" else None
    return None


def few(conversations: Iterable[Conversation]) -> list[Conversation]:
    """Conversations in which each accepted request is said that is said in any of them."""
    said: set[tuple[int, bytes]] = set()
    kept: list[Conversation] = []
    for each in sorted(conversations, key=lambda each: (len(each.steps), each.test)):
        last = 0
        for number, step in enumerate(each.steps[:MOST], 1):
            if isinstance(step, Request) and step.status == 0 and kind(step) not in said:
                said.add(kind(step))
                last = number
        if last:
            kept.append(Conversation(each.test, each.card, each.steps[:last]))
    return kept


def kind(request: Request) -> tuple[int, bytes]:
    """What makes a request another one: not where rings lie, and whose addresses and keys it has.

    Of addresses their kind counts, and whether they are of a group.
    """
    payload = bytearray(request.payload)
    if request.opcode == CONFIG_VSI_QUEUES:
        for pair in range(FIRST, len(payload) - PAIR + 1, PAIR):
            for at in RINGS:
                payload[pair + at : pair + at + 8] = bytes(8)
    elif request.opcode in ADDRESSES:
        for at in range(4, len(payload) - 7, 8):
            payload[at : at + 6] = bytes([payload[at] & 1, 0, 0, 0, 0, 0])
    elif request.opcode in KEYS:
        payload[4:] = bytes(len(payload) - 4)
    return request.opcode, bytes(payload)


def main() -> None:
    """Makes few conversations of those in a directory."""
    found = [
        read(json.loads(path.read_text(encoding="utf-8")))
        for path in sorted(Path(sys.argv[1]).glob("*.json"))
    ]
    KEPT.mkdir(parents=True, exist_ok=True)
    for driver in ("i40e", "ice"):
        own = [each for each in found if named(each.card).driver == driver]
        kept = few(own)
        text = ",\n".join(json.dumps(each.to_json(), separators=(",", ":")) for each in kept)
        (KEPT / f"{driver}.json").write_text(f"[\n{text}\n]\n", encoding="utf-8")
        steps = sum(len(each.steps) for each in kept)
        print(f"{driver}: {len(kept)} of {len(own)} conversations, {steps} steps")


if __name__ == "__main__":
    main()
