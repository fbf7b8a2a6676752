# SPDX-License-Identifier: BSD-3-Clause
"""What is kept of a VF: over failures, reopening and the death of the device, without serials."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

import iavfio
from iavfio.cli import run as cli
from iavfio.errors import ConfigError, IavfioError
from iavfio.qualify.bundle import check_writable, make
from iavfio.qualify.checks import CHECKS
from iavfio.qualify.records import without_serial
from iavfio.qualify.run import qualify
from iavfio.qualify.vfs import Vfs
from iavfio.softvf import softvf

SERIAL = bytes.fromhex("ccbbaaffff9196b4")


def chain(*capabilities: tuple[int, int, int, bytes]) -> bytes:
    """Config space with extended capabilities: offset, id, next, content."""
    space = bytearray(0x1000)
    for at, number, following, content in capabilities:
        struct.pack_into("<I", space, at, number | 1 << 16 | following << 20)
        space[at + 4 : at + 4 + len(content)] = content
    return bytes(space)


@pytest.mark.parametrize(
    "space",
    [
        chain((0x100, 3, 0, SERIAL)),
        chain((0x100, 1, 0x140, bytes(8)), (0x140, 3, 0x1A0, SERIAL), (0x1A0, 13, 0, b"\1")),
        chain((0x100, 1, 0xFF0, bytes(8)), (0xFF0, 3, 0, SERIAL)),
        chain((0x100, 3, 0x100, SERIAL)),  # a chain that bites its tail
        chain((0x100, 3, 0, SERIAL))[:0x108],  # cut within the number
    ],
)
def test_a_serial_number_becomes_zeros_and_nothing_else_changes(space: bytes) -> None:
    found = without_serial(space)
    assert SERIAL[:4] not in found
    assert found == space.replace(SERIAL, bytes(8)).replace(SERIAL[:4], bytes(4))


@pytest.mark.parametrize("space", [b"", bytes(256), b"\xff" * 256, b"\xff" * 4096])
def test_config_space_without_extended_capabilities_stays(space: bytes) -> None:
    assert without_serial(space) == space


def test_journals_of_all_openings_and_of_a_dead_device_are_kept() -> None:
    with softvf(vfs=2, uplink="none") as pf:
        vfs = Vfs(pf.sockets, {})
        chosen = [check for check in CHECKS if check.name in ("negotiation", "reopening")]
        assert [outcome.status for outcome in qualify(vfs, chosen)] == ["passed", "passed"]
        assert len(vfs.ports) == 2
        pf.control("gone", vf=1, on=True)
        vfs.close()
    bundle = make(vfs.targets, [], vfs.records, 1.0)
    for number in range(2):
        journal = bundle.files[f"journal-{number}.jsonl"]
        assert journal.count('"name": "VERSION"') >= 4, journal  # asked and answered, at each
        assert bundle.files[f"config-{number}.hex"].startswith(
            ("000: 86 80", "000: ff ff", "not readable")
        )
        assert "rx_unicast" in bundle.files[f"counters-{number}.json"]


def test_when_the_second_vf_cannot_be_opened_the_first_is_not_left_open(tmp_path: Path) -> None:
    with softvf(vfs=1, uplink="none") as pf:
        vfs = Vfs([pf.sockets[0], f"vfio-user:{tmp_path}/no.sock"], {})
        for _ in range(2):
            with pytest.raises(IavfioError, match=r"no\.sock"):
                _ = vfs.ports
        with iavfio.open(pf.sockets[0]) as port:
            assert port.state == "stopped"


def test_a_resource_variable_names_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCIDEVICE_X", "0000:fe:1f.6,0000:fe:1f.7")
    assert Vfs(["PCIDEVICE_X:1"], {}).targets == ("0000:fe:1f.7",)
    with pytest.raises(ConfigError, match="has no device 2"):
        Vfs(["PCIDEVICE_X:2"], {})


def test_a_place_for_the_bundle_is_looked_at_before_the_device(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "nowhere" / "b.tar"
    assert cli(["qualify", f"vfio-user:{tmp_path}/no.sock", "-o", str(path)]) == 2
    assert "cannot be written" in capsys.readouterr().err
    check_writable(tmp_path / "b.tar")
    assert not list(tmp_path.iterdir())
