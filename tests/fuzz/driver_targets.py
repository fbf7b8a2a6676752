# SPDX-License-Identifier: BSD-3-Clause
"""What the PF and its device say: replies, events, the admin queue; and journals of them."""

from __future__ import annotations

import struct

from iavfio.errors import ConfigError, IavfioError, MailboxError
from iavfio.virtchnl.journal import Entry, parse
from iavfio.virtchnl.messages.describe import describe
from iavfio.virtchnl.messages.events import decode_event
from iavfio.virtchnl.messages.registry import MESSAGES
from iavfio.virtchnl.messages.stats import GET_STATS
from tests.fuzz.target import Target, Words
from tests.virtchnl.fake_mailbox import (
    VERSION_1_1,
    Bench,
    Leaps,
    Reply,
    link_event,
    resources,
    stats_of,
)
from tests.virtchnl.golden import GOLDEN

ROWS = sorted(MESSAGES)
REPLIES = 8  # that a PF gives to one request at most
PATIENCE = 400.0  # seconds of the fake clock that all requests of one input may take together


def virtchnl(data: bytes) -> None:
    words = Words(data)
    opcode, status = ROWS[words.number(1) % len(ROWS)], words.number(1)
    payload = words.rest()
    for direction in ("out", "in"):
        assert describe(direction, opcode, status, payload, bool(status & 1))
    try:
        MESSAGES[opcode].read(payload)
    except MailboxError as error:
        assert error.what
    try:
        str(decode_event(payload, bool(status & 1)))
    except MailboxError as error:
        assert error.what


def virtchnl_seeds() -> list[bytes]:
    known = {3: resources(), 15: stats_of(7), 1: VERSION_1_1, 17: link_event(0x20)}
    heads = [bytes((place, 0)) for place in range(len(ROWS))]
    replies = [head + known.get(ROWS[head[0]], b"") for head in heads]
    return replies + [bytes((ROWS.index(g.request.type.number), 0)) + g.payload for g in GOLDEN]


def mailbox(data: bytes) -> None:
    """A PF that answers anything to anything, and a device that writes any descriptor."""
    words = Words(data)

    def answer(opcode: int, payload: bytes) -> list[Reply]:
        return [reply(words, opcode) for _ in range(words.number(1) % REPLIES)]

    clock = Leaps()
    bench = Bench(clock=clock)
    try:
        bench.pf.handler, bench.pf.after_send = answer, clock.happened
        bench.pf.stuck_bits = words.number(1) % 8 << 28
        bench.pf.completion = (words.number(2) if words.number(1) & 1 else 3, words.number(1) % 4)
        begin = bench.clock.now
        for ask in (
            bench.client.version,
            bench.client.resources,
            lambda: bench.client.ask(GET_STATS()),
            bench.client.service,
        ):
            try:
                ask()
            except IavfioError as error:
                assert error.what
        assert bench.clock.now - begin < PATIENCE
        assert len(bench.pf.requests) < 64
    finally:
        bench.pf.reads_as = None
        bench.pf.reset()
        bench.queue.close()
        assert not bench.space.mapped


def reply(words: Words, opcode: int) -> Reply:
    """The next reply: mostly to what was asked, with any lie about it."""
    shape = words.number(1)
    known = {1: VERSION_1_1, 3: resources(), 15: stats_of(1), 17: link_event(4)}
    number = words.number(2) if shape & 1 else opcode
    return Reply(
        number,
        status=words.number(4) if shape & 2 else 0,
        payload=words.take(words.number(1)) if shape & 4 else known.get(number, b""),
        delay=words.number(1) / 16 if shape & 8 else 0.0,
        length=words.number(2) if shape & 16 else None,
        flags=words.number(2) if shape & 32 else 0x1003,
        queue_opcode=words.number(2) if shape & 64 else 0x0802,
        times=1 + words.number(1) % 4 if shape & 128 else 1,
    )


def mailbox_seeds() -> list[bytes]:
    good = b"\1\0" * 3
    late = b"\1\x08\x40" * 4
    return [b"\0\0\0" + good, b"\0\0\0" + late, struct.pack("<BBB", 1, 0, 0) + good * 3, bytes(32)]


def journal(data: bytes) -> None:
    lines = data.decode("utf-8", "replace").splitlines()
    try:
        entries = parse(lines)
    except ConfigError as error:
        assert error.what
        return
    for entry in entries:
        assert str(entry)
        again = Entry.from_json(entry.to_json())
        assert (again.payload, again.opcode, again.text) == (
            entry.payload,
            entry.opcode,
            entry.text,
        )


def journal_seeds() -> list[bytes]:
    lines = [
        Entry(1.5, "out", g.request.type.number, 0, g.payload, "", True).to_json() for g in GOLDEN
    ]
    return [line.encode() for line in lines] + ["\n".join(lines[:3]).encode(), b"{}", b"[]"]


TARGETS = (
    Target(
        "virtchnl",
        virtchnl,
        virtchnl_seeds,
        "any message of every opcode to the decoders of the driver and of the journal",
        "an exception other than MailboxError",
    ),
    Target(
        "mailbox",
        mailbox,
        mailbox_seeds,
        "any replies, descriptors, lengths, delays and error bits to admin queue and client",
        "an exception that is no IavfioError, DMA outside of live mappings, a request without end",
    ),
    Target(
        "journal",
        journal,
        journal_seeds,
        "any text to the reader of journals",
        "an exception other than ConfigError, an entry that does not survive being saved",
    ),
)
