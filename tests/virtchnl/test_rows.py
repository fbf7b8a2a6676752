# SPDX-License-Identifier: BSD-3-Clause
"""Each row of the driver's message table: bytes, line, lengths, gate, and where its number is."""

from __future__ import annotations

import pkgutil
import re
from importlib import import_module
from pathlib import Path

import pytest

import iavfio.virtchnl.messages as package
from iavfio.errors import MailboxError, NotGranted, StateError
from iavfio.virtchnl.capabilities import CAPABILITIES
from iavfio.virtchnl.messages.describe import describe
from iavfio.virtchnl.messages.events import EVENT
from iavfio.virtchnl.messages.message_type import AnyMessage
from iavfio.virtchnl.messages.registry import MESSAGES, SUBJECTS, rows
from iavfio.virtchnl.messages.resources import RESET_VF
from iavfio.virtchnl.status import refusal
from tests.virtchnl.fake_mailbox import Bench, Reply, resources
from tests.virtchnl.golden import GOLDEN, Golden

ROOT = Path(__file__).parents[2]
HEADER = (ROOT / "csrc/hw/virtchnl.h").read_text(encoding="utf-8")
ALL_CAPS = sum(cap.bit for cap in CAPABILITIES)

each_row = pytest.mark.parametrize("row", MESSAGES.values(), ids=lambda row: row.name)
each_request = pytest.mark.parametrize("golden", GOLDEN, ids=lambda golden: golden.name)


def test_every_row_has_golden_bytes() -> None:
    assert {golden.name for golden in GOLDEN} | {EVENT.name} == {r.name for r in MESSAGES.values()}


def test_every_file_of_messages_is_registered() -> None:
    files = [import_module(f"{package.__name__}.{m.name}")
             for m in pkgutil.iter_modules(package.__path__)]  # fmt: skip
    defining = {
        file.__name__
        for file in files
        if file not in SUBJECTS and rows(file) and file.__name__.rpartition(".")[2] != "describe"
    }
    assert defining == set()


@each_request
def test_golden_bytes(golden: Golden) -> None:
    assert list(golden.request.payloads(golden.vsi)) == [golden.payload]


@each_request
def test_length_rule(golden: Golden) -> None:
    assert len(golden.payload) == golden.request.type.length.of(golden.count)


@each_request
def test_what_is_encoded_is_described(golden: Golden) -> None:
    line = describe("out", golden.request.type.number, 0, golden.payload)
    assert line == f"{golden.name} {golden.line}".rstrip()


@each_request
@pytest.mark.parametrize("cut", [1, 3, 1000])
def test_a_cut_message_is_described_too(golden: Golden, cut: int) -> None:
    payload = golden.payload[:-cut]
    assert describe("out", golden.request.type.number, 0, payload).startswith(golden.name)


@each_request
def test_without_its_capability_a_message_is_never_sent(golden: Golden) -> None:
    row = golden.request.type
    if not row.gate:
        return
    name = next(cap.name for cap in CAPABILITIES if cap.bit == row.gate)
    bench = Bench().negotiated(ALL_CAPS & ~row.gate)
    with pytest.raises(NotGranted, match=f"{row.name} needs {name}, which the PF did not grant"):
        bench.client.ask(golden.request)
    assert bench.pf.requests == []


@each_request
def test_with_its_capability_alone_a_message_is_sent(golden: Golden) -> None:
    row = golden.request.type
    if row is RESET_VF:
        return  # it gets no reply: `post` sends it
    bench = Bench().negotiated(row.gate)
    content = resources() if row.name == "GET_VF_RESOURCES" else b"\1\0\0\0" + bytes(4092)
    bench.pf.handler = lambda opcode, payload: [
        Reply(opcode, payload=content[: max(row.reply.least, len(content) if row.negotiates and
              row.name == "GET_VF_RESOURCES" else 0)])
    ]  # fmt: skip
    bench.client.ask(golden.request)
    (sent,) = bench.pf.requests
    assert sent[0] == row.number
    assert len(sent[1]) == row.length.of(golden.count)


@each_request
def test_before_the_negotiation_only_its_own_messages_are_sent(golden: Golden) -> None:
    bench = Bench(lambda opcode, payload: [Reply(opcode)])
    if golden.request.type.negotiates:
        return
    with pytest.raises(StateError):
        bench.client.ask(golden.request)
    assert bench.pf.requests == []


@each_row
def test_reply_length_rule(row: AnyMessage) -> None:
    """Too short is malformed; a structure may grow, an empty reply may not."""
    least = row.reply.least
    for short in range(least):
        with pytest.raises(MailboxError, match=f"{row.name} message makes no sense"):
            row.read(bytes(short))
    assert row.reply.fault(least) == ""
    for grown in (least + 1, least + 8, 4096):
        assert (row.reply.fault(grown) == "") == (least > 0)
    assert row.reply.fault(4097) != ""


@each_row
def test_gate_is_one_known_capability(row: AnyMessage) -> None:
    assert row.gate == 0 or row.gate in {cap.bit for cap in CAPABILITIES}


SUPPOSED = "possible reasons: "
SILENT = "a status is all that the PF tells"


@each_request
@pytest.mark.parametrize("status", [-1, -5, -12, -22, -64, -95, 14])
def test_a_refusal_tells_what_was_sent_and_no_reason_as_known(golden: Golden, status: int) -> None:
    """A PF answers a number only, and uses one for many reasons."""
    error = refusal(golden.request.type, status, golden.payload)
    sent, _, reasons = error.cause.rpartition("; ")
    assert reasons == SILENT or (reasons.startswith(SUPPOSED) and len(reasons) > len(SUPPOSED))
    assert sent == "" or sent.startswith("it was sent ")
    assert golden.line[:100] in sent


@each_row
def test_a_refusal_tells_its_cause(row: AnyMessage) -> None:
    for status in (-1, -5, -12, -22, -64, -95, 14):
        error = refusal(row, status)
        assert error.cause == SILENT or error.cause.startswith(SUPPOSED)
        assert len(str(error).splitlines()) <= 2
        assert f"{row.name} with {status} " in error.what
        assert (error.status, error.opcode) == (status, row.number)


@each_row
def test_the_number_stands_in_the_header_alone(row: AnyMessage) -> None:
    found = re.findall(rf"\bVC_OP_{row.name} = (\d+)\b", HEADER)
    assert found == [str(row.number)]
    again = re.compile(rf"\b{row.name}\b[\"']?\s*[=:,(]\s*{row.number}\b")
    for path in (ROOT / "iavfio/virtchnl").rglob("*.py"):
        assert not again.search(path.read_text(encoding="utf-8")), path
