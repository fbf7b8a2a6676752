# SPDX-License-Identifier: BSD-3-Clause
"""Streams in words: of a TOML file, or of an option of the command line."""

from __future__ import annotations

import shlex
import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from iavfio.arguments import unknown
from iavfio.errors import ConfigError, IavfioError
from iavfio.generator.stream import CHECKS, Stream
from iavfio.signatures import checked_call

KEYS = tuple(each.name for each in fields(Stream) if each.name not in ("frames", "recipe"))
NUMBERS = tuple(name for name in CHECKS if name != "proto")
TABLE = "stream"
EXAMPLE = '[[stream]]\n  name = "web"\n  dst_ip = "198.19.0.0/24"\n  rate = "10kpps"'


@checked_call
def parse_stream(text: str) -> Stream:
    """The stream of "proto=tcp dst_ip=198.19.0.0/24 rate=10kpps". Raises ConfigError."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise ConfigError(f"{text!r} is no stream", str(error)) from None
    given: dict[str, Any] = {}
    for word in words:
        key, sign, value = word.partition("=")
        if not sign or not value:
            raise ConfigError(
                f"{word!r} is no part of a stream",
                "a stream is KEY=VALUE, with blanks between them",
                "as in 'proto=tcp dst_ip=198.19.0.0/24 dport=80,443 rate=10kpps'",
            )
        if key in given:
            raise ConfigError(f"{key} is given twice", "a list has commas: dport=80,443")
        given[key] = int(value) if key in NUMBERS and _whole(value) else value
    return _stream(given)


@checked_call
def read_streams(path: str | Path) -> list[Stream]:
    """The streams of a TOML file: a table [[stream]] each; `pcap` is seen from the file's folder.

    Raises IavfioError for a file that cannot be read, ConfigError for one that is wrong.
    """
    try:
        tables = tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise IavfioError(f"{path} cannot be read", error.strerror or str(error)) from error
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or nested without end
        raise ConfigError(f"{path} is no TOML file", str(error), f"write\n  {EXAMPLE}") from None
    for key in tables:
        if key != TABLE:
            raise unknown(f"table in {path}", key, (TABLE,))
    listed = tables.get(TABLE)
    if not isinstance(listed, list) or not listed:
        raise ConfigError(f"{path} has no stream", "each is a table [[stream]]", EXAMPLE)
    streams = []
    for number, table in enumerate(listed, 1):
        try:
            if not isinstance(table, dict):
                raise ConfigError(f"{table!r} is no stream", "each is a table [[stream]]", EXAMPLE)
            streams.append(_stream(_beside(path, table)))
        except ConfigError as wrong:
            raise ConfigError(
                f"{path}, stream {number}: {wrong.what}", wrong.cause, wrong.remedy
            ) from wrong
    return streams


def _beside(path: str | Path, table: Mapping[str, Any]) -> dict[str, Any]:
    given = dict(table)
    if isinstance(given.get("pcap"), str):
        given["pcap"] = str(Path(path).parent / given["pcap"])
    return given


def _stream(given: Mapping[str, Any]) -> Stream:
    for key in given:
        if key not in KEYS:
            raise unknown("key of a stream", key, KEYS)
    return Stream(**given)


def _whole(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) < 20
