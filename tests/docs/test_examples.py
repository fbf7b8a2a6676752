# SPDX-License-Identifier: BSD-3-Clause
"""The Python and shell blocks of README and the guides do what they say, on the software VF."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from iavfio.softvf import linux_pf
from tests.punt import kernel
from tests.sanitizer import SANITIZER

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^( *)```(\w*)([^\n]*)\n(.*?)^\1```", re.MULTILINE | re.DOTALL)
SECONDS = 90
CARD = "0000:3b:02.0"  # where it stands alone, a software VF takes the card's place
NEEDS = {"handlers.md": "numba"}
ELSEWHERE = {"guest-lab.md", "fleet.md"}  # need a lab: tests/guest and tests/cluster run them
NEEDS_TAP = {"punt.md"}
PATH_NAMED = re.compile(r"`((?:iavfio|csrc|tools|tests)/[\w/.-]+\.\w+)`")


def blocks(language: str) -> list[tuple[str, int, str]]:
    """(page, line, text) of each block of a language."""
    found = []
    for page in (ROOT / "README.md", *sorted((ROOT / "docs" / "guides").glob("*.md"))):
        text = page.read_text(encoding="utf-8")
        for match in BLOCK.finditer(text):
            if match[2] == language and page.name not in ELSEWHERE:
                found.append((page.name, text[: match.start()].count("\n") + 1, match[4]))
    return found


def names(found: list[tuple[str, int, str]]) -> list[str]:
    return [f"{page}:{line}" for page, line, _ in found]


PYTHON = blocks("python")
SHELL = [block for block in blocks("sh") if re.search(r"iavfio (\w+ )?softvf", block[2])]
MAKE = [block for block in blocks("sh") if re.search(r"^make ", block[2], re.MULTILINE)]


def _require_tap(page: str) -> None:
    if page in NEEDS_TAP:
        kernel.require()


@pytest.mark.parametrize(("page", "line", "text"), PYTHON, ids=names(PYTHON))
def test_a_python_block_runs(page: str, line: int, text: str, tmp_path: Path) -> None:
    if SANITIZER and page == "preload.md":
        pytest.skip("the sanitizer's own preloaded library must come first")
    _require_tap(page)
    needed = NEEDS.get(page)
    if needed and importlib.util.find_spec(needed) is None:
        pytest.skip(f"{needed} is not installed: pip install {needed}")
    program = text
    if f'open("{CARD}")' in text:
        program = "import iavfio as _iavfio\n_pf = _iavfio.softvf(vfs=1)\n" + text.replace(
            f'open("{CARD}")', "open(_pf.sockets[0])"
        )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0, f"{page}:{line}\n{done.stderr}"
    assert done.stdout


@pytest.mark.parametrize(("page", "line", "text"), SHELL, ids=names(SHELL))
def test_a_shell_block_with_a_software_vf_runs(page: str, line: int, text: str) -> None:
    """Its server is ended with the process group of the block."""
    _require_tap(page)
    program = Path(sys.executable).with_name("iavfio")
    if not program.exists():
        pytest.skip(f"there is no {program}: make build")
    if "dpdk-testpmd" in text and (shutil.which("dpdk-testpmd") is None or SANITIZER):
        pytest.skip("dpdk-testpmd is not installed: apt-get install dpdk-dev")
    driver = re.search(r"--pf (linux-\S+)", text)
    if driver and linux_pf.kernel(driver[1]).built() is None:
        pytest.skip(f"{driver[1]} is not built: make judge")
    if " ping " in text and shutil.which("ping") is None:
        pytest.skip("ping is not installed: apt-get install iputils-ping")
    with tempfile.TemporaryDirectory(prefix="iavfio-docs-") as directory:
        child = subprocess.Popen(
            ["bash", "-ec", text.replace("/tmp/", f"{directory}/")],
            stdin=subprocess.DEVNULL,
            stdout=(output := (Path(directory) / "output").open("w+")),
            stderr=subprocess.STDOUT,
            env=os.environ
            | {"PATH": f"{program.parent}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
            start_new_session=True,
        )
        try:
            status = child.wait(timeout=SECONDS)
        finally:
            with contextlib.suppress(ProcessLookupError):  # nothing of the block runs any more
                os.killpg(child.pid, signal.SIGTERM)
        output.seek(0)
        assert status == 0, f"{page}:{line}\n{output.read()}"


@pytest.mark.parametrize(("page", "line", "text"), MAKE, ids=names(MAKE))
def test_a_make_block_names_targets(page: str, line: int, text: str) -> None:
    """What takes minutes is not run here: make says that it would."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):.*## ", makefile, re.MULTILINE))
    used = re.findall(r"^make ([\w-]+)", text, re.MULTILINE)
    assert used and set(used) <= targets, f"{page}:{line}"


def test_architecture_names_files_that_exist() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = set(PATH_NAMED.findall(text))
    assert len(named) >= 25
    assert not [name for name in named if not (ROOT / name).exists()]
