# SPDX-License-Identifier: BSD-3-Clause
"""`--log-level` and IAVFIO_LOG: every command has them, and software VFs log as well."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from iavfio.cli.group import SUMMARIES


def run(*arguments: str, log: str = "") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if name != "IAVFIO_LOG"}
    return subprocess.run(
        [sys.executable, "-m", "iavfio", *arguments],
        env=env | ({"IAVFIO_LOG": log} if log else {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("command", sorted(SUMMARIES))
def test_every_command_has_the_option(command: str) -> None:
    below = {"journal": "show", "qualify": "run", "report": "diff"}
    words = [command, *([below[command]] if command in below else [])]
    told = run(*words, "--help").stdout
    assert "--log-level LEVEL" in told and "IAVFIO_LOG" in told


@pytest.mark.parametrize(
    "words",
    [
        ["--log-level", "info", "info", "softvf"],
        ["info", "--log-level", "info", "softvf"],
        ["--log-level=error", "info", "softvf", "--log-level=info"],  # the nearer one counts
    ],
)
def test_the_option_may_stand_before_and_behind_the_command(words: list[str]) -> None:
    done = run(*words)
    assert done.returncode == 0
    assert "opened by vfio-user" in done.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["journal", "--log-level", "debug", "show", "/dev/null"],
        ["qualify", "--log-level", "debug", "show", "/dev/null"],
        ["qualify", "--log-level=debug", "softvf", "--only", "none"],
    ],
)
def test_groups_take_it_as_well(words: list[str]) -> None:
    assert "log-level" not in run(*words).stderr


@pytest.mark.parametrize("before", [True, False])
def test_a_wrong_level_is_told_in_three_separate_parts(before: bool) -> None:
    option = ["--log-level", "infoo"]
    done = run(*option, "list") if before else run("list", *option)
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert "iavfio.virtchnl=debug,info; did you mean info?" in told


def test_nothing_is_logged_unless_it_is_asked_for() -> None:
    assert run("info", "softvf").stderr == ""


def test_the_rooms_and_the_software_vf_log_on_stderr() -> None:
    done = run("info", "softvf", "--log-level", "info")
    assert done.returncode == 0
    for words in (
        "iavfio.port: softvf: stopped",
        "iavfio.pyvfio: ",
        "opened by vfio-user",
        "iavfio.softvf: software PF",
        "iavfio.softvf: e810: serves 1 VF: vfio-user:",  # the other process
    ):
        assert words in done.stderr, done.stderr
    assert "DEBUG" not in done.stderr
    assert "E810" in done.stdout and "INFO" not in done.stdout


def test_a_logger_has_a_level_of_its_own() -> None:
    done = run("info", "softvf", log="iavfio.virtchnl=debug,warning")
    assert "sent GET_VF_RESOURCES, 4 bytes" in done.stderr
    assert "INFO" not in done.stderr
    alone = run("info", "softvf", log="virtchnl=debug,off").stderr.splitlines()
    assert alone and all("iavfio.virtchnl: " in line for line in alone)


# docs/spec/reliability.md P4
def test_messages_are_logged_without_what_they_hold() -> None:
    done = run("bench", "softvf", "--duration", "0.05", "--log-level", "debug")
    assert "sent CONFIG_RSS_KEY, 57 bytes" in done.stderr
    assert "6d5a56da" not in done.stderr  # the key
    assert "sent ADD_ETH_ADDR, 20 bytes" in done.stderr


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("debugx", "did you mean debug?"),
        ("5", "'5' is no level of logging"),
        ("iavfio.prot=debug", "did you mean iavfio.port?"),
        ("=debug", "there is no logger ''"),
        ("port=", "'' is no level of logging"),
        ("port=debug,port=info", "names iavfio.port twice"),
        ("debug,info", "names iavfio twice"),
    ],
)
def test_a_wrong_level_is_told(text: str, reason: str) -> None:
    for done in (run("stats", "--log-level", text), run("stats", log=text)):
        assert done.returncode == 2
        assert "IAVFIO_LOG" in done.stderr and reason in done.stderr
        assert "Traceback" not in done.stderr


def test_a_software_vf_says_that_its_level_is_wrong() -> None:
    script = "import iavfio\niavfio.softvf()"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env=os.environ | {"IAVFIO_LOG": "loud"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "'loud' is no level of logging" in done.stderr.splitlines()[-1]
