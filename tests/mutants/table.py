# SPDX-License-Identifier: BSD-3-Clause
"""The tables of mutants: what each changes, what is wrong then, and which tests must notice."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent


class Mutant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One defect that is put in on purpose: `find`, which the file has once, becomes `replace`."""

    id: str
    file: str
    find: str
    replace: str
    breaks: str
    tests: list[str]
    survives: str = ""
    area: str = ""

    @property
    def emulated(self) -> bool:
        """Whether only 64-bit ARM has the file's code, so that its harnesses run emulated."""
        return self.file.endswith("/neon.c")

    def applied(self, text: str) -> str | None:
        """The text with the defect; None when it does not have the place exactly once."""
        if text.count(self.find) != 1:
            return None
        return text.replace(self.find, self.replace)


def areas(folder: Path = FOLDER) -> list[str]:
    """Names of the areas: one a file."""
    return sorted(path.stem for path in folder.glob("*.toml"))


def read(area: str, folder: Path = FOLDER) -> list[Mutant]:
    """The mutants of an area, in the order of its file; ValueError names a wrong entry."""
    with (folder / f"{area}.toml").open("rb") as file:
        entries = tomllib.load(file)["mutant"]
    found = []
    for number, entry in enumerate(entries, 1):
        try:
            found.append(msgspec.convert({**entry, "area": area}, Mutant))
        except msgspec.ValidationError as error:
            raise ValueError(f"{area}.toml, mutant {number}: {error}") from None
    return found


def everything(folder: Path = FOLDER) -> list[Mutant]:
    """The mutants of all areas."""
    return [mutant for area in areas(folder) for mutant in read(area, folder)]


def problems(mutants: list[Mutant], root: Path = ROOT) -> list[str]:
    """What is wrong with entries, one line each, without running anything."""
    found = []
    seen: set[str] = set()
    for mutant in mutants:
        path = root / mutant.file
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        if mutant.id in seen:
            found.append(f"{mutant.id}: another mutant has this id")
        seen.add(mutant.id)
        if mutant.applied(text) is None:
            found.append(f"{mutant.id}: {mutant.file} has the text {text.count(mutant.find)} times")
        if mutant.find == mutant.replace:
            found.append(f"{mutant.id}: it changes nothing")
        if not mutant.tests:
            found.append(f"{mutant.id}: it names no test")
        for test in mutant.tests:
            name = test.partition("[")[0].split("::")
            held = (root / name[0]).read_text(encoding="utf-8") if (root / name[0]).exists() else ""
            if not held or any(part not in held for part in name[1:]):
                found.append(f"{mutant.id}: there is no test {test}")
    return found
