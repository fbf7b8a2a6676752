# SPDX-License-Identifier: BSD-3-Clause
"""libpcap's own interpreter, by ctypes: what it says of a program and a frame is right."""

from __future__ import annotations

import ctypes
from typing import Any

import pytest
from numpy.typing import NDArray

from iavfio.capture.filter import libpcap
from iavfio.errors import IavfioError


def library() -> Any:
    """libpcap; without it a test is skipped, and says so."""
    try:
        found = libpcap()
    except IavfioError as error:
        pytest.skip(str(error))
    found.bpf_filter.restype = ctypes.c_uint
    found.bpf_filter.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_uint, ctypes.c_uint]
    found.bpf_validate.restype = ctypes.c_int
    found.bpf_validate.argtypes = [ctypes.c_void_p, ctypes.c_int]
    return found


def accepts(found: Any, steps: NDArray[Any]) -> bool:
    return bool(found.bpf_validate(steps.ctypes.data, len(steps)))


def result(found: Any, steps: NDArray[Any], frame: bytes, length: int) -> int:
    return int(found.bpf_filter(steps.ctypes.data, frame, length, len(frame)))
