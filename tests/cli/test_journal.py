# SPDX-License-Identifier: BSD-3-Clause
"""Journals of drivers, recorded by the software PF, and their comparison."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

import iavfio
from iavfio.datapath.pool import Pool
from iavfio.virtchnl.journal import Journal
from iavfio.virtchnl.journal_diff import compare


def cli(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "iavfio.cli", "journal", *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_software_pf_and_driver_write_down_the_same(tmp_path: Path) -> None:
    with iavfio.softvf(vfs=2) as pf:
        for vf, queues in ((0, 1), (1, 2)):
            with pf.open(vf, pool=Pool(2048, huge="never")) as port:
                port.configure(queues=queues)
                port.start(wait_link=5)
                told = cli("record", str(pf.directory), "--vf", str(vf), "-o", f"{tmp_path}/{vf}")
                assert told.returncode == 0, told.stderr
                port.journal.save(tmp_path / f"own{vf}")
    theirs, ours = Journal.load(tmp_path / "0"), Journal.load(tmp_path / "own0")
    rows = list(compare(theirs, ours))
    assert len(rows) > 8
    assert all(row.same for row in rows)
    assert cli("diff", f"{tmp_path}/0", f"{tmp_path}/own0").returncode == 0
    told = cli("diff", f"{tmp_path}/0", f"{tmp_path}/1")
    assert told.returncode == 1
    assert "CONFIG_VSI_QUEUES vsi 1, 1 pairs" in told.stdout
    assert " | CONFIG_VSI_QUEUES vsi 1, 2 pairs" in told.stdout
    assert "-> GET_VF_RESOURCES" in cli("show", f"{tmp_path}/0").stdout


def test_what_is_no_journal_is_told(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("nonsense\n")
    told = cli("show", f"{tmp_path}/x")
    assert told.returncode == 2
    assert "no mailbox journal" in told.stderr
    told = cli("record", str(tmp_path), "-o", f"{tmp_path}/y")
    assert told.returncode == 2
    assert "iavfio softvf --socket" in told.stderr


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        ({"ok": True}, 1, "gives no journal"),
        ({"ok": True, "entries": "x"}, 1, "gives no journal"),
        ({"ok": True, "entries": [7]}, 2, "no mailbox journal"),
        ({"ok": True, "entries": [{"time": "\x1b]0;x\x07"}]}, 2, "no mailbox journal"),
        ({"ok": False, "error": "\x1b]0;x\x07"}, 2, "refused: ?]0;x?"),
    ],
)
def test_what_answers_oddly_is_not_recorded(
    tmp_path: Path, answer: dict[str, Any], status: int, words: str
) -> None:
    with (
        tempfile.TemporaryDirectory(prefix="iavfio-x-") as name,
        socket.create_server(f"{name}/control.sock", family=socket.AF_UNIX) as odd,
    ):

        def reply() -> None:
            line, _ = odd.accept()
            with line:
                line.recv(1 << 16)
                line.sendall(json.dumps(answer).encode() + b"\n")

        server = threading.Thread(target=reply)
        server.start()
        told = cli("record", name, "-o", f"{tmp_path}/y")
        server.join()
    assert (told.returncode, told.stdout) == (status, "")
    assert words in told.stderr and "Traceback" not in told.stderr
    assert told.stderr.replace("\n", "").isprintable()
    assert not (tmp_path / "y").exists()
