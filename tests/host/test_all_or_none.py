# SPDX-License-Identifier: BSD-3-Clause
"""Of several functions all are bound or none, and their record is never half written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from iavfio.host import Writer, bind, recorded
from iavfio.host.errors import KernelRefused
from iavfio.host.records import Record, Records
from tests.host.fake_host import FakeHost

COUNT = 4
BDFS = [f"0000:3b:01.{n}" for n in range(COUNT)]


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeHost:
    monkeypatch.delenv("XDG_RUNTIME_DIR", raising=False)
    fake = FakeHost(tmp_path)
    fake.driver("vfio-pci")
    for number, bdf in enumerate(BDFS):
        fake.device(bdf, (0x8086, 0x1889), driver="iavf", group=40 + number)
        fake.interface(bdf, f"v{number}")
    return fake


@pytest.mark.parametrize("failing", range(COUNT))
def test_those_before_the_one_that_fails_go_back_in_reverse(host: FakeHost, failing: int) -> None:
    host.refuses["vfio-pci"] = {BDFS[failing]}
    with pytest.raises(KernelRefused, match=BDFS[failing]):
        bind(host.tree, BDFS, Writer(host, lambda line: None, "bind"))
    assert [(host.bound(bdf), host.override(bdf)) for bdf in BDFS] == [("iavf", "(null)")] * COUNT
    assert recorded(host.tree) == []
    lifted = [path.split("/")[4] for path, value in host.writes if value == "\n"]
    assert lifted == [BDFS[failing], *reversed(BDFS[:failing])]
    touched = {bdf for bdf in BDFS if any(bdf in path for path, _ in host.writes)}
    assert touched == set(BDFS[: failing + 1])


def test_a_record_file_is_never_half_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What stands under its name is whole at every moment, also when writing fails."""
    records = Records(tmp_path, "boot")
    first, second = (
        Record(bdf, "iavf", "", [], float(at), "boot", []) for at, bdf in enumerate(BDFS[:2])
    )
    records.put(first.bdf, first)

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space left"):
            records.put(second.bdf, second)
    assert records.load() == {first.bdf: first}
    records.put(second.bdf, second)
    assert records.load() == {first.bdf: first, second.bdf: second}
