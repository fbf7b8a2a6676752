# SPDX-License-Identifier: BSD-3-Clause
"""MAC addresses as numbers: equal ones stay equal, and none of them is the card's."""

from __future__ import annotations

import re

# A bundle is made after Ctrl-C, too: this takes a fifth of the time of a pattern that looks at what
# stands before an address first, or that repeats a group.
TEXT = re.compile(":".join(["[0-9a-fA-F]{2}"] * 6) + r"(?![0-9a-fA-F:])(?<![0-9a-fA-F:].{17})")
MASK = bytes.fromhex("02ac")  # locally administered, and known again by a reader


class Mask:
    """Replaces addresses: those that are named, and whatever text looks like one."""

    def __init__(self) -> None:
        self._names: dict[bytes, bytes] = {}

    def add(self, mac: bytes) -> None:
        """An address that is masked wherever it stands, also in hex dumps."""
        if any(mac) and not mac[0] & 1 and mac not in self._names:
            self._names[mac] = MASK + (len(self._names) + 1).to_bytes(4, "big")

    def text(self, text: str) -> str:
        """The text with numbers in place of addresses."""
        for found in TEXT.findall(text):
            self.add(bytes.fromhex(found.replace(":", "")))
        for mac, name in self._names.items():
            text = re.sub(f"(?i){mac.hex(':')}", name.hex(":"), text)
            text = re.sub(f"(?i){mac.hex()}", name.hex(), text)
        return text
