# SPDX-License-Identifier: BSD-3-Clause
"""What is told of a driver of Linux's that does not start, and which remedy."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import iavfio
from iavfio.errors import ConfigError
from iavfio.linuxpf.build import JUDGES
from iavfio.softvf.linux_pf import KERNELS, check, check_options, personality
from iavfio.softvf.personality import NAMES, OPTIONS, check_effect, named
from iavfio.softvf.process import Settings, run
from tests.port.rig import until
from tests.tools.played_judge import PANICS, SILENT, judge, members, told


def test_only_a_driver_that_is_not_built_is_to_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IAVFIO_GUEST_CACHE", str(tmp_path))
    with pytest.raises(ConfigError, match="is not built") as error:
        iavfio.softvf(personality="x710", pf="linux-i40e")
    assert "builds it once" in str(error.value)
    judge(JUDGES[0].path("6.12.1-1"), PANICS)
    with pytest.raises(ConfigError, match="it died: no such clock") as error:
        iavfio.softvf(personality="x710", pf="linux-i40e")
    assert "builds it once" not in str(error.value)


def options_of(name: str) -> list[str]:
    """The options that a refusal says there are with a PF."""
    with pytest.raises(ConfigError) as error:
        check_options(name, ["notify"])
    return error.value.remedy.removeprefix(f"with --pf {name} there are ").split(", ")


@pytest.mark.parametrize("name", KERNELS)
def test_each_option_that_is_named_is_one(name: str) -> None:
    card = personality(name)
    options = options_of(name)
    assert set(options) <= OPTIONS.keys()
    for option in options:
        pair = option, getattr(named(card), option)
        check_effect(card, [pair])
        check(name, named(card, **dict([pair])), [option])
        assert OPTIONS[option].driver in ("", named(card).driver)


@pytest.mark.parametrize("name", KERNELS)
def test_the_pf_that_is_advised_for_an_option_takes_it(name: str) -> None:
    """A card alone would not do: each driver has the one that is played for it."""
    elsewhere = {option for other in KERNELS for option in options_of(other)} - {*options_of(name)}
    assert bool(elsewhere) == (personality(name) == "x710")
    for option in elsewhere:
        with pytest.raises(ConfigError, match="is of a card that ice drives") as error:
            check_options(name, [option])
        for remedy in (str(error.value), error.value.command_text):
            words = re.split("[^a-z0-9.-]+", remedy.partition("leave it out")[2])
            (other,) = (word for word in words if word in KERNELS)
            (card,) = (word for word in words if word in NAMES)
            check(other, named(card), [option])


def test_a_dash_in_an_option_is_an_underscore() -> None:
    settings = Settings(personality="x710", pf="linux-i40e", options=("reset-ms=1", "mfp=on"))
    with pytest.raises(ConfigError, match="option mfp is of the software PF"):
        run(settings, lambda _: None)


@pytest.mark.parametrize(
    "variables",
    [
        {"IAVFIO_GUEST_CACHE": "/dev/null/cache"},
        {"IAVFIO_GUEST_CACHE": "", "XDG_CACHE_HOME": "", "HOME": "/dev/null"},
    ],
)
def test_a_host_without_a_place_for_the_cache(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    """As a service has it whose user has no home."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"cannot be made .*set IAVFIO_GUEST_CACHE"):
        iavfio.softvf(personality="x710", pf="linux-i40e")


@pytest.mark.parametrize(
    ("module", "number"),
    [
        (["iavfio.softvf"], signal.SIGINT),
        (["iavfio.softvf"], signal.SIGTERM),
        (["iavfio.softvf"], signal.SIGHUP),
        (["iavfio.cli", "softvf"], signal.SIGINT),
        (["iavfio.cli", "softvf"], signal.SIGTERM),
    ],
)
def test_a_start_that_a_signal_ends_takes_the_driver_along(
    tmp_path: Path, module: list[str], number: signal.Signals
) -> None:
    place, kernel = tmp_path / "place", tmp_path / JUDGES[0].path("6.12.1-1").name
    place.mkdir()
    judge(kernel, SILENT)
    words = ["--personality", "x710", "--pf", "linux-i40e", "--socket", str(tmp_path / "s")]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", *module, *words],
        env={**os.environ, "IAVFIO_GUEST_CACHE": str(tmp_path), "TMPDIR": str(place)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as child:
        assert until(lambda: kernel.with_name(f"{kernel.name}.told").exists(), 60)
        (home, *_) = told(kernel)
        group = int((Path(home) / "abcdef/pid").read_text())
        child.send_signal(number)
        out, error = child.communicate(timeout=60)
    assert (child.returncode, out, error) == (128 + number, "", "")
    assert until(lambda: members(group) == [], 10)
    assert not (tmp_path / "s").exists() and list(place.iterdir()) == []
