# SPDX-License-Identifier: BSD-3-Clause
"""Mappings that no DMA window uses any more, of one VF (docs/spec/reliability.md D6).

To unmap one takes its time, and much more where nobody else holds its memory: all of it is freed
then. The client waits for that, and so does who comes after it with its windows; nobody else does.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from iavfio.softvf._device import lib
from iavfio.softvf.aside import Aside
from iavfio.softvf.dataplane import DataPlane

Call = Callable[[], None]


class Burial:
    """Unmaps them aside; each is of the client's share until that is done.

    `post` takes what is to be called by the control loop's thread, in which all else runs.
    """

    def __init__(self, vf: int, plane: DataPlane, post: Callable[[Call], None]) -> None:
        self._vf, self._plane, self._post = vf, plane, post
        self._aside = Aside("softvf-unmap")
        self._left = 0
        self._waiting: list[Call] = []

    @property
    def busy(self) -> bool:
        """Whether there are some that were begun with and are not unmapped."""
        return self._left > 0

    def begin(self) -> None:
        """Begins with all that there are now; where no thread can be had they are unmapped here."""
        while (grave := self._plane.dma_bury(self._vf)) is not None:
            self._left += 1
            work = partial(self._unmap, grave)
            if not self._aside.do(work):
                work()

    def when_done(self, call: Call) -> None:
        """Calls once, after the event in hand, when nothing is left."""
        self._waiting.append(call)

    def end(self) -> None:
        """What was begun with is done to its end, for which nobody waits."""
        self._aside.end()

    def _unmap(self, grave: Any) -> None:
        lib.plane_unmap(grave)
        self._post(partial(self._unmapped, grave))

    def _unmapped(self, grave: Any) -> None:
        self._left -= 1
        self._plane.dma_buried(self._vf, grave)
        if not self._left:
            waiting, self._waiting = self._waiting, []
            for call in waiting:
                call()
