# SPDX-License-Identifier: BSD-3-Clause
"""The plan of a fleet as a TOML file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from iavfio.arguments import unknown
from iavfio.errors import ConfigError, IavfioError
from iavfio.fleet.plan import Cluster, FleetPlan, Goals, Host
from iavfio.signatures import checked_call

EXAMPLE = """[engine]
  scheduler = "tcp://192.0.2.1:8786"

  [traffic]
  size = 64
  rate = "1Mpps"

  [[host]]
  name = "west"
  port = "0000:3b:02.0"
  role = "sender"

  [[host]]
  name = "east"
  port = "0000:3b:02.0"
  role = "receiver\""""
TABLES = ("engine", "traffic", "goals", "host")
ENGINE = {"scheduler": "scheduler", "cluster": "kind", "hosts": "hosts", "options": "options"}
TRAFFIC = tuple(
    each.name for each in fields(FleetPlan) if each.name not in ("cluster", "hosts", "goals")
)
GOALS = tuple(each.name for each in fields(Goals))
HOST = tuple(each.name for each in fields(Host))


@checked_call
def read_plan(path: str | Path) -> FleetPlan:
    """The plan in a TOML file: tables [engine], [traffic], [goals], and a [[host]] each.

    Raises IavfioError for a file that cannot be read, ConfigError for a plan that is wrong.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise IavfioError(f"{path} cannot be read", error.strerror or str(error)) from error
    except ValueError as error:  # no UTF-8
        raise _no_toml(path, error) from None
    try:
        tables = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_toml(path, error) from None
    try:
        return plan_of(tables)
    except ConfigError as wrong:
        raise ConfigError(f"{path}: {wrong.what}", wrong.cause, wrong.remedy) from wrong


def plan_of(tables: Mapping[str, Any]) -> FleetPlan:
    """The plan in tables as TOML has them. Raises ConfigError for a wrong one."""
    for name in tables:
        if name not in TABLES:
            raise unknown("table of a plan", name, TABLES)
    engine = _table(tables, "engine", tuple(ENGINE))
    listed = tables.get("host", [])
    if not isinstance(listed, list) or not listed:
        raise ConfigError("the plan has no host", "each is a table [[host]]", EXAMPLE)
    hosts = []
    for number, table in enumerate(listed, 1):
        try:
            hosts.append(_host(table))
        except ConfigError as wrong:
            raise ConfigError(f"host {number}: {wrong.what}", wrong.cause, wrong.remedy) from wrong
    return FleetPlan(
        cluster=Cluster(**{ENGINE[name]: value for name, value in engine.items()}),
        hosts=tuple(hosts),
        goals=Goals(**_table(tables, "goals", GOALS)),
        **_table(tables, "traffic", TRAFFIC),
    )


def _host(table: object) -> Host:
    if not isinstance(table, Mapping):
        raise ConfigError(f"{table!r} is no host", "each is a table [[host]]", EXAMPLE)
    given = _known("key of a host", table, HOST)
    for name in ("name", "port", "role"):
        if name not in given:
            raise ConfigError(f"the host has no {name}", "", EXAMPLE)
    return Host(**given)


def _table(tables: Mapping[str, Any], name: str, known: tuple[str, ...]) -> dict[str, Any]:
    table = tables.get(name, {})
    if not isinstance(table, Mapping):
        raise ConfigError(f"{name} is no table", f"write [{name}] above its keys", EXAMPLE)
    return _known(f"key of [{name}]", table, known)


def _known(what: str, table: Mapping[str, Any], known: tuple[str, ...]) -> dict[str, Any]:
    for key in table:
        if key not in known:
            raise unknown(what, key, known)
    return dict(table)


def _no_toml(path: str | Path, error: BaseException) -> ConfigError:
    return ConfigError(f"{path} is no TOML file", str(error), f"write\n  {EXAMPLE}")
