# SPDX-License-Identifier: BSD-3-Clause
"""What Tab offers: by the machinery that the shells call, and in bash itself."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import iavfio.stats
from iavfio.cli import candidates, run
from iavfio.cli.group import SUMMARIES
from iavfio.errors import IavfioError
from iavfio.stats import KnownPort

BREAKS = " \t\n\"'@><=;|&(:"  # bash's own COMP_WORDBREAKS
PF, VF = "0000:3b:00.0", "0000:3b:02.0"
Ask = Callable[..., list[str]]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with a PF, a VF and another card, three ports, and the sockets of a software PF."""
    for bdf, device in ((PF, "0x1593"), (VF, "0x1889"), ("0000:3b:03.0", "0x10fb")):
        home = tmp_path / "devices" / bdf
        home.mkdir(parents=True)
        (home / "vendor").write_text("0x8086\n", encoding="utf-8")
        (home / "device").write_text(f"{device}\n", encoding="utf-8")
    (tmp_path / "devices" / PF / "sriov_totalvfs").write_text("8\n", encoding="utf-8")
    monkeypatch.setattr(candidates, "DEVICES", tmp_path / "devices")
    monkeypatch.setattr(candidates, "PLACES", (str(tmp_path / "p*"),))
    known = [
        KnownPort(name, "u", "running", alive, "p", VF)
        for name, alive in (("vf0", True), ("gone", False), ("uplink", True))
    ]
    monkeypatch.setattr(iavfio.stats, "ports", lambda: known)
    monkeypatch.chdir(tmp_path)
    for name in [each for each in os.environ if each.startswith("PCIDEVICE_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PCIDEVICE_X", "0000:fe:1f.6,0000:fe:1f.7")
    (tmp_path / "pf").mkdir()
    for served in (b"vf0.sock", b"vf1.sock", b"control.sock", *HOSTILE):
        with socket.socket(socket.AF_UNIX) as line:
            line.bind(b"pf/" + served)
    return tmp_path


@pytest.fixture
def ask(host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Ask:
    """Asks for the words of a line up to the cursor, as bash's script does."""

    def asked(line: str, breaks: str = "") -> list[str]:
        monkeypatch.setenv("_IAVFIO_COMPLETE", "bash_complete")
        monkeypatch.setenv("IAVFIO_LINE", line)
        monkeypatch.setenv("IAVFIO_BREAKS", breaks)
        assert run([]) == 0
        out, error = capfd.readouterr()
        assert error == ""
        return out.split()

    return asked


# Anybody may make a socket in /tmp, and Enter runs what Tab put on the line: none is offered.
HOSTILE = (
    b"vf$(touch x).sock",
    b"vf`touch x`.sock",
    b"vf;x.sock",
    b"vf x.sock",
    b"vf'.sock",
    b"vf\n2.sock",
    b"vf\x1b[2J.sock",
    b"vf\xff.sock",
    "vf\N{LATIN SMALL LETTER U WITH DIAERESIS}.sock".encode(),
)
SOCKETS = ["plain,vfio-user:{host}/pf/vf0.sock", "plain,vfio-user:{host}/pf/vf1.sock"]
RESOURCES = ["plain,PCIDEVICE_X", "plain,PCIDEVICE_X:1"]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("iavfio st", ["plain,stats"]),
        ("iavfio stats ", ["plain,vf0", "plain,uplink"]),
        ("iavfio stats u", ["plain,uplink"]),
        ("iavfio stats vf0 --nam", ["plain,--names"]),
        ("iavfio stats vf0 --names ", ["plain,libie", "plain,kernel"]),
        ("iavfio stats vf0 --names=k", ["plain,kernel"]),
        ("iavfio top vf0 up", ["plain,uplink"]),
        ("iavfio info ", ["plain,softvf", *RESOURCES, f"plain,{VF}", *SOCKETS]),
        ("iavfio info 0000:3b:", [f"plain,{VF}"]),
        ("iavfio info vfio-u", SOCKETS),
        ("iavfio info vfio-user:", [*SOCKETS, "part,vfio-user:devices/", "part,vfio-user:pf/"]),
        ("iavfio info vfio-user:{host}/p", ["part,vfio-user:{host}/pf/"]),
        ("iavfio info vfio-user:pf/vf1", ["plain,vfio-user:pf/vf1.sock"]),
        ("iavfio preload pf/", ["plain,pf/vf0.sock", "plain,pf/vf1.sock"]),
        ("iavfio why v", ["plain,vf0", *SOCKETS]),
        ("iavfio doctor ", ["plain,vf0", "plain,uplink", *RESOURCES, f"plain,{VF}"]),
        ("iavfio bind 0000", [f"plain,{VF}"]),
        ("iavfio vf 0", [f"plain,{PF}"]),
        (f"iavfio vf {PF} d", ["plain,destroy"]),
        (f"iavfio vf {PF} set ", []),
        (f"iavfio vf {PF} set 0 m", ["plain,mac", "plain,min-rate"]),
        (f"iavfio vf {PF} set 0 trust ", ["plain,on", "plain,off"]),
        (f"iavfio vf {PF} set 0 trust on link e", ["plain,enable"]),
        (f"iavfio vf {PF} set 0 trust on t", []),
        (f"iavfio vf {PF} set 0 mac n", ["plain,none"]),
        (f"iavfio vf {PF} set 0 vlan ", []),
        (f"iavfio vf {PF} set 0 nosuch ", []),
        (f"iavfio vf {PF} create ", []),
        ("iavfio softvf --personality x7", ["plain,x710", "plain,x722"]),
        ("iavfio softvf --option pf_k", ["part,pf_kernel="]),
        ("iavfio schema sta", ["plain,stats"]),
        ("iavfio nonsense ", []),
        ("iavfio info 'vfio-user:pf/vf1", ["plain,vfio-user:pf/vf1.sock"]),
    ],
)
def test_words_fit_what_is_asked_for(ask: Ask, host: Path, line: str, offered: list[str]) -> None:
    assert ask(line.format(host=host)) == [each.format(host=host) for each in offered]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("iavfio info 0000:3b:02", ["plain,02.0"]),
        ("iavfio info 0000:3b:", ["plain,02.0"]),
        ("iavfio info vfio-user:pf/vf1", ["plain,pf/vf1.sock"]),
        ("iavfio stats vf0 --names=k", ["plain,kernel"]),
        ("iavfio info so", ["plain,softvf"]),
    ],
)
def test_bash_gets_what_comes_after_its_last_break(ask: Ask, line: str, offered: list[str]) -> None:
    assert ask(line, BREAKS) == offered


