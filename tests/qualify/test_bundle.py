# SPDX-License-Identifier: BSD-3-Clause
"""The bundle: complete, masked, comparable; damaged and foreign files are told."""

from __future__ import annotations

import io
import json
import math
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.cli import run as cli
from iavfio.errors import ConfigError
from iavfio.qualify.bundle import FORMAT, LARGEST_FILE, Bundle
from iavfio.qualify.comparison import comparison, differences
from iavfio.qualify.masking import Mask
from iavfio.qualify.outcome import Outcome
from iavfio.qualify.report import table
from iavfio.softvf import softvf

RESULTS: dict[str, Any] = {"format": FORMAT, "host": {}, "devices": {}, "checks": []}


def member(
    name: str, content: bytes, kind: bytes = tarfile.REGTYPE
) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size, info.type = len(content), kind
    return info, content


def tar(path: Path, *members: tuple[tarfile.TarInfo, bytes]) -> Path:
    with tarfile.open(path, "w") as out:
        for info, content in members:
            out.addfile(info, io.BytesIO(content))
    return path


def truncate(path: Path, length: int) -> Path:
    os.truncate(path, length)
    return path


def results(**changes: Any) -> bytes:
    return json.dumps(RESULTS | changes).encode()


NAME = "qualify/qualify.json"
CHECK = {"check": "rss", "status": "passed"}


