# SPDX-License-Identifier: BSD-3-Clause
"""One check after the other: none ends the run, and none leaves the VFs in disorder."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from iavfio.errors import IavfioError
from iavfio.qualify.outcome import FAILED, NOT_RUN, PASSED, Check, Failed, NotRun, Outcome, Seen
from iavfio.qualify.vfs import Vfs


def qualify(
    vfs: Vfs, checks: Iterable[Check], began: Callable[[Check], None] | None = None
) -> Iterator[Outcome]:
    """Runs `checks` and yields how each ended. `began` is called before each.

    After a failure the VFs are closed and opened anew. KeyboardInterrupt passes through, after the
    outcome of the check that it ended, with what that check had seen by then.
    """
    for check in checks:
        if began is not None:
            began(check)
        outcome, signal = _run(vfs, check)
        if outcome.status == FAILED:
            vfs.close()
        yield outcome
        if signal is not None:
            raise signal
    vfs.close()


def _run(vfs: Vfs, check: Check) -> tuple[Outcome, KeyboardInterrupt | None]:
    seen = Seen()
    start = time.monotonic()
    outcome = Outcome(check.name, PASSED)
    signal: KeyboardInterrupt | None = None
    try:
        if check.traffic:
            vfs.way()
        check.run(vfs, seen)
    except NotRun as reason:
        outcome = replace(outcome, status=NOT_RUN, reason=str(reason))
    except (Failed, IavfioError) as reason:
        outcome = replace(outcome, status=FAILED, reason=str(reason))
    except KeyboardInterrupt as interrupt:
        signal = interrupt
        after = f"a signal ended it after {time.monotonic() - start:.1f} s"
        outcome = replace(outcome, status=NOT_RUN, reason=after)
    except BaseException as error:  # a defect of a check must not cost the other checks' results
        outcome = replace(
            outcome,
            status=FAILED,
            reason=f"an error in the check itself, please report it: {error!r}",
            trace=traceback.format_exc(),
        )
    seconds = round(time.monotonic() - start, 3)
    return replace(outcome, seconds=seconds, facts=seen.facts, figures=seen.figures), signal