def test_what_cannot_be_read_offers_nothing(ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> list[KnownPort]:
        raise IavfioError("it may not be read")

    monkeypatch.setattr(iavfio.stats, "ports", refused)
    monkeypatch.setattr(candidates, "DEVICES", Path("/nowhere"))
    monkeypatch.setattr(candidates, "PLACES", ())
    assert ask("iavfio stats ") == []
    assert ask("iavfio info 0") == []
    assert ask("iavfio info vfio-") == ["part,vfio-user:"]
    assert ask("iavfio info vfio-user:/nowhere/at/all/") == []


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_get_the_same_words(
    host: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], shell: str
) -> None:
    monkeypatch.setenv("_IAVFIO_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", "iavfio info vfio-user:pf")
    monkeypatch.setenv("COMP_CWORD", "2" if shell == "zsh" else "vfio-user:pf")
    assert run([]) == 0
    assert "vfio-user:pf/" in capfd.readouterr().out.replace("\\:", ":")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_of_its_shell(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], shell: str
) -> None:
    assert run(["completion", shell]) == 0
    script = capfd.readouterr().out
    assert f"_IAVFIO_COMPLETE={shell}_complete" in script
    program = shutil.which(shell)
    if program is not None:
        (tmp_path / "script").write_text(script, encoding="utf-8")
        done = subprocess.run(
            [program, "-n", str(tmp_path / "script")], capture_output=True, text=True
        )
        assert (done.returncode, done.stderr) == (0, "")


def test_fish_takes_what_stands_behind_a_comma(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(["completion", "fish"]) == 0
    script = capfd.readouterr().out
    assert 'string split --max 1 "," $completion' in script
    fish = shutil.which("fish")
    if fish is None:
        pytest.skip("fish is not installed")
    (tmp_path / "iavfio.fish").write_text(script, encoding="utf-8")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    asked = f"source {tmp_path}/iavfio.fish; complete -C 'iavfio bench --mod'"
    done = subprocess.run(
        [fish, "--no-config", "-c", asked],
        env=os.environ | {"PATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.stdout.startswith("--mode\tReceive only, send only, ")


def test_bash_itself_completes_a_command(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    assert run(["completion", "bash"]) == 0
    script = capfd.readouterr().out
    program = tmp_path / "iavfio"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m iavfio.cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    asked = "COMP_LINE='iavfio un x'; COMP_POINT=9; _iavfio_completion iavfio; "
    done = subprocess.run(
        [bash, "--norc", "-c", f"{script}{asked}printf '%s\\n' \"${{COMPREPLY[@]}}\""],
        capture_output=True,
        text=True,
        env=os.environ
        | {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PYTHONPATH": str(Path.cwd())},
    )
    assert done.stdout.split() == [name for name in SUMMARIES if name.startswith("un")]
