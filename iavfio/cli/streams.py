# SPDX-License-Identifier: BSD-3-Clause
"""Standard streams: there always are three, and a reader may leave before everything is written."""

from __future__ import annotations

import os
import sys


def complete() -> None:
    """Opens /dev/null for each standard stream that the caller has closed.

    Otherwise the next file that is opened, perhaps a device, would be taken for that stream.
    """
    for fd, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(fd)
        except OSError:
            null = os.open(os.devnull, os.O_RDWR)  # the lowest free number, which is `fd`
            os.set_inheritable(null, True)
            if getattr(sys, name) is None:
                setattr(sys, name, os.fdopen(null, "r" if fd == 0 else "w", closefd=False))


def discard_output() -> None:
    """Sends what is still written to stdout nowhere: nobody reads it any more."""
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
    except (OSError, ValueError, AttributeError):
        pass  # stdout is no file, as in a test
