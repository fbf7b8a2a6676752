# SPDX-License-Identifier: BSD-3-Clause
"""Who may put sockets where, and who serves the one that a client opens (D5); also for root."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from iavfio import pyvfio
from iavfio.errors import ConfigError
from iavfio.softvf.server.directory import base_directory, private_directory

OTHER = 65534
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")


def chmod(mode: int, which: str = "leaf") -> Callable[[Path], None]:
    return lambda leaf: (leaf if which == "leaf" else leaf.parent).chmod(mode)


def give(which: str) -> Callable[[Path], None]:
    return lambda leaf: os.chown(leaf if which == "leaf" else leaf.parent, OTHER, -1)


# docs/spec/reliability.md D5
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (chmod(0o770), "written by others"),
        (chmod(0o707), "written by others"),
        (chmod(0o777), "written by others"),
        (chmod(0o777, "above"), "written by others"),
        (chmod(0o720, "above"), "written by others"),
        pytest.param(give("leaf"), "belongs to uid 65534", marks=root_only),
        pytest.param(give("above"), "belongs to uid 65534", marks=root_only),
    ],
)
def test_directories_of_others_are_refused(
    change: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    leaf = tmp_path / "above" / "leaf"
    leaf.mkdir(parents=True, mode=0o700)
    change(leaf)
    with pytest.raises(ConfigError, match=words), private_directory(leaf):
        pass
    assert leaf.exists()


def test_a_link_to_a_directory_of_others_is_refused(tmp_path: Path) -> None:
    open_to_all = tmp_path / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    link = tmp_path / "link"
    link.symlink_to(open_to_all)
    with pytest.raises(ConfigError, match="written by others"), private_directory(link):
        pass


@pytest.mark.parametrize("mode", [0o700, 0o750, 0o755, 0o1777])
def test_directories_that_only_this_user_can_change(mode: int, tmp_path: Path) -> None:
    leaf = tmp_path / "leaf"
    leaf.mkdir()
    leaf.chmod(mode)
    with private_directory(leaf) as path:
        assert path == leaf


def test_what_was_made_for_nothing_is_taken_away(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError), private_directory(tmp_path / "fresh"):
        pass
    assert not (tmp_path / "fresh").exists()


@root_only
def test_the_runtime_directory_of_another_user_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "run"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    if len(str(home)) <= 60:
        assert base_directory() == str(home)
    os.chown(home, OTHER, -1)
    assert base_directory() == "/tmp"


@contextmanager
def listening(path: Path, uid: int) -> Iterator[None]:
    """Another process listens at `path` as `uid`, and says nothing."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            if uid:
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            sock = socket.socket(socket.AF_UNIX)
            sock.bind(str(path))
            sock.listen(1)
            os.write(write, b"!")
            signal.pause()
        os._exit(0)
    try:
        os.close(write)
        assert os.read(read, 1) == b"!"
        yield
    finally:
        os.close(read)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


# docs/spec/reliability.md D5
@root_only
def test_root_opens_no_socket_that_a_user_serves(tmp_path_factory: pytest.TempPathFactory) -> None:
    directory = Path("/tmp") / f"iavfio-trust-{os.getpid()}"
    directory.mkdir(mode=0o777)
    directory.chmod(0o777)
    try:
        with (
            listening(directory / "vf0.sock", OTHER),
            pytest.raises(pyvfio.PermissionDenied, match="served by another user") as caught,
        ):
            pyvfio.open(f"vfio-user:{directory}/vf0.sock")
        assert "uid 65534" in str(caught.value)
    finally:
        for each in directory.iterdir():
            each.unlink()
        directory.rmdir()
