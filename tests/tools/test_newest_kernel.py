# SPDX-License-Identifier: BSD-3-Clause
"""Which kernel is the newest: what the archive's lists say, asked once a day, told when it cannot.

The archive is played: one package list, and an apt that counts how often it is asked.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import pytest

from iavfio.linuxpf import archive, build, kernel_source
from iavfio.linuxpf.archive import BACKPORTS, Archive
from iavfio.linuxpf.build import JUDGES, Judge
from iavfio.linuxpf.cache import LabError, Unavailable
from iavfio.linuxpf.kernel_source import FRESH_SECONDS, NEWEST, Source, refresh, source, unpack


@dataclass
class Played:
    """The archive: versions of packages, and whether it can be reached."""

    home: Path
    packages: dict[str, str] = field(default_factory=dict)
    reached: bool = True
    asked: int = 0

    @property
    def listed(self) -> bool:
        return (self.home / "list").exists()

    def update(self, log: Path) -> None:
        if not self.reached:
            raise Unavailable("the package archive cannot be reached: no route")
        self.asked += 1
        (self.home / "list").touch()

    def versions(self, package: str) -> dict[str, str]:
        return {BACKPORTS: self.packages[package]} if package in self.packages else {}

    def depends(self, package: str, version: str) -> list[str]:
        assert self.packages[package] == version
        return ["bzip2", *(name for name in self.packages if name.startswith("linux-source-"))]

    def download(self, packages: list[str], log: Path) -> list[Path]:
        raise LabError("apt-get ended with 100")


@pytest.fixture
def played(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Played:
    monkeypatch.setenv("IAVFIO_GUEST_CACHE", str(tmp_path))
    made = Played(tmp_path)
    monkeypatch.setattr(kernel_source, "_backports", lambda: made)
    return made


def test_the_newest_kernel_is_that_of_the_backports(played: Played, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="never asked: run 'make judge'"):
        source(NEWEST)
    refresh(tmp_path / "log")
    with pytest.raises(Unavailable, match="no linux-source in trixie-backports: use a mirror"):
        source(NEWEST)
    played.packages |= {"linux-source": "9.8.1", "linux-source-9.8": "9.8.1-1~bpo"}
    found = source(NEWEST)
    assert (found.package, found.version) == ("linux-source-9.8", "9.8.1-1~bpo")
    assert str(found) == "linux-source-9.8 9.8.1-1~bpo"


def test_the_archive_is_asked_once_a_day(played: Played, tmp_path: Path) -> None:
    for _ in range(3):
        refresh(tmp_path / "log")
    assert played.asked == 1
    then = time.time() - FRESH_SECONDS - 60
    os.utime(tmp_path / "asked", (then, then))
    refresh(tmp_path / "log")
    assert played.asked == 2


def test_an_archive_that_is_away(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is known is good enough; nothing is known before the first answer."""
    played.reached = False
    with pytest.raises(Unavailable, match="cannot be reached"):
        refresh(tmp_path / "log")
    (tmp_path / "list").touch()
    refresh(tmp_path / "log")
    assert "that of the last time: the package archive cannot be reached" in capsys.readouterr().out


def test_a_source_that_is_not_handed_out_is_asked_for_again(played: Played, tmp_path: Path) -> None:
    refresh(tmp_path / "log")
    gone = Source("linux-source-9.8", "9.8.1", cast(Archive, played))
    with pytest.raises(Unavailable, match=r"does not hand out linux-source-9\.8 9\.8\.1"):
        unpack(gone, tmp_path, tmp_path / "log")
    refresh(tmp_path / "log")
    assert played.asked == 2


def test_the_judge_of_the_version_that_is_there_now_is_started(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make judge` asks which version there is, a start asks nobody; an older one comes back."""
    (judge, *_) = (each for each in JUDGES if each.kernel == NEWEST)
    made: list[str] = []

    def compile_it(_: Judge, kernel: Source, path: Path) -> None:
        made.append(kernel.version)
        path.touch()

    monkeypatch.setattr(build, "_build", compile_it)
    with pytest.raises(Unavailable, match=f"{judge.name} is not built: run 'make judge'"):
        build.load(judge)
    for version in ("9.8.2-1", "9.8.10-1", "9.8.2-1"):
        played.packages |= {"linux-source": version, "linux-source-9.8": version}
        path = build.build(judge)
        assert f"judge-{judge.name}-{version}-" in path.name
        modified, asked = path.stat().st_mtime_ns, played.asked
        played.reached = False
        assert build.load(judge) == path, "of several the one that was wanted last"
        assert (path.stat().st_mtime_ns, played.asked) == (modified, asked)
        played.reached = True
    assert made == ["9.8.2-1", "9.8.10-1"]


def test_a_start_needs_no_apt(played: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """A judge that is built runs where no package archive is known at all."""
    judge = JUDGES[0]
    path = judge.path("6.12.1-1")
    path.touch()
    monkeypatch.setenv("PATH", "/nonexistent")
    assert build.load(judge) == path
    assert build.obtain(judge) == path


def test_a_command_builds_what_is_not_there_and_nothing_newer(
    played: Played, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A judge of other files is another checkout's, beside ours; `make judge` asks what is new."""
    (judge, *_) = (each for each in JUDGES if each.kernel == NEWEST)
    monkeypatch.setattr(build, "_build", lambda judge, kernel, path: path.touch())
    other = tmp_path / f"judge-{judge.name}-9.8.1-1-0123456789ab"
    other.touch()
    with pytest.raises(Unavailable, match="not built"):
        build.load(judge)
    played.packages |= {"linux-source": "9.8.1-1", "linux-source-9.8": "9.8.1-1"}
    first = build.obtain(judge)
    assert first == judge.path("9.8.1-1") != other
    played.packages |= {"linux-source": "9.8.2-1", "linux-source-9.8": "9.8.2-1"}
    assert build.obtain(judge) == first
    assert build.build(judge) == judge.path("9.8.2-1") == build.obtain(judge)


def test_a_mirror_that_does_not_answer_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """apt itself would end with 0 and keep the lists that it has."""

    def call(command: list[str], **_: object) -> None:
        assert "-oAPT::Update::Error-Mode=any" in command
        raise LabError("apt-get ended with 100")

    monkeypatch.setattr(archive, "sources", lambda _: "")
    monkeypatch.setattr(archive, "call", call)
    view = archive.Archive(tmp_path, (BACKPORTS,))
    with pytest.raises(Unavailable, match="try again when this host's mirror answers"):
        view.update(tmp_path / "log")
    assert not view.listed


def test_no_keyring_no_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "KEYRING", tmp_path / "missing.gpg")
    with pytest.raises(Unavailable, match="apt-get install debian-archive-keyring"):
        archive.sources((BACKPORTS,))
