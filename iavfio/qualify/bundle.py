# SPDX-License-Identifier: BSD-3-Clause
"""A run's results in one file that can be attached to a bug report."""

from __future__ import annotations

import io
import json
import tarfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iavfio._driver import lib
from iavfio.bench.provenance import provenance
from iavfio.bench.run import describe
from iavfio.errors import ConfigError, IavfioError
from iavfio.port.port import Port
from iavfio.pyvfio.device import CONFIG_REGION
from iavfio.qualify.host_facts import host_facts
from iavfio.qualify.masking import Mask
from iavfio.qualify.outcome import Outcome

FORMAT = 1
RESULTS = "qualify.json"
CONFIG_BYTES = 256
LARGEST = 16 << 20  # bytes of a member that is read
CLEARED_BY_READING = {"REG_VFINT_ICR01"}
REGISTERS = {
    name: int(getattr(lib, name))
    for name in sorted(dir(lib))
    if name.startswith("REG_") and name not in CLEARED_BY_READING
}


@dataclass
class Bundle:
    """What one run left. `results`: the content of qualify.json; `files`: the other members."""

    results: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[Outcome]:
        """How each check ended, in their order."""
        return [Outcome(**item) for item in self.results["checks"]]

    def write(self, path: Path) -> None:
        """Writes the file, or leaves an older one as it was. Raises ConfigError."""
        part = path.with_name(path.name + ".part")
        try:
            with tarfile.open(part, "w") as tar:
                text = json.dumps(self.results, indent=1)
                for name, content in {RESULTS: text, **self.files}.items():
                    data = content.encode()
                    info = tarfile.TarInfo(f"qualify/{name}")
                    info.size, info.mtime = len(data), int(time.time())
                    tar.addfile(info, io.BytesIO(data))
            part.replace(path)
        except OSError as error:
            part.unlink(missing_ok=True)
            raise ConfigError(
                f"{path} cannot be written", error.strerror or str(error), "-o FILE elsewhere"
            ) from error

    @classmethod
    def read(cls, path: Path) -> Bundle:
        """Reads only what is needed, and trusts nothing. Raises ConfigError for another file."""
        try:
            with tarfile.open(path, "r:") as tar:
                member = tar.getmember(f"qualify/{RESULTS}")
                if not member.isreg() or member.size > LARGEST:
                    raise ValueError(f"{RESULTS} is no file, or larger than {LARGEST} bytes")
                content = tar.extractfile(member)
                assert content is not None
                results = json.loads(content.read().decode())
            found = cls(results)
            if results["format"] != FORMAT:
                raise ValueError(f"it has format {results['format']!r}, not {FORMAT}")
            for outcome in found.outcomes:
                _checked(outcome)
            for name in ("host", "devices"):
                if not isinstance(results[name], dict):
                    raise ValueError(f"{name} is not an object")
        except OSError as error:
            raise ConfigError(f"{path} cannot be read", error.strerror or str(error)) from error
        except (
            tarfile.TarError,
            KeyError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
        ) as error:
            raise ConfigError(
                f"{path} is no bundle of iavfio qualify",
                f"{type(error).__name__}: {error}",
                "make one: iavfio qualify softvf softvf --soak 5 -o FILE",
            ) from error
        return found


def _checked(outcome: Outcome) -> None:
    words = (outcome.check, outcome.status, outcome.reason, outcome.trace)
    if not all(isinstance(word, str) for word in words):
        raise ValueError("a check's name, status or reason is no text")
    if not isinstance(outcome.facts, dict) or not isinstance(outcome.figures, dict):
        raise ValueError("facts and figures of a check are no objects")
    if not all(
        isinstance(value, int | float) for value in (outcome.seconds, *outcome.figures.values())
    ):
        raise ValueError("a figure of a check is no number")


def make(
    targets: Sequence[str], outcomes: Sequence[Outcome], ports: Sequence[Port], seconds: float
) -> Bundle:
    """The bundle of a run, with what can be read of the ports that are open."""
    mask = Mask()
    devices: dict[str, str] = {}
    facts: dict[str, Any] = {}
    files: dict[str, str] = {}
    for number, port in enumerate(ports):
        for mac in (port.mac, port.session.resources.vsi.mac or b"", *port.settings.extra_macs):
            mask.add(mac)
        devices[port.name] = describe(port)
        facts[port.name] = {
            "transport": port.device.transport,
            "family": port.identity.family,
            "notes": port.notes,
            "resets": [[reset.cause, reset.outage, reset.attempts] for reset in port.resets],
        }
        files[f"journal-{number}.jsonl"] = "".join(f"{e.to_json()}\n" for e in port.journal)
        files[f"config-{number}.hex"] = _config(port)
        files[f"registers-{number}.json"] = json.dumps(_registers(port), indent=1)
        files[f"counters-{number}.json"] = port.stats.snapshot().to_json()
    results = {
        "format": FORMAT,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(seconds, 1),
        "targets": list(targets),
        "provenance": provenance(devices),
        "host": host_facts(targets),
        "devices": facts,
        "checks": [outcome.as_dict() for outcome in outcomes],
    }
    return Bundle(
        json.loads(mask.text(json.dumps(results))),
        {name: mask.text(content) for name, content in files.items()},
    )


def _config(port: Port) -> str:
    try:
        data = port.device.read(CONFIG_REGION, 0, CONFIG_BYTES)
    except IavfioError as error:
        return f"not readable: {error}\n"
    lines = (f"{at:03x}: {data[at : at + 16].hex(' ')}\n" for at in range(0, len(data), 16))
    return "".join(lines)


def _registers(port: Port) -> dict[str, str]:
    values = {}
    for name, offset in REGISTERS.items():
        try:
            values[name] = f"{port.session.bar.read32(offset):08x}"
        except IavfioError as error:
            values[name] = str(error)
    return values
