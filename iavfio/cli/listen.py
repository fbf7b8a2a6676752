# SPDX-License-Identifier: BSD-3-Clause
"""The option type of an address to listen at."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    ParamType = click.ParamType[Any]
else:
    ParamType = click.ParamType  # no generic class before click 8.2

WRITTEN = re.compile(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^\s:\[\]/]*)):(\d{1,5})", re.ASCII)


class Listen(ParamType):
    """An address and a port, as 127.0.0.1:9469 or [::1]:9469.

    :9469 stands for all IPv4 addresses, as 0.0.0.0:9469 does, and [::]:9469 for those of IPv6 too.
    """

    name = "address:port"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, int]:
        if isinstance(value, tuple):
            return value
        found = WRITTEN.fullmatch(str(value))
        if not found or int(found[3]) > 65535:
            self.fail(
                f"{value!r} is no address to listen at; write 127.0.0.1:9469, [::1]:9469, "
                ":9469 for all IPv4 addresses of this host, or [::]:9469 for those of IPv6 too",
                param,
                ctx,
            )
        return found[1] or found[2] or "0.0.0.0", int(found[3])
