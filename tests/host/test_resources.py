# SPDX-License-Identifier: BSD-3-Clause
"""Devices as the SR-IOV device plugin of Kubernetes names them, wherever a VF can be named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from iavfio import pyvfio, resources
from iavfio.cli import run
from iavfio.cli.devices import PciAddress, Vf
from iavfio.cli.targets import port_of
from iavfio.errors import ConfigError
from iavfio.opening import open_port
from iavfio.stats import read
from tests.pyvfio.fake_kernel import FakeKernel

NAME = "PCIDEVICE_INTEL_COM_VF"
FIRST, SECOND = "0000:fe:1f.6", "0000:fe:1f.7"  # no machine of a test has them
TOKEN = "3e49019f-412f-4f02-824e-4cd195944205"


def details(**extra: str) -> str:
    """PCIDEVICE_..._INFO as the device plugin writes it; `extra` is of the second device."""
    vfio = {"mount": "/dev/vfio/vfio", "dev-mount": "/dev/vfio/42"}
    return json.dumps(
        {
            FIRST: {"generic": {"deviceID": FIRST}, "vfio": vfio},
            SECOND: {"extra": extra, "generic": {"deviceID": SECOND}, "vfio": vfio},
        }
    )


@pytest.fixture
def pod(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv(NAME, f"{FIRST},{SECOND.upper()}")
    monkeypatch.setenv(f"{NAME}_INFO", details(token=TOKEN))
    return monkeypatch


@pytest.mark.parametrize("suffix", ["", "_INFO"])
def test_a_device_is_found_with_its_token(pod: pytest.MonkeyPatch, suffix: str) -> None:
    written = f"{NAME}{suffix}"
    assert resources.find(written) == resources.Resource(NAME, FIRST, None)
    assert resources.find(f"{written}:1") == resources.Resource(NAME, SECOND, TOKEN)
    pod.delenv(NAME)  # the details alone name the devices in their order
    assert resources.find(f"{written}:1") == resources.Resource(NAME, SECOND, TOKEN)
    with pytest.raises(ConfigError, match=f"{NAME} has no device 2: it names 2"):
        resources.find(f"{written}:2")


def test_a_variable_without_details_is_enough(pod: pytest.MonkeyPatch) -> None:
    pod.delenv(f"{NAME}_INFO")
    assert resources.find(f"{NAME}:1") == resources.Resource(NAME, SECOND, None)


def test_what_may_be_written_is_listed_in_order(pod: pytest.MonkeyPatch) -> None:
    pod.setenv("PCIDEVICE_A", "0000:fe:1f.5,")
    pod.setenv("PCIDEVICE_lower", "0000:fe:1f.4")  # no resource of a device plugin
    assert resources.names() == ["PCIDEVICE_A", NAME, f"{NAME}:1"]


@pytest.mark.parametrize(
    ("addresses", "info", "words"),
    [
        ("", "", "names no device: it is not set"),
        (" , ", "", "names no device"),
        ("eth0", "", "'eth0', which is no PCI address"),
        (f"{FIRST},mlx5_core.sf.4", "", r"mlx5_core\.sf\.4', which is no PCI address"),
        ("\x1b[2J", "", r"'\?\[2J', which is no PCI address"),
        (FIRST, "{", "_INFO cannot be read: it has no JSON"),
        (FIRST, "[]", "_INFO cannot be read: it has no object"),
        (FIRST, '{"0000:fe:1f.6": 7}', "_INFO cannot be read: it has no object"),
        (FIRST, '{"eth0": {}}', "_INFO names 'eth0', which is no PCI address"),
        (FIRST, json.dumps({FIRST: {"extra": {"token": "x"}}}), "token is a UUID"),
        (FIRST, json.dumps({FIRST: {"extra": {"token": 7}}}), "token is a UUID"),
    ],
)
def test_what_is_malformed_is_refused_everywhere(
    monkeypatch: pytest.MonkeyPatch, addresses: str, info: str, words: str
) -> None:
    monkeypatch.setenv(NAME, addresses)
    monkeypatch.setenv(f"{NAME}_INFO", info)
    for use in (resources.find, open_port, port_of, read, PciAddress(), Vf()):
        with pytest.raises(ConfigError, match=words):
            use(NAME)


def test_details_of_another_form_do_no_harm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, FIRST)
    forms: list[dict[str, dict[str, object]]] = [
        {},
        {FIRST: {}},
        {FIRST: {"extra": []}},
        {SECOND: {"extra": {"token": TOKEN}}},
    ]
    for value in forms:
        monkeypatch.setenv(f"{NAME}_INFO", json.dumps(value))
        assert resources.find(NAME) == resources.Resource(NAME, FIRST, None)


@pytest.mark.parametrize(
    "words",
    [["info"], ["bench"], ["replay", __file__], ["why"], ["doctor"], ["bind"], ["capture", "-w-"]],
    ids=lambda words: words[0],
)
def test_every_command_that_takes_a_vf_takes_a_resource(
    pod: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    command, *more = words
    assert run([command, f"{NAME}:1", *more]) == 2
    assert SECOND in capsys.readouterr().err  # there is no such device, which is what it says


def test_the_token_reaches_the_device(pod: pytest.MonkeyPatch) -> None:
    given: list[str | None] = []

    def opened(target: str, *, vf_token: str | None, **_: object) -> None:
        assert target == SECOND
        given.append(vf_token)
        raise pyvfio.Busy("enough is seen")

    pod.setattr(pyvfio, "open", opened)
    other = "00000000-412f-4f02-824e-4cd195944205"
    for explicit in (None, other):
        with pytest.raises(pyvfio.Busy):
            open_port(f"{NAME}:1", vf_token=explicit)
    assert given == [TOKEN, other]


def test_a_noiommu_group_has_its_plain_name_in_a_container(tmp_path: Path) -> None:
    kernel = FakeKernel(tmp_path)
    kernel.noiommu_allowed = True
    kernel.add(FIRST, noiommu=True)
    group = next((tmp_path / "dev/vfio").glob("noiommu-*"))
    group.rename(group.with_name(group.name.removeprefix("noiommu-")))
    with pyvfio.open(FIRST, kernel=kernel, unsafe_noiommu=True) as device:
        assert device.transport == "noiommu"
