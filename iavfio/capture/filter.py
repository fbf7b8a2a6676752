# SPDX-License-Identifier: BSD-3-Clause
"""Filters in tcpdump's language: libpcap compiles them, the driver's C runs them."""

from __future__ import annotations

import ctypes
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from iavfio._driver import ffi, lib
from iavfio.errors import ConfigError, IavfioError
from iavfio.signatures import checked_call

if TYPE_CHECKING:
    from iavfio.datapath.burst import Burst

LIBRARIES = ("libpcap.so.1", "libpcap.so.0.8")  # the second name is Debian's
ETHERNET = 1
SNAPLEN = 262144
UNKNOWN_NETMASK = 0xFFFFFFFF
TAG_TYPE = 0x8100  # of the tag that a port has stripped
STEP: Any = np.dtype([("code", "u2"), ("jt", "u1"), ("jf", "u1"), ("k", "u4")])


class _Program(ctypes.Structure):
    """struct bpf_program."""

    _fields_ = (("length", ctypes.c_uint), ("steps", ctypes.c_void_p))


class Filter:
    """An expression such as "tcp port 443 and not vlan", compiled for Ethernet.

    Raises ConfigError for an expression that libpcap does not understand, IavfioError where there
    is no libpcap.
    """

    @checked_call
    def __init__(self, expression: str) -> None:
        self.expression = expression
        self.steps = _checked(_compiled(expression))

    @classmethod
    def of_steps(cls, steps: NDArray[Any], expression: str = "") -> Filter:
        """A program that was compiled elsewhere: an array of the type `STEP`.

        Raises ConfigError for one that could touch what is not its frame, or never end.
        """
        made = cls.__new__(cls)
        made.expression, made.steps = expression, _checked(steps)
        return made

    @property
    def raw(self) -> Any:
        """The program for C; it lives as long as this object."""
        return ffi.cast("struct filter_step *", ffi.from_buffer(self.steps))

    def matches(self, frame: bytes, length: int | None = None) -> bool:
        """Whether a frame is let through; `length`: of the whole frame where this is its start."""
        whole = len(frame) if length is None else length
        return bool(lib.filter_run(self.raw, ffi.from_buffer(frame), len(frame), whole))

    def mask(self, burst: Burst) -> NDArray[np.bool_]:
        """Which packets of a burst are let through, to select them: burst[filter.mask(burst)].

        They are looked at as they were on the wire: whole, and with a VLAN tag that the device has
        taken out, where the burst has the column. Raises StateError after the burst's release.
        """
        columns, count = burst.live(), len(burst)
        mask: NDArray[np.bool_] = np.empty(count, dtype=np.bool_)
        tags = TAG_TYPE if "vlan" in columns.arrays else 0
        out = ffi.cast("uint8_t *", ffi.from_buffer(mask))
        lib.selection_mask(self.raw, burst.pool.raw, columns.raw, count, tags, out)
        return mask

    def __repr__(self) -> str:
        return f"<Filter {self.expression!r}, {len(self.steps)} steps>"


def libpcap() -> Any:
    """The library, through ctypes. Raises IavfioError where there is none."""
    for name in LIBRARIES:
        try:
            library = ctypes.CDLL(name)
        except OSError:
            continue
        library.pcap_open_dead.restype = ctypes.c_void_p
        library.pcap_open_dead.argtypes = [ctypes.c_int, ctypes.c_int]
        library.pcap_compile.argtypes = [
            ctypes.c_void_p,
            ctypes.POINTER(_Program),
            ctypes.c_char_p,
            ctypes.c_int,
            ctypes.c_uint,
        ]
        library.pcap_geterr.restype = ctypes.c_char_p
        library.pcap_geterr.argtypes = [ctypes.c_void_p]
        library.pcap_freecode.argtypes = [ctypes.POINTER(_Program)]
        library.pcap_close.argtypes = [ctypes.c_void_p]
        return library
    raise IavfioError(
        "a filter cannot be compiled: there is no libpcap",
        f"none of {', '.join(LIBRARIES)} is installed",
        "install it, on Debian: apt-get install libpcap0.8; or go without a filter",
    )


def _compiled(expression: str) -> NDArray[Any]:
    if "\0" in expression:
        raise ConfigError(f"the filter {expression!r} cannot be used", "it holds a zero byte")
    try:
        text = expression.encode()
    except UnicodeEncodeError:  # what is no UTF-8 in an argument comes as lone surrogates
        raise ConfigError(
            f"the filter {expression!r} cannot be used", "it holds bytes that are no UTF-8"
        ) from None
    library = libpcap()
    handle = library.pcap_open_dead(ETHERNET, SNAPLEN)
    if not handle:
        raise MemoryError
    program = _Program()
    try:
        if library.pcap_compile(handle, ctypes.byref(program), text, 1, UNKNOWN_NETMASK):
            reason = (library.pcap_geterr(handle) or b"").decode(errors="replace")
            raise ConfigError(
                f"the filter {expression!r} cannot be used",
                f"libpcap says: {reason}",
                "the language is that of tcpdump: man pcap-filter",
            )
        try:
            size = program.length * STEP.itemsize
            return np.frombuffer(ctypes.string_at(program.steps, size), dtype=STEP).copy()
        finally:
            library.pcap_freecode(ctypes.byref(program))
    finally:
        library.pcap_close(handle)


def _checked(steps: NDArray[Any]) -> NDArray[Any]:
    steps = np.ascontiguousarray(steps, dtype=STEP)
    raw = ffi.cast("struct filter_step *", ffi.from_buffer(steps))
    bad = int(lib.filter_check(raw, len(steps)))
    if bad >= 0:
        raise ConfigError(
            f"step {bad} of a filter of {len(steps)} steps cannot be run",
            "a program has known steps that jump forward, and a return at its end",
        )
    return steps
