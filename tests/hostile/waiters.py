# SPDX-License-Identifier: BSD-3-Clause
"""Waiters for an eventfd: who signals it calls each of them (D6)."""

from __future__ import annotations

import contextlib
import os
import select


def wait_for_it(
    event: int, doubles: int, epolls: int, doubles_stay: bool = True
) -> contextlib.ExitStack:
    """As many entries of epolls as the product of both, until the stack is closed.

    They last as long as the eventfd is open anywhere, with or without the doubles.
    """
    stack = contextlib.ExitStack()
    with contextlib.ExitStack() as passing:
        fds = [os.dup(event) for _ in range(doubles)]
        for fd in fds:
            (stack if doubles_stay else passing).callback(os.close, fd)
        for _ in range(epolls):
            epoll = stack.enter_context(select.epoll())
            for fd in fds:
                epoll.register(fd, select.EPOLLIN)
    return stack
