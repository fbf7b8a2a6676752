# SPDX-License-Identifier: BSD-3-Clause
"""What `iavfio stats --json` prints, as types: `iavfio schema stats` is made from them.

Each object has a field `schema` with a name and a version. A field that is added keeps the version;
one that goes or changes its meaning gets a new one.
"""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from iavfio.stats.schemas import COUNTERS, PORT, REMOVED


class LinkRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A port's link."""

    up: bool
    mbps: Annotated[int, Meta(ge=0, description="speed in Mb/s; 0: unknown")]
    changes: Annotated[int, Meta(ge=0, description="times that it went up or down")]


class CountersRecord(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=COUNTERS
):
    """The counters of one port: `iavfio stats PORT --json`, `port.stats.as_dict()`."""

    port: str
    device: Annotated[str, Meta(description="PCI address or path of the socket")]
    transport: str
    state: Annotated[str, Meta(description='the port\'s state; "dead": its process has ended')]
    last_state: Annotated[str, Meta(description="the state that its process wrote last")]
    alive: Annotated[bool, Meta(description="whether its process runs")]
    pid: Annotated[int, Meta(description="of the process, in its own PID namespace")]
    process: Annotated[str, Meta(description="the process in words")]
    user: str
    link: LinkRecord
    resets: Annotated[int, Meta(ge=0, description="of the VF since the port was opened")]
    mac: str
    labels: Annotated[dict[str, str], Meta(description="what its program says of the port")]
    pf_sample_age_s: Annotated[
        float | None, Meta(description="seconds since the PF's last answer; null: never asked")
    ]
    torn: Annotated[list[str], Meta(description="blocks whose writer died inside an update")]
    counters: Annotated[
        dict[str, int], Meta(description="by name, in the order of docs/guides/counters.md")
    ]


class PortRecord(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=PORT
):
    """An item of the list that `iavfio stats --json` prints."""

    port: str
    user: str
    state: str
    alive: bool
    process: str
    device: str


class RemovedRecord(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="schema", tag=REMOVED
):
    """What `iavfio stats --clean --json` prints."""

    removed: Annotated[list[str], Meta(description="names of the dead ports that left something")]
