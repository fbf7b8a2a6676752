# SPDX-License-Identifier: BSD-3-Clause
"""Pieces of a test that another user, or another process, runs."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable

NOBODY = 65534


def in_child(call: Callable[[], object], *, uid: int | None = None) -> int:
    """Runs `call` in a forked child, as that user; its exit status: 0, or 1 when it raised.

    The child ends without any clean-up, as a process that is killed.
    """
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            if uid is not None:
                os.setgroups([])
                os.setgid(uid)
                os.setuid(uid)
            call()
            status = 0
        except BaseException:
            traceback.print_exc(file=sys.stderr)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
