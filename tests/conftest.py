# SPDX-License-Identifier: BSD-3-Clause
"""For all tests: Ctrl-C works in the programs that they start.

A test run in the background of a shell inherits SIGINT as ignored, and so would all below it.
"""

from __future__ import annotations

import signal

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)
