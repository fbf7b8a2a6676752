# SPDX-License-Identifier: BSD-3-Clause
"""An answer of the control socket, made in parts: a journal has thousands of entries.

To write one down at once takes a second, in which no client of a VF would be served
(docs/spec/reliability.md D6).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


class Items:
    """A list whose items are made one by one, while the answer is sent."""

    def __init__(self, items: Iterable[object]) -> None:
        self._items = items

    def __iter__(self) -> Iterator[object]:
        return iter(self._items)


def parts(answer: Mapping[str, Any]) -> Iterator[bytes]:
    """One line of JSON, newline included: a part for each item of `Items`, and one for the rest."""
    text, before = "{", ""
    for key, value in answer.items():
        text += f"{before}{json.dumps(key)}: "
        before = ", "
        if not isinstance(value, Items):
            text += json.dumps(value)
            continue
        text += "["
        between = ""
        for item in value:
            yield f"{text}{between}{json.dumps(item)}".encode()
            text, between = "", ", "
        text += "]"
    yield f"{text}}}\n".encode()
