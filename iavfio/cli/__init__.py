# SPDX-License-Identifier: BSD-3-Clause
"""The command line: one file per subcommand, imported only when it is called.

This file imports next to nothing, so that a signal in the first moments finds `main` at work.
"""

from __future__ import annotations

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run"]


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line as this process: exits 0 when done, 1 for a result that is not sound or
    trouble with a device, 2 for wrong use, 130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.

    Errors are told in one or two lines. IAVFIO_DEBUG=1 shows where one came from.
    """
    from iavfio.cli import signals, streams

    signals.end_at_once()
    streams.complete()
    status = run(argv)
    signals.hold_back()
    signals.end(status)


def run(argv: Sequence[str] | None = None) -> int:
    """Runs the command line within this process and returns the exit status."""
    from iavfio.cli.failure import stream_for
    from iavfio.cli.group import group
    from iavfio.cli.outcome import outcome

    if "_IAVFIO_COMPLETE" in os.environ:  # a shell asks for words, not for work
        from iavfio.cli.completion import answer

        return outcome(answer)
    arguments = [*(sys.argv[1:] if argv is None else argv)]  # `list` is a subcommand here
    return outcome(
        lambda: group.main(args=arguments, prog_name="iavfio", standalone_mode=False),
        stream_for(arguments),
    )
