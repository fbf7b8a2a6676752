# SPDX-License-Identifier: BSD-3-Clause
"""Which card a software PF plays, and which driver drives it: types of options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from iavfio.arguments import nearest
from iavfio.errors import ConfigError
from iavfio.logs import on_one_line

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # no generic class before click 8.2

PERSONALITIES = ("e810", "x710", "x722")
PFS = (
    "software",
    "linux-i40e",
    "linux-i40e-6.12",
    "linux-i40e-6.1",
    "linux-i40e-newest",
    "linux-ice",
    "linux-ice-6.12",
    "linux-ice-6.1",
    "linux-ice-newest",
)
ALL_OPTIONS = "'iavfio softvf --option help' lists all"


class Personality(ParamType):
    """A card to imitate, and twists of it: "x710" or "x710,max_mtu=0,trusted=on"."""

    name = "personality"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, dict[str, Any]]:
        from iavfio.softvf.personality import check_effect, named, parse_option

        if isinstance(value, tuple):
            return value
        name, *twists = str(value).split(",")
        if name not in PERSONALITIES:
            close = nearest(name, PERSONALITIES)
            hint = f"did you mean {close}? " if close else ""
            self.fail(
                f"{name!r} is no card; {hint}choose of {', '.join(PERSONALITIES)}", param, ctx
            )
        try:
            pairs = list(map(parse_option, twists))
            check_effect(name, pairs)
            options = dict(pairs)
            named(name, **options)
        except ConfigError as wrong:
            self.fail(f"{on_one_line(str(wrong))}; {ALL_OPTIONS}", param, ctx)
        return name, options


class Twist(ParamType):
    """KEY=VALUE of the personality, checked; "help" asks for the list."""

    name = "twist"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from iavfio.softvf.personality import parse_option

        if value not in ("?", "help"):
            try:
                parse_option(value)
            except ConfigError as wrong:
                self.fail(f"{on_one_line(str(wrong))}; {ALL_OPTIONS}", param, ctx)
        return str(value)

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        from iavfio.cli import candidates
        from iavfio.softvf.personality import OPTIONS

        return candidates.words([*(f"{name}=" for name in OPTIONS), "help"], incomplete)
