# SPDX-License-Identifier: BSD-3-Clause
"""How a command ended: an exit status, and for an error one or two lines on stderr."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
from collections.abc import Callable
from typing import Any, TextIO

import click

from iavfio.cli import failure, signals
from iavfio.cli.printing import note, unwritable, wrapped
from iavfio.cli.streams import discard_output
from iavfio.errors import ConfigError, IavfioError
from iavfio.exhaustion import exhaustion

DONE, TROUBLE, WRONG_USE = 0, 1, 2
NO_ARGUMENTS = getattr(click.exceptions, "NoArgsIsHelpError", ())  # of click 8.2 and later
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # with a file's name where it was not stdout


def concluded(error: IavfioError | None, signal: BaseException | None, sound: bool = True) -> int:
    """The exit status of a run: what ended it decides, not what became of the device afterwards.

    `error`: what ended it, which is raised; `signal`: what a signal raised, also while the run was
    finished; `sound`: whether all is where it should be.
    """
    if error is not None:
        raise error
    if signal is not None:
        return signals.status(signal)
    return DONE if sound else TROUBLE


def outcome(work: Callable[[], Any], as_json: TextIO | None = None) -> int:
    """Does the work of a command and returns its exit status; raises nothing.

    `as_json`: where an error is told as a JSON object too, see `iavfio.cli.failure`.

    A command returns None or a status. A reader of stdout that has seen enough, such as head, ends
    it without a word; a stdout that takes nothing is trouble, whatever the command found.
    """
    status = _outcome(work, as_json)
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        discard_output()
    except OSError as error:
        discard_output()
        if status == DONE:
            return report(unwritable(error))
    return status


def _outcome(work: Callable[[], Any], as_json: TextIO | None) -> int:
    try:
        status = work()
    except click.exceptions.Exit as leave:
        return leave.exit_code
    except click.ClickException as wrong:
        with contextlib.suppress(OSError):
            _show(wrong)
        failure.tell(as_json, wrong.exit_code, wrong.format_message())
        return wrong.exit_code
    except click.exceptions.Abort:
        return signals.status(KeyboardInterrupt())
    except KeyboardInterrupt as interrupt:
        return signals.status(interrupt)
    except (BrokenPipeError, SystemExit):  # click makes the one of the other
        discard_output()
        return DONE
    except Exception as error:
        try:
            return report(error, as_json)
        except MemoryError:  # not even for the words
            os.write(
                2, b"iavfio: there is not enough memory\n  raise its limit: ulimit -v unlimited\n"
            )
            return TROUBLE
    return status if isinstance(status, int) else DONE


def _show(wrong: click.ClickException) -> None:
    """Prints the error as click does, but as wide as the terminal."""
    if isinstance(wrong, NO_ARGUMENTS):
        note(wrong.format_message())  # the help, which has its own Usage line
        return
    context = getattr(wrong, "ctx", None)
    if isinstance(context, click.Context):
        note(wrapped(context.get_usage()))
        note(wrapped(f"Try '{context.command_path} --help' for help.") + "\n")
    note(wrapped(f"Error: {wrong.format_message()}"))


def report(error: Exception, as_json: TextIO | None = None) -> int:
    """Tells an error on stderr, and as an object where `as_json` says; returns its exit status."""
    if os.environ.get("IAVFIO_DEBUG"):
        raise error
    reason = explained(error)
    note(wrapped(f"iavfio: {reason.command_text}"))
    status = WRONG_USE if isinstance(reason, ConfigError) else TROUBLE
    remedy = getattr(reason.remedy, "command", reason.remedy)
    failure.tell(as_json, status, reason.what, reason.cause, remedy)
    return status


def explained(error: Exception) -> IavfioError:
    """Any exception as an error of three parts."""
    if isinstance(error, IavfioError):
        return error
    short = exhaustion(error)
    if short is not None:
        return short
    if isinstance(error, OSError) and error.filename is None and error.errno in FULL:
        return unwritable(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if isinstance(error.filename, str) else ""
        code = errno.errorcode.get(error.errno or 0, "no number")
        return IavfioError(f"{where}the system refused it: {error.strerror or error} ({code})")
    return IavfioError(
        f"internal error: {type(error).__name__}: {error}",
        "",
        "run again with IAVFIO_DEBUG=1 and report what it prints",
    )
