# SPDX-License-Identifier: BSD-3-Clause
"""A run's results in one file that can be attached to a bug report."""

from __future__ import annotations

import contextlib
import io
import json
import tarfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from iavfio.bench.provenance import provenance
from iavfio.doctor.examination import named
from iavfio.doctor.facts import host_facts
from iavfio.errors import ConfigError
from iavfio.foreign import no_constant, number, printable_all
from iavfio.pyvfio.opening import normal_bdf
from iavfio.qualify.masking import Mask
from iavfio.qualify.outcome import Outcome
from iavfio.qualify.records import Record

FORMAT = 1
RESULTS = "qualify.json"
LARGEST = 16 << 20  # bytes of a member that is read
LARGEST_FILE = 512 << 20
LARGEST_FIGURE = 1e300


@dataclass
class Bundle:
    """What one run left. `results`: the content of qualify.json; `files`: the other members."""

    results: dict[str, Any]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def outcomes(self) -> list[Outcome]:
        """How each check ended, in their order."""
        return [Outcome(**item) for item in self.results["checks"]]

    def packed(self) -> bytes:
        """The content of its file."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as tar:
            text = json.dumps(self.results, indent=1)
            for name, content in {RESULTS: text, **self.files}.items():
                data = content.encode()
                info = tarfile.TarInfo(f"qualify/{name}")
                info.size, info.mtime = len(data), int(time.time())
                tar.addfile(info, io.BytesIO(data))
        return packed.getvalue()

    def write(self, path: Path) -> None:
        """Writes the file, or leaves an older one as it was. Raises ConfigError."""
        part = _part(path)
        try:
            part.write_bytes(self.packed())
            part.replace(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                part.unlink(missing_ok=True)
            raise _unwritable(path, error) from error

    @classmethod
    def read(cls, path: Path) -> Bundle:
        """Reads only what is needed, and trusts nothing. Raises ConfigError for another file."""
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise ValueError(f"it is longer than {LARGEST_FILE} bytes")
            with tarfile.open(path, "r:") as tar:
                member = tar.getmember(f"qualify/{RESULTS}")
                if not member.isreg() or member.size > LARGEST:
                    raise ValueError(f"{RESULTS} is no file, or larger than {LARGEST} bytes")
                content = tar.extractfile(member)
                assert content is not None
                text = content.read().decode()
            results = printable_all(json.loads(text, parse_constant=no_constant))
            found = cls(results)
            if results["format"] != FORMAT:
                raise ValueError(f"it has format {results['format']!r}, not {FORMAT}")
            for outcome in found.outcomes:
                _checked(outcome)
            _check_headline(results)
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
                _fault(error),
                "make one: iavfio qualify softvf softvf --soak 5 -o FILE",
            ) from error
        return found


def _fault(error: Exception) -> str:
    """What is wrong with a file that is no bundle, in words of its reader and not of a parser."""
    if isinstance(error, tarfile.TarError):
        return "it is no tar archive, or one that is cut short"
    if isinstance(error, json.JSONDecodeError):
        return f"{RESULTS} in it is no JSON: its line {error.lineno} cannot be read"
    if isinstance(error, UnicodeDecodeError):
        return f"{RESULTS} in it is no text"
    if isinstance(error, KeyError):
        missing = str(error.args[0])
        return (
            f"qualify/{RESULTS} is not in it"
            if RESULTS in missing
            else f"{RESULTS} in it has no {missing!r}"
        )
    if isinstance(error, ValueError):
        return str(error)
    return f"{RESULTS} in it has not the form of results, which is an object with a list of checks"


def _checked(outcome: Outcome) -> None:
    words = (outcome.check, outcome.status, outcome.reason, outcome.trace)
    if not all(isinstance(word, str) for word in words):
        raise ValueError("a check's name, status or reason is no text")
    if not isinstance(outcome.facts, dict) or not isinstance(outcome.figures, dict):
        raise ValueError("facts and figures of a check are no objects")
    try:
        for value in (outcome.seconds, *outcome.figures.values()):
            number(value, -LARGEST_FIGURE, LARGEST_FIGURE)
    except ValueError:
        raise ValueError("a figure of a check is no number, or too large") from None


def _check_headline(results: dict[str, Any]) -> None:
    """Checks what only some bundles have, but each prints. Raises ValueError."""
    if not isinstance(results.get("time", ""), str):
        raise ValueError("time is no text")
    targets = results.get("targets", [])
    if not isinstance(targets, list) or not all(isinstance(each, str) for each in targets):
        raise ValueError("targets is no list of texts")


def make(
    targets: Sequence[str], outcomes: Sequence[Outcome], records: Sequence[Record], seconds: float
) -> Bundle:
    """The bundle of a run, from what its VFs left when they were closed."""
    mask = Mask()
    for record in records:
        for mac in record.addresses:
            mask.add(mac)
    results = {
        "format": FORMAT,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "seconds": round(seconds, 1),
        "targets": list(targets),
        "provenance": _told(
            lambda: provenance({record.target: record.description for record in records})
        ),
        "host": _told(lambda: host_facts(targets) | {"doctor": named(_bdfs(targets))}),
        "devices": {record.target: record.facts for record in records},
        "checks": [outcome.as_dict() for outcome in outcomes],
    }
    files = {
        f"{kind.replace('.', f'-{number}.', 1)}": content
        for number, record in enumerate(records)
        for kind, content in record.files.items()
    }
    return Bundle(
        json.loads(mask.text(json.dumps(results))),
        {name: mask.text(content) for name, content in files.items()},
    )


def _bdfs(targets: Sequence[str]) -> list[str]:
    return [bdf for target in targets if (bdf := normal_bdf(target)) is not None]


def _told(ask: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Returns what the host tells; a host that tells nothing must not cost the results."""
    try:
        return ask()
    except Exception as error:
        return {"missing": f"{type(error).__name__}: {error}"}


def check_writable(path: Path) -> None:
    """Raises ConfigError when a bundle could not be written there at the end."""
    part = _part(path)
    try:
        part.touch()
        part.unlink()
    except OSError as error:
        raise _unwritable(path, error) from error


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written", error.strerror or str(error), "-o FILE elsewhere"
    )
