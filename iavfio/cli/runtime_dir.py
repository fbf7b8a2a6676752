# SPDX-License-Identifier: BSD-3-Clause
"""`--runtime-dir`, for every command that opens a port or looks for one."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click


def runtime_dir_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the option to a command; its folder is in force before the command runs."""
    return click.option(
        "--runtime-dir",
        metavar="DIR",
        type=click.Path(exists=True, file_okay=False),
        expose_value=False,
        callback=_set_runtime_dir,
        help="Where ports publish their counters, instead of /dev/shm: a directory that exists "
        "[env: IAVFIO_RUNTIME_DIR].",
    )(command)


def _set_runtime_dir(context: click.Context, option: click.Parameter, value: str | None) -> None:
    """Sets the environment variable: processes that the command starts look there as well."""
    from iavfio.stats.runtime import ENVIRONMENT

    if value is not None:
        os.environ[ENVIRONMENT] = value
    elif (chosen := os.environ.get(ENVIRONMENT)) and not Path(chosen).is_dir():
        raise click.UsageError(f"{ENVIRONMENT}: directory {chosen!r} does not exist.")
