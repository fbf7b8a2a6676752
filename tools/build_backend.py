# SPDX-License-Identifier: BSD-3-Clause
"""The build backend of pyproject.toml: meson-python, with editable installs of our own kind.

`pip install -e .` does what `make build` does (docs/adr/0002): it builds once, copies the
extensions into the package and points the environment at this checkout. meson-python's own
editable install builds again at each import, by a build environment that pip has removed by then.
"""

from __future__ import annotations

import base64
import hashlib
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import mesonpy
from mesonpy import build_sdist, build_wheel, get_requires_for_build_sdist

__all__ = [
    "build_editable",
    "build_sdist",
    "build_wheel",
    "get_requires_for_build_editable",
    "get_requires_for_build_sdist",
    "get_requires_for_build_wheel",
]

ROOT = Path(__file__).resolve().parents[1]
PTH = "iavfio-editable.pth"
Settings = dict[Any, Any] | None


def get_requires_for_build_wheel(config_settings: Settings = None) -> list[str]:
    needed: list[str] = mesonpy.get_requires_for_build_wheel(config_settings)
    return needed


def get_requires_for_build_editable(config_settings: Settings = None) -> list[str]:
    return get_requires_for_build_wheel(config_settings)


def build_editable(
    wheel_directory: str,
    config_settings: Settings = None,
    metadata_directory: str | None = None,
) -> str:
    """A wheel that holds the metadata and a path to this checkout; PEP 660."""
    with tempfile.TemporaryDirectory() as directory:
        name: str = build_wheel(directory, config_settings)
        with zipfile.ZipFile(Path(directory) / name) as whole:
            files = {info: whole.read(info) for info in whole.namelist()}
    for path, content in files.items():
        if path.endswith(".so"):
            place(ROOT / path, content)
    kept = {
        path: content
        for path, content in files.items()
        if ".dist-info/" in path and not path.endswith("/RECORD")
    }
    kept[PTH] = f"{ROOT}\n".encode()
    record = next(path for path in files if path.endswith(".dist-info/RECORD"))
    with zipfile.ZipFile(Path(wheel_directory) / name, "w", zipfile.ZIP_DEFLATED) as wheel:
        for path, content in kept.items():
            wheel.writestr(path, content)
        wheel.writestr(record, "".join(map(row, kept, kept.values())) + f"{record},,\n")
    return name


def place(target: Path, content: bytes) -> None:
    """Renames a file into its place: running programs keep the old one, none sees half of it."""
    draft = target.with_name(f".{target.name}.new")
    try:
        draft.write_bytes(content)
        draft.replace(target)
    except OSError as error:
        raise SystemExit(
            f"an editable install puts {target.name} into {target.parent}: {error.strerror}\n"
            "  install a copy instead: pip install ."
        ) from error


def row(path: str, content: bytes) -> str:
    """A file's line in RECORD."""
    digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(content)}\n"
