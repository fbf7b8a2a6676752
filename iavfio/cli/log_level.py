# SPDX-License-Identifier: BSD-3-Clause
"""`--log-level`, which every command has, before its name and behind it."""

from __future__ import annotations

import os
from typing import Any

import click

from iavfio.errors import ConfigError

ENVIRONMENT = "IAVFIO_LOG"


def log_level_option() -> click.Option:
    """The option; what it names is in force before the command runs, and in what it starts."""
    return click.Option(
        ["--log-level"],
        metavar="LEVEL",
        envvar=ENVIRONMENT,
        expose_value=False,
        is_eager=True,
        callback=_show,
        help="Log on stderr: debug, info, warning, error; or by logger, as "
        f"iavfio.virtchnl=debug,info [env: {ENVIRONMENT}].",
    )


def _show(context: click.Context, option: click.Parameter, value: Any) -> None:
    """Sets the level, in the environment too, so that this process's software VFs log as well."""
    if value is None or context.resilient_parsing:
        return
    from iavfio import logs

    try:
        logs.show(value)
    except ConfigError as wrong:
        names = ["--log-level", ENVIRONMENT]
        raise click.BadParameter(logs.on_one_line(str(wrong)), context, option, names) from None
    os.environ[ENVIRONMENT] = value