def _with_figure(told: Any) -> Callable[[Path], object]:
    """A bundle with that value as a figure and as a time."""

    def make(path: Path) -> object:
        content = results(checks=[CHECK | {"figures": {"a": 1.0}, "seconds": told}])
        if isinstance(told, float | int):
            content = results(checks=[CHECK | {"figures": {"a": told}}])
        return tar(path, member(NAME, content))

    return make


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(b"\0" * 4096),
        lambda path: path.write_bytes(b"not a tar file" * 100),
        lambda path: tar(path),
        lambda path: tar(path, member("qualify/other.json", b"{}")),
        lambda path: tar(path, member("../qualify.json", results())),
        lambda path: tar(path, member(NAME, b"", tarfile.SYMTYPE)),
        lambda path: tar(path, member(NAME, b"", tarfile.DIRTYPE)),
        lambda path: tar(path, member(NAME, b"{")),
        lambda path: tar(path, member(NAME, b"[" * 100000)),
        lambda path: tar(path, member(NAME, b"\xff\xfe")),
        lambda path: tar(path, member(NAME, b"[]")),
        lambda path: tar(path, member(NAME, b"{}")),
        lambda path: tar(path, member(NAME, results(format=2))),
        lambda path: tar(path, member(NAME, results(host=[]))),
        lambda path: tar(path, member(NAME, results(checks=7))),
        lambda path: tar(path, member(NAME, results(checks=["x"]))),
        lambda path: tar(path, member(NAME, results(checks=[{"check": "rss"}]))),
        lambda path: tar(path, member(NAME, results(checks=[CHECK | {"nosuch": 1}]))),
        lambda path: tar(path, member(NAME, results(checks=[CHECK | {"status": 1}]))),
        lambda path: tar(path, member(NAME, results(checks=[CHECK | {"facts": []}]))),
        lambda path: tar(path, member(NAME, results(checks=[CHECK | {"figures": {"a": "b"}}]))),
        lambda path: tar(path, member(NAME, results(checks=[CHECK | {"seconds": None}]))),
        *(_with_figure(told) for told in (10**400, math.nan, math.inf, -math.inf, True, "1", None)),
        lambda path: tar(path, member(NAME, results(targets=5))),
        lambda path: tar(path, member(NAME, results(targets=[5]))),
        lambda path: tar(path, member(NAME, results(time=[]))),
        lambda path: truncate(tar(path, member(NAME, results())), LARGEST_FILE + 1),
    ],
)
@pytest.mark.parametrize("words", [["show"], ["diff"]])
def test_a_file_that_is_no_bundle_is_told(
    tmp_path: Path,
    make: Callable[[Path], object],
    words: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "x.tar"
    make(path)
    files = [str(path)] * (1 + (words == ["diff"]))
    assert cli(["qualify", *words, *files]) == 2
    err = capsys.readouterr().err
    assert "is no bundle of iavfio qualify" in err and "Traceback" not in err


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=2048))
def test_no_content_raises_another_error(tmp_path_factory: Any, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "random.tar"
    tar(path, member(NAME, content))
    with pytest.raises(ConfigError):
        Bundle.read(path)


TEXTS = st.text(st.characters(exclude_categories=()), max_size=20)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
CHECKS = st.fixed_dictionaries(
    {"check": TEXTS, "status": TEXTS | st.sampled_from(["passed", "failed"])},
    optional={
        "reason": TEXTS,
        "trace": TEXTS,
        "seconds": st.floats() | st.integers(),
        "facts": st.dictionaries(TEXTS, VALUES, max_size=2),
        "figures": st.dictionaries(TEXTS, st.floats() | st.integers(), max_size=2),
    },
)
FILES = st.fixed_dictionaries(
    {
        "format": st.just(FORMAT),
        "host": st.just({}),
        "devices": st.just({}),
        "checks": st.lists(CHECKS, max_size=3),
    },
    optional={"time": TEXTS, "targets": st.lists(TEXTS), "provenance": VALUES, "seconds": VALUES},
)


@settings(deadline=None, max_examples=25)
@given(one=FILES, other=FILES)
def test_what_is_read_can_be_shown_and_compared(
    tmp_path_factory: Any, one: dict[str, Any], other: dict[str, Any]
) -> None:
    """Whatever a bundle of somebody else's holds: it commands no terminal and is like itself."""
    read = []
    for content in (one, other):
        path = tmp_path_factory.getbasetemp() / "any.tar"
        tar(path, member(NAME, json.dumps(content).encode()))
        try:
            read.append(Bundle.read(path))
        except ConfigError:
            return
    for bundle in read:
        assert differences(bundle, bundle) == []
    told = [*table(read[0]), *comparison(read[0], read[1], ("a", "b"))]
    text = "".join(told).replace("\n", "").replace("\t", "")
    assert text.isprintable()
    text.encode()


def test_truncated_bundles_are_told(tmp_path: Path) -> None:
    whole = tmp_path / "whole.tar"
    Bundle(RESULTS | {"checks": [Outcome("rss", "passed").as_dict()]}).write(whole)
    data = whole.read_bytes()
    assert [o.check for o in Bundle.read(whole).outcomes] == ["rss"]
    for cut in range(0, 700, 64):
        (tmp_path / "cut.tar").write_bytes(data[:cut])
        with pytest.raises(ConfigError):
            Bundle.read(tmp_path / "cut.tar")


def test_bundle_that_cannot_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be written"):
        Bundle(RESULTS).write(tmp_path / "no" / "such" / "folder.tar")


def test_addresses_become_numbers_and_equal_ones_stay_equal() -> None:
    mask = Mask()
    mask.add(bytes.fromhex("b49691aabbcc"))
    mask.add(b"\xff" * 6)  # broadcast says nothing of a card
    text = mask.text("a b4:96:91:aa:bb:cc b B49691AABBCC c b4:96:91:aa:bb:cd d ff:ff:ff:ff:ff:ff")
    assert text == ("a 02:ac:00:00:00:01 b 02ac00000001 c 02:ac:00:00:00:02 d ff:ff:ff:ff:ff:ff")


def test_the_command_writes_a_bundle_that_holds_no_address(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "b.tar"
    only = "identity,negotiation,both-ways,soak"
    with softvf(vfs=2, uplink="none") as pf:
        mac = bytes.fromhex("b49691aabbcc")
        pf.control("mac", vf=0, mac=mac.hex(":"))
        targets = list(pf.sockets)
        arguments = ["qualify", *targets, "--only", only, "--soak", "0.2", "-o", str(path)]
        assert cli(arguments) == 0
    assert "4 passed, 0 FAILED, 0 not run; the bundle is" in capsys.readouterr().out
    with tarfile.open(path) as tar_file:
        names = tar_file.getnames()
        text = b"".join(
            content.read() for name in names if (content := tar_file.extractfile(name))
        ).decode()
    assert {f"qualify/{kind}" for kind in ("journal-0.jsonl", "registers-1.json")} <= set(names)
    assert mac.hex(":") not in text and mac.hex() not in text
    assert "02:ac:00:00:00:01" in text and "GET_VF_RESOURCES" in text
    shown = "\n".join(table(Bundle.read(path)))
    assert "on a software VF: no figure here is a NIC's" in shown and "soak" in shown
    assert cli(["qualify", "show", str(path)]) == 0
    assert cli(["qualify", "diff", str(path), str(path)]) == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["qualify"], "Usage"),
        (["qualify", "run"], "takes one or two"),
        (["qualify", "softvf", "softvf", "softvf"], "takes one or two"),
        (["qualify", "softvf", "--only", "rsss"], "did you mean rss?"),
        (["qualify", "softvf", "--skip", "nosuchcheck"], "checks are host, identity"),
        (["qualify", "softvf", "--only", "rss,link", "--skip", "rss,link"], "no check is left"),
        (["qualify", "softvf", "--only", "rss", "--only", "rsss"], "did you mean rss?"),
        (["qualify", "softvf", "--soak", "-1"], "it takes 0 to"),
        (["qualify", "softvf", "--soak", "nan"], "it takes 0 to"),
        (["qualify", "nosuch"], "nosuch"),
        (["qualify", "show", "/no/such"], "does not exist"),
        (["qualify", "diff", "/no/such"], "Missing argument|does not exist"),
    ],
)
def test_wrong_use_is_told(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli(arguments) == 2
    out = capsys.readouterr()
    assert any(word in out.err + out.out for word in words.split("|")), out
    assert "Traceback" not in out.err
