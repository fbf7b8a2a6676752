# SPDX-License-Identifier: BSD-3-Clause
"""What messages look like: as wide as the terminal, said once, in words of the user's."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import struct
import subprocess
import sys
import tarfile
import termios
from pathlib import Path

import click
import pytest

from iavfio.arguments import counted
from iavfio.cli import run
from iavfio.cli.group import group

LONG = [
    ["softvf", "--option", "colour=red"],
    ["bench", "softvf", "--personality", "e810,trustd=on"],
    ["bench", "softvf", "--isa", "mmx"],
    ["softvf", "--uplink", "foo"],
    ["list", "--log-level", "x"],
    ["zzz"],
    ["qualify", "softvf", "--only", "zzz"],
    ["softvf", "--option", "help"],
]


def commands(of: click.Command = group, *words: str) -> dict[tuple[str, ...], click.Command]:
    """Every command and subcommand by its words."""
    found = {words: of}
    if isinstance(of, click.Group):
        for name in of.list_commands(click.Context(of)):
            command = of.get_command(click.Context(of), name)
            assert command is not None
            found |= commands(command, *words, name)
    return found


COMMANDS = commands()
HELP = [[*words, "--help"] for words in COMMANDS]


def lines(words: list[str], columns: int | None, terminal: bool = True) -> list[str]:
    """What a process prints to a terminal, or to a pipe, of so many columns; None: nobody says."""
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    if columns is not None and not terminal:
        env["COLUMNS"] = str(columns)
    ours, theirs = os.openpty() if terminal else os.pipe()
    if terminal:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns or 0, 0, 0))
    with subprocess.Popen(
        [sys.executable, "-m", "iavfio.cli", *words], env=env, stdout=theirs, stderr=theirs
    ):
        os.close(theirs)
        told = b""
        try:
            while piece := os.read(ours, 1 << 16):
                told += piece
        except OSError:
            pass  # the terminal has hung up
    os.close(ours)
    return [line for line in told.decode().splitlines() if line]


def too_long(told: list[str], columns: int) -> list[str]:
    """The lines that could be broken and are not; a word stays whole."""
    return [line for line in told if len(line) > columns and " " in line.strip()]


@pytest.mark.parametrize("columns", [40, 80])
@pytest.mark.parametrize("words", LONG, ids=" ".join)
def test_messages_fit_the_terminal(words: list[str], columns: int) -> None:
    told = lines(words, columns)
    assert len(told) > 1
    assert too_long(told, columns) == []


def test_a_narrow_width_holds_without_a_terminal_as_well() -> None:
    told = lines(["softvf", "--option", "colour=red"], 40, terminal=False)
    assert too_long([line for line in told if not line.startswith(("Usage", "Try"))], 40) == []
    assert "  known are pf_kernel, vectors," in told  # broken between items


@pytest.mark.parametrize("columns", [40, 80])
def test_the_list_of_options_has_the_width_that_is_asked_for(columns: int) -> None:
    told = lines(["softvf", "--option", "help"], columns, terminal=False)
    assert too_long(told, columns) == []
    assert len(told) > 40


def test_a_message_names_some_of_a_long_list_and_where_all_are() -> None:
    told = " ".join(lines(["softvf", "--option", "colour=red"], None, terminal=False))
    assert "known are pf_kernel, vectors, " in told and " more" in told
    assert "'iavfio softvf --option help' lists all" in told
    assert len(told) < 400


CHOICES = re.compile(r"  --\S+ \[\S+\]")  # of an option, which stay together


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("words", HELP, ids=" ".join)
def test_help_fits_the_terminal(
    words: list[str],
    columns: int,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    assert run(words) == 0
    told = capsys.readouterr().out.splitlines()
    too_wide = [line for line in told if len(line) > min(columns, 80)]
    assert [line for line in too_wide if not CHOICES.fullmatch(line)] == []
    assert max(map(len, told)) > min(columns, 80) - 12, "the room is used"


def test_help_on_a_terminal_has_its_width() -> None:
    told = lines(["stats", "--help"], 40)
    assert [line for line in told if len(line) > 40] == [] and "  --count N" in told


EXAMPLE = re.compile(r"^Example: (.*?)(?:\.? Exit status: |$)", re.MULTILINE | re.DOTALL)


def told_lines(command: click.Command) -> list[list[str]]:
    """The words of each command line of an example behind `iavfio`, up to a pipe or another one."""
    found = EXAMPLE.search(command.epilog or "")
    assert found, "there is no example"
    return [
        shlex.split(
            re.split(r" > | \| |\)\"|, then|, or of|; with| in ~| -- ", each)[0].strip(" .")
        )
        for each in found[1].split("iavfio ")[1:]
        if not each.startswith("-")  # dpdk-telemetry.py -f iavfio
    ]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_an_example_that_it_takes(words: tuple[str, ...]) -> None:
    """Its options exist, values are of their kind, and it has the arguments that it needs."""
    examples = told_lines(COMMANDS[words])
    assert any(each[: len(words)] == list(words) for each in examples)
    for example in examples:
        known = max((each for each in COMMANDS if example[: len(each)] == list(each)), key=len)
        assert known, example
        command = COMMANDS[known]
        parser = command.make_parser(click.Context(command))
        given, _, _ = parser.parse_args(example[len(known) :])
        needed = [each for each in command.params if each.required]
        assert [each.name for each in needed if not given.get(each.name or "")] == []


@pytest.mark.parametrize("name", ["list", "info", "schema"])
def test_examples_that_need_no_card_run(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    for example in told_lines(COMMANDS[(name,)]):
        assert run(example) == 0 and capsys.readouterr().out


def test_where_nobody_says_how_wide_it_is_a_message_stays_on_its_line() -> None:
    assert len(lines(["softvf", "--option", "colour=red"], None, terminal=False)) == 3


@pytest.mark.parametrize(
    ("uplink", "remedy"),
    [
        ("foo", "uplinks: none, loopback"),
        ("tap:", "uplinks: none, loopback"),
        ("pcap:/dev/null", "uplinks: none, loopback"),
        ("gen:size=1", "uplinks: none, loopback"),
    ],
)
def test_a_wrong_uplink_is_told_once(
    uplink: str, remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["softvf", "--uplink", uplink]) == 2
    told = capsys.readouterr().err
    assert remedy in told
    for text in ("loopback", "tap:NAME", "cannot open"):
        assert told.count(text) == 1


def test_a_damaged_capture_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x").write_bytes(b"\x0a\x0d\x0d\x0a" * 20)
    assert run(["softvf", "--uplink", f"pcap:{tmp_path / 'x'}"]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "cut or damaged: at block 1 a length of 168627466 bytes, which no block has" in said


@pytest.mark.parametrize(
    ("number", "noun", "words"),
    [
        (0, "packet", "0 packets"),
        (1, "queue pair", "1 queue pair"),
        (2, "queue pair", "2 queue pairs"),
        (1, "entry", "1 entry"),
        (3, "entry", "3 entries"),
    ],
)
def test_counts_have_the_right_form(number: int, noun: str, words: str) -> None:
    assert counted(number, noun) == words


@pytest.mark.parametrize(("queues", "words"), [("1", "1 queue pair\n"), ("2", "2 queue pairs\n")])
def test_the_headline_of_a_bench(
    queues: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["bench", "softvf", "--queues", queues, "--count", "9"]) == 0
    assert words in capfd.readouterr().err


ENTRY = {
    "time": 1.0,
    "direction": "out",
    "opcode": 1,
    "status": 0,
    "hex": "00",
    "note": "",
    "adv_link_speed": False,
}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x", "line 2 cannot be read: it is no JSON"),
        ("12", "line 2 cannot be read: it is no JSON object"),
        ("[]", "line 2 cannot be read: it is no JSON object"),
        ("[" * 99999, "line 2 cannot be read: it is no JSON"),
        (json.dumps(ENTRY | {"time": "x"}), "its 'time' is 'x', not seconds since 1970"),
        (json.dumps(ENTRY | {"opcode": None}), "its 'opcode' is None, not a whole number"),
        (json.dumps(ENTRY | {"direction": "up"}), "its 'direction' is 'up', not one of "),
        (json.dumps(ENTRY | {"direction": []}), "its 'direction' is [], not one of "),
        (
            json.dumps(ENTRY | {"hex": "0g"}),
            "its 'hex' is '0g', not at most 65536 bytes in hexadecimal digits",
        ),
        ('{"time": 1}', "its 'direction' is missing, one of "),
    ],
)
def test_a_damaged_journal_says_which_line_and_what_was_expected(
    line: str, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "journal"
    file.write_text(f"{json.dumps(ENTRY)}\n{line}\n", encoding="utf-8")
    assert run(["journal", "show", str(file)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert str(file) in told and reason in told
    assert "record one with: iavfio journal record" in told
    assert_no_parser_speaks(told)


def bundle(path: Path, content: bytes | None) -> None:
    """A tar with this as its results; None: with another file."""
    source = path.with_suffix(".json")
    source.write_bytes(content or b"x")
    with tarfile.open(path, "w") as tar:
        tar.add(source, "qualify/other" if content is None else "qualify/qualify.json")


RESULTS = {"format": 1, "checks": [], "host": {}, "devices": {}}


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "qualify/qualify.json is not in it"),
        (b"x", "its line 1 cannot be read"),
        (b"\xff\xfe", "qualify.json in it is no text"),
        (b"{}", "qualify.json in it has no 'format'"),
        (b"[]", "has not the form of results"),
        (json.dumps(RESULTS | {"format": 99}).encode(), "it has format 99, not 1"),
        (json.dumps(RESULTS | {"checks": [{"odd": 1}]}).encode(), "has not the form of results"),
        (json.dumps(RESULTS | {"host": 1}).encode(), "host is not an object"),
    ],
)
def test_a_file_that_is_no_bundle_says_what_is_wrong_with_it(
    content: bytes | None, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bundle.tar"
    bundle(file, content)
    assert run(["qualify", "show", str(file)]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert str(file) in told and reason in told
    assert_no_parser_speaks(told)


@pytest.mark.parametrize("content", [b"", b"text\n" * 300])
def test_a_file_that_is_no_archive(
    content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bundle.tar"
    file.write_bytes(content)
    assert run(["qualify", "show", str(file)]) == 2
    told = capsys.readouterr().err
    assert "it is no tar archive" in told
    assert_no_parser_speaks(told)


def assert_no_parser_speaks(told: str) -> None:
    for words in ("Error:", "char 0", "Expecting", "could not convert", "unexpected keyword"):
        assert words not in told
