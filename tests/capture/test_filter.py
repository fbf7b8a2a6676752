# SPDX-License-Identifier: BSD-3-Clause
"""Filters: the C interpreter says what libpcap's says, and runs no program that could go wrong."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.capture import filter as filter_module
from iavfio.capture.filter import STEP, Filter
from iavfio.errors import ConfigError, IavfioError
from tests.capture import pcap_oracle
from tests.port.rig import udp

ANSWERS = Path(__file__).parents[1] / "data" / "capture" / "filters.json"
A, B = bytes.fromhex("020000000001"), bytes.fromhex("020000000002")
TAGGED = A + B + bytes.fromhex("8100a00a") + udp(A, B)[12:]
IPV6 = A + B + bytes.fromhex("86dd600000000008113f") + bytes(31) + b"\1" + bytes.fromhex(
    "03e807d000080000"
)  # fmt: skip
FRAMES = [
    udp(A, B),
    udp(B, A, sport=53, dport=4000, payload=bytes(200)),
    TAGGED,
    IPV6,
    A + B + bytes.fromhex("0806000108000604000102000000000201010101") + bytes(24),
    b"\xff" * 6 + B + bytes.fromhex("88cc") + bytes(46),
    udp(A, B)[:20],
    A + B,
    b"",
]
EXPRESSIONS = [
    "",
    "ip",
    "ip6",
    "arp",
    "udp port 2000",
    "udp port 53 or udp port 1000",
    "not udp",
    "vlan",
    "vlan 10 and udp",
    "ether broadcast",
    "ether src 02:00:00:00:00:02",
    "greater 100",
    "less 64 and udp",
    "portrange 1000-1999",
    "ip[8] = 0x40 and udp[4:2] > 20",
    "net 10.0.0.0/8",
    "ip[6:2] & 0x1fff = 0",
    "len % 3 = 1",
    "ip[0] * 2 / 3 - 1 ^ 7 > len << 1",
    "ip6 proto 17 and udp dst port 2000",
]


def test_stored_answers_of_libpcap_are_given() -> None:
    """What libpcap compiled and said is kept, so that this runs where there is no libpcap."""
    stored = json.loads(ANSWERS.read_text(encoding="utf-8"))
    frames = [bytes.fromhex(frame) for frame in stored["frames"]]
    assert len(stored["filters"]) >= 15 and len(frames) >= 8
    for each in stored["filters"]:
        steps = np.frombuffer(bytes.fromhex(each["steps"]), dtype=STEP)
        found = Filter.of_steps(steps, each["expression"])
        said = [found.matches(frame) for frame in frames]
        assert said == each["matches"], each["expression"]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_kind_of_expression_is_judged_as_libpcap_does(expression: str) -> None:
    oracle = pcap_oracle.library()
    compiled = Filter(expression)
    for frame in FRAMES:
        for cut in {len(frame), len(frame) // 2, 14, 13, 1}:
            part = frame[:cut]
            right = pcap_oracle.result(oracle, compiled.steps, part, len(frame))
            assert run(compiled.steps, part, len(frame)) == right, (frame.hex(), cut)


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=120), expression=st.sampled_from(EXPRESSIONS))
def test_random_frames_are_judged_as_libpcap_does(data: bytes, expression: str) -> None:
    oracle = pcap_oracle.library()
    compiled = Filter(expression)
    for frame in (data, FRAMES[0][:12] + data, FRAMES[0][:34] + data, TAGGED[:18] + data):
        right = pcap_oracle.result(oracle, compiled.steps, frame, len(frame))
        assert run(compiled.steps, frame, len(frame)) == right


CODES = [
    0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0x80, 0x00, 0x60,  # ld
    0x01, 0x61, 0x81, 0xB1,  # ldx
    0x02, 0x03, 0x07, 0x87,  # st, stx, tax, txa
    *range(0x04, 0xB4, 0x10), *(0x0C + 0x10 * i for i in range(8)), 0x9C, 0xAC,  # alu
    0x05, 0x15, 0x25, 0x35, 0x45, 0x1D, 0x2D, 0x3D, 0x4D,  # jumps
    0x06, 0x16,  # ret
]  # fmt: skip
small = st.one_of(st.integers(0, 40), st.sampled_from([0xFFFFFFFF, 0x7FFFFFFF, 0x80000000]))
step = st.tuples(
    st.sampled_from(CODES), st.integers(0, 4), st.integers(0, 4), small
)  # fmt: skip


def shift_beyond_words(steps: NDArray[Any]) -> bool:
    """Whether a constant shift is wider than a word, which C leaves open and libpcap with it."""
    return any(code in (0x64, 0x74) and k > 31 for code, _, _, k in steps.tolist())


@settings(max_examples=400, deadline=None)
@given(program=st.lists(step, min_size=1, max_size=24), frame=st.binary(max_size=64))
def test_random_programs_do_what_they_do_in_libpcap(
    program: list[tuple[int, int, int, int]], frame: bytes
) -> None:
    """A program that is run is one that libpcap accepts, and has the same result."""
    oracle = pcap_oracle.library()
    # libpcap leaves its cells as the stack was: each is stored to before one can be read.
    cells = [(0x02, 0, 0, cell) for cell in range(16)]
    steps = np.array([*cells, *program, (0x16, 0, 0, 0)], dtype=STEP)
    if check(steps) >= 0 or shift_beyond_words(steps):
        return
    assert pcap_oracle.accepts(oracle, steps)
    assert run(steps, frame, len(frame) + 3) == pcap_oracle.result(
        oracle, steps, frame, len(frame) + 3
    )


BAD = {
    "empty": ([], 0),
    "no return": ([(0x20, 0, 0, 12)], 0),
    "unknown code": ([(0xFF, 0, 0, 0), (0x06, 0, 0, 1)], 0),
    "jump beyond the end": ([(0x15, 0, 1, 0), (0x06, 0, 0, 1)], 0),
    "jump far beyond the end": ([(0x05, 0, 0, 0xFFFFFFFF), (0x06, 0, 0, 1)], 0),
    "cell 16": ([(0x06, 0, 0, 0), (0x02, 0, 0, 16), (0x06, 0, 0, 1)], 1),
    "load of cell 16": ([(0x60, 0, 0, 16), (0x06, 0, 0, 1)], 0),
    "division by 0": ([(0x34, 0, 0, 0), (0x06, 0, 0, 1)], 0),
    "remainder by 0": ([(0x94, 0, 0, 0), (0x06, 0, 0, 1)], 0),
    "kernel's extension of codes": ([(0x0104, 0, 0, 1), (0x06, 0, 0, 1)], 0),
    "too long": ([(0x00, 0, 0, 1)] * 4096 + [(0x06, 0, 0, 1)], 0),
}


@pytest.mark.parametrize(("program", "bad"), BAD.values(), ids=BAD)
def test_a_program_that_could_go_wrong_is_not_run(
    program: list[tuple[int, int, int, int]], bad: int
) -> None:
    steps = np.array(program, dtype=STEP)
    assert check(steps) == bad
    with pytest.raises(ConfigError, match=f"step {bad} of a filter"):
        Filter.of_steps(steps)


@pytest.mark.parametrize("load", [0x20, 0x28, 0x30, 0x40, 0x48, 0x50, 0xB1])
@pytest.mark.parametrize("at", [0, 1, 3, 4, 0xFFFFFFFC, 0xFFFFFFFF])
def test_no_byte_beyond_a_frame_is_read(load: int, at: int) -> None:
    steps = np.array([(0x01, 0, 0, at), (load, 0, 0, at), (0x06, 0, 0, 1)], dtype=STEP)
    width = {0x20: 4, 0x40: 4, 0x28: 2, 0x48: 2}.get(load, 1)
    where = 2 * at if load in (0x40, 0x48, 0x50) else at
    assert run(steps, b"\1\2\3\4", 4) == int(where + width <= 4)


def test_a_wrong_expression_names_libpcaps_reason() -> None:
    pcap_oracle.library()
    with pytest.raises(ConfigError, match=r"libpcap says: .*syntax error"):
        Filter("udp prot 7")
    with pytest.raises(ConfigError, match="zero byte"):
        Filter("udp\0")
    for text in ("udp \udcff", "\ud800"):
        with pytest.raises(ConfigError, match="no UTF-8"):
            Filter(text)


def test_without_libpcap_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filter_module, "LIBRARIES", ("libnothing-of-that-name.so.1",))
    with pytest.raises(IavfioError) as error:
        Filter("udp")
    assert "apt-get install libpcap0.8" in error.value.remedy


def check(steps: NDArray[Any]) -> int:
    raw = ffi.cast("struct filter_step *", ffi.from_buffer(steps)) if len(steps) else ffi.NULL
    return int(lib.filter_check(raw, len(steps)))


def run(steps: NDArray[Any], frame: bytes, length: int) -> int:
    raw = ffi.cast("struct filter_step *", ffi.from_buffer(steps))
    return int(lib.filter_run(raw, ffi.from_buffer(frame), len(frame), length))
