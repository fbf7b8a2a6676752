# SPDX-License-Identifier: BSD-3-Clause
"""Mapped memory whose pages another process can take away: reading it must not end this one."""

from __future__ import annotations

import os
import weakref
from typing import Any

from iavfio.pyvfio._vfio import ffi, lib
from iavfio.pyvfio.errors import VfioError


class BusErrorGuard:
    """Guards a mapping against SIGBUS for as long as this object lives.

    A page that is gone reads as ones, and `lost` is True from then on. `view` is a cffi buffer of
    the mapping. With `kept`, a cffi array of as many bytes, whole pages, the mapping becomes
    private memory instead and loses nothing that was written to it; where the system refuses to
    hold its pages, it begins as a copy of `kept`. Raises VfioError when too many mappings are
    guarded already.
    """

    def __init__(self, view: Any, kept: Any = ffi.NULL) -> None:
        self._lost: Any = ffi.new("uint32_t *")
        address, size = ffi.cast("void *", int(ffi.cast("uintptr_t", view))), len(view)
        pages = max(lib.bus_error_pages(address, size), -1) if kept else -1
        error = lib.bus_error_guard(address, size, self._lost, kept, pages)
        if error < 0:
            if pages >= 0:
                os.close(pages)
            raise VfioError("mapped memory cannot be guarded", os.strerror(-error), "", -error)
        # The view stays until then: another mapping at its address must not be guarded by mistake.
        # With `_lost`, not with this object, as the C pool in iavfio/datapath/pool.py.
        weakref.finalize(self._lost, _release, address, view, kept, pages).atexit = False

    @property
    def lost(self) -> bool:
        """Whether a page of it was gone when it was used."""
        return bool(self._lost[0])


def _release(address: Any, view: Any, kept: Any, pages: int) -> None:
    lib.bus_error_unguard(address)
    if pages >= 0:
        os.close(pages)
