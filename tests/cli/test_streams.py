# SPDX-License-Identifier: BSD-3-Clause
"""Closed, full and broken standard streams, and limits of the process that are too low."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import iavfio
from tests.sanitizer import no_address_space

CLI = [sys.executable, "-P", "-m", "iavfio.cli"]
SHORT = ["bench", "softvf", "--duration", "0.2", "--rate", "1000"]
COMMANDS = [["--help"], ["list"], ["list", "--json"], ["stats", "--json"], SHORT,
            [*SHORT, "--json"], ["info", "softvf"], ["softvf", "--option", "help"]]  # fmt: skip
named = pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)


def cli(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*CLI, *arguments], text=True, timeout=120, check=False, **options)


def closing(*fds: int) -> Callable[[], None]:
    def close() -> None:
        for fd in fds:
            os.close(fd)

    return close


@named
def test_a_reader_that_is_gone_ends_a_command_quietly(arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        done = cli(arguments, stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert done.returncode == 0, done.stderr
    assert "Broken pipe" not in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_found_decides_the_status_though_nobody_reads_it() -> None:
    """A false 0 would tell a script that nothing is wrong."""
    with iavfio.softvf(vfs=1) as pf:
        pf.control("link", vf=0, state="disable")
        for arguments in (["why", pf.sockets[0]], ["why", pf.sockets[0], "--json"]):
            read, write = os.pipe()
            os.close(read)
            try:
                done = cli(arguments, stdout=write, stderr=subprocess.PIPE)
            finally:
                os.close(write)
            assert (done.returncode, done.stderr) == (1, "")


@named
def test_a_closed_stdout_is_no_error(arguments: list[str]) -> None:
    done = cli(arguments, stderr=subprocess.PIPE, preexec_fn=closing(1))
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr


def test_all_streams_closed() -> None:
    assert cli(SHORT, preexec_fn=closing(0, 1, 2)).returncode == 0
    assert cli(["bnch"], preexec_fn=closing(0, 1, 2)).returncode == 2


def test_errors_go_nowhere_else_when_stderr_is_closed() -> None:
    done = cli(["bnch"], stdout=subprocess.PIPE, preexec_fn=closing(2))
    assert (done.returncode, done.stdout) == (2, "")


LOUD = [*COMMANDS, ["why", "softvf"], ["why", "softvf", "--json"], ["schema"], ["schema", "stats"],
        ["qualify", "softvf", "--only", "identity", "-o", "/dev/shm/full.tar"]]  # fmt: skip
LOUD = [each for each in LOUD if each not in (["list"],)]  # it prints nothing where nothing is


@pytest.mark.parametrize("arguments", LOUD, ids=" ".join)
def test_a_full_disk_is_told(arguments: list[str]) -> None:
    with open("/dev/full", "w", encoding="utf-8") as full:  # noqa: PTH123
        done = cli(arguments, stdout=full, stderr=subprocess.PIPE)
    assert done.returncode == 1
    assert "No space left on device (ENOSPC)" in done.stderr
    assert "stdout takes no more" in done.stderr
    assert "Exception ignored" not in done.stderr
    assert "Traceback" not in done.stderr


def limiting(kind: int, value: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (value, value))


@pytest.mark.parametrize("files", [8, 30])
@pytest.mark.parametrize("arguments", [["info", "softvf"], SHORT, ["softvf"]], ids=" ".join)
def test_too_few_files_name_the_limit(arguments: list[str], files: int) -> None:
    done = cli(
        arguments,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=limiting(resource.RLIMIT_NOFILE, files),
    )
    assert done.returncode == 1
    assert "ulimit -n" in done.stderr
    assert f"{files}" in done.stderr
    assert "Traceback" not in done.stderr


@no_address_space
@pytest.mark.parametrize("mebibytes", range(60, 300, 60))
def test_too_little_address_space_names_the_limit_or_is_enough(mebibytes: int) -> None:
    done = cli(
        SHORT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        preexec_fn=limiting(resource.RLIMIT_AS, mebibytes << 20),
    )
    assert done.returncode in (0, 1)
    if done.returncode == 1:
        assert "ulimit -v" in done.stderr
    assert "Traceback" not in done.stderr
    assert "internal error" not in done.stderr
