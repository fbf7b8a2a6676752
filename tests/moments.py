# SPDX-License-Identifier: BSD-3-Clause
"""Ctrl-C at chosen moments of a program.

CPython answers signals when a function begins and when a call returns; a profile function, which is
called at the same moments, raises what the signal's handler would.
"""

from __future__ import annotations

from types import FrameType
from typing import Any


class Signals:
    """A profile function that raises KeyboardInterrupt at moments, counted from 1, of functions.

    `within` is a part of the path of the functions' files. CPython drops a profile function that
    raises: sys.setprofile() again for a second signal.
    """

    def __init__(self, *moments: int, within: str = "/iavfio/") -> None:
        self.count = 0
        self.places: list[str] = []
        self._moments, self._within = moments, within

    def __call__(self, frame: FrameType, event: str, argument: Any) -> None:
        path = frame.f_code.co_filename
        if event == "c_call" or self._within not in path or "/tests/" in path:
            return
        self.count += 1
        if self.count in self._moments:
            self.places.append(f"{event} in {frame.f_code.co_qualname}:{frame.f_lineno}")
            raise KeyboardInterrupt
