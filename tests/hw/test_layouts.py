# SPDX-License-Identifier: BSD-3-Clause
"""csrc/hw against facts of the public Linux and DPDK headers (tests/data/layouts.json)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from iavfio import _driver
from iavfio.softvf import _device

FACTS: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "data" / "layouts.json").read_text(encoding="utf-8")
)
ROOMS = {"driver": _driver, "softvf": _device}


@pytest.mark.parametrize("room", ROOMS)
@pytest.mark.parametrize("struct", sorted(FACTS["structs"]))
def test_struct_has_the_facts_size_and_offsets(room: str, struct: str) -> None:
    ffi = ROOMS[room].ffi
    facts = FACTS["structs"][struct]
    assert ffi.sizeof(f"struct {struct}") == facts["size"]
    told = {
        name: [
            field.offset,
            0
            if field.type.kind == "array" and field.type.length is None
            else ffi.sizeof(field.type),
        ]
        for name, field in ffi.typeof(f"struct {struct}").fields
    }
    assert told == facts["fields"]


@pytest.mark.parametrize("room", ROOMS)
def test_constants_have_the_facts_values(room: str) -> None:
    lib = ROOMS[room].lib
    told = {name: int(getattr(lib, name)) for name in FACTS["constants"]}
    assert told == FACTS["constants"]
