# SPDX-License-Identifier: BSD-3-Clause
"""pyvfio works with two modules of iavfio that import none; there is one error root."""

from __future__ import annotations

import ast
import importlib
import inspect
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import iavfio
from iavfio import errors, pyvfio
from iavfio.virtchnl.messages.wire import Malformed
from tests.pyvfio.vfio_user_peer import Peer

EXTRAS = ("distributed",)  # of iavfio[fleet], which `make test-fleet` installs
PACKAGE = Path(errors.__file__).parent
MAY = ("errors", "dialing")  # docs/adr/0007


def imported(path: Path) -> set[str]:
    """Names of iavfio's modules that a file imports, wherever in the file it does."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} has a relative import"
            module = node.module or ""
            found |= {f"iavfio.{a.name}" for a in node.names} if module == "iavfio" else {module}
    return {name for name in found if name.split(".")[0] == "iavfio"}


@pytest.mark.parametrize("path", sorted((PACKAGE / "pyvfio").rglob("*.py")), ids=lambda p: p.name)
def test_a_file_of_pyvfio_imports_pyvfio_and_what_it_may_only(path: Path) -> None:
    known = {"iavfio.pyvfio", *(f"iavfio.{name}" for name in MAY)}
    names = imported(path) - known
    assert not {name for name in names if not name.startswith("iavfio.pyvfio.")}


@pytest.mark.parametrize("name", MAY)
def test_what_pyvfio_may_import_imports_nothing_of_iavfio(name: str) -> None:
    assert not imported(PACKAGE / f"{name}.py")


def test_the_module_of_errors_imports_nothing() -> None:
    tree = ast.parse(Path(errors.__file__).read_text(encoding="utf-8"))
    imports = [n for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imports] == ["from __future__ import annotations"]


def test_pyvfio_opens_a_device_with_nothing_else_of_the_package(tmp_path: Path) -> None:
    alone = tmp_path / "iavfio"
    shutil.copytree(PACKAGE / "pyvfio", alone / "pyvfio", ignore=shutil.ignore_patterns("__py*"))
    for name in MAY:
        shutil.copy(PACKAGE / f"{name}.py", alone)
    (alone / "__init__.py").touch()
    script = (
        "from iavfio import pyvfio\n"
        "try:\n"
        "    pyvfio.open('vfio-user:/nonexistent/socket')\n"
        "except pyvfio.VfioError as error:\n"
        "    print(type(error).__name__, bool(error.remedy))\n"
        "print(pyvfio.DmaMemory.allocate(4096).size)\n"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-c", f"import sys; sys.path[:0] = [{str(tmp_path)!r}]\n{script}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["NotFound True", "4096"]


def exceptions() -> list[type[BaseException]]:
    """Every exception class of iavfio but those that never leave the software PF's process."""
    found: set[type[BaseException]] = set()
    for module in pkgutil.walk_packages(iavfio.__path__, "iavfio."):
        if module.name.endswith("__main__") or module.name == "iavfio.libiavfio_preload":
            continue  # a program, and a library for LD_PRELOAD
        try:
            members = inspect.getmembers(importlib.import_module(module.name), inspect.isclass)
        except ModuleNotFoundError as missing:
            assert missing.name in EXTRAS
            continue
        for _, item in members:
            if issubclass(item, BaseException) and item.__module__.startswith("iavfio."):
                if item.__module__.startswith("iavfio.softvf."):
                    continue
                if issubclass(item, KeyboardInterrupt) or item is Malformed:
                    continue  # a signal; and what MessageType turns into a MailboxError
                found.add(item)
    return sorted(found, key=lambda kind: (kind.__name__, kind.__module__))


def test_every_exception_descends_from_one_root_and_no_name_is_there_twice() -> None:
    kinds = exceptions()
    assert errors.IavfioError in kinds
    assert [k for k in kinds if not issubclass(k, errors.IavfioError)] == []
    names = [kind.__name__ for kind in kinds]
    assert sorted(set(names)) == names


def test_what_pyvfio_raises_is_caught_by_every_name_that_fits(tmp_path: Path) -> None:
    assert pyvfio.DeviceLost is iavfio.DeviceLost
    assert pyvfio.VfioError is iavfio.VfioError
    peer = Peer(tmp_path / "vf0.sock")
    with pyvfio.open(f"vfio-user:{peer.path}") as device:
        peer.hang_up()
        for kind in (iavfio.IavfioError, iavfio.VfioError, iavfio.DeviceError):
            with pytest.raises(kind) as caught:
                device.irq(2)
            assert isinstance(caught.value, iavfio.DeviceLost)
    peer.close()


def test_an_error_has_three_parts_and_a_number() -> None:
    lost = pyvfio.DeviceLost("it is gone", "the server ended", "start it again", 19)
    assert (lost.what, lost.cause, lost.remedy) == (
        "it is gone",
        "the server ended",
        "start it again",
    )
    assert lost.errno == 19
    assert str(lost) == "it is gone: the server ended\n  start it again"
