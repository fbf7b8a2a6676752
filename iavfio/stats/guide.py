# SPDX-License-Identifier: BSD-3-Clause
"""The guide to the counters, docs/guides/counters.md, made from the table that dumps are made from.

`python -m iavfio.stats.guide` prints it; a test compares it with the file.
"""

from __future__ import annotations

from collections.abc import Iterator

from iavfio.stats.names import FCS_RULE, GLOBAL, RX, TX, Counter, Group

HEAD = f"""# Counters

Every counter that `iavfio stats` and `port.stats` show, in the order of the dump. This page is made
by `python -m iavfio.stats.guide` from the table that the dump and the JSON are made from.

- `iavfio stats` lists the ports of this host with their state; `iavfio stats PORT` dumps one, and
  `--json` does so as JSON.
- The counters of the VF are those of the PF's last answer, a second or two old at most while the
  port runs. The dump says how old in its `#` lines, the JSON in `pf_sample_age_s`. They never go
  back: where the PF's own ones wrap or begin again, iavfio goes on counting.
- Bytes: {FCS_RULE}.
- `rqN_packets` are counted when the program gets them, `sqN_packets` when the device says that they
  are sent; on an idle port that takes some 10 ms. `sqN_posted` less `sqN_packets` are in flight.
- A queue's counters are kept over stop, reset and another number of queues; they begin at 0 when
  the port is opened.
- Order and meaning of the names without `--all` are those of libie
  (`docs/spec/libie-counters.md 1, 3`). A counter that can never move is listed all the same,
  because tools look for it.
"""
SHOWN: dict[Group, str] = {"pool": "`--pool`", "own": "`--all`"}


def guide() -> str:
    """The whole page as Markdown."""
    parts = [HEAD]
    for title, prefix, table in (
        ("The VF", "", GLOBAL),
        ("Each receive queue", "rqN_", RX),
        ("Each send queue", "sqN_", TX),
    ):
        parts.append(f"## {title}\n\n" + "\n".join(_rows(prefix, table)) + "\n")
    return "\n".join(parts)


def _rows(prefix: str, table: tuple[Counter, ...]) -> Iterator[str]:
    yield "| counter | unit | meaning | note | shown by |"
    yield "|---|---|---|---|---|"
    for each in table:
        kernel = f"Linux has it as `{prefix[0]}x-N.{each.kernel}`" if each.kernel else ""
        note = "; ".join(part for part in (each.note, kernel.replace("sx-", "tx-")) if part)
        name, shown = f"`{prefix}{each.name}`", SHOWN.get(each.group, "")
        yield f"| {name} | {each.unit} | {each.meaning} | {note} | {shown} |"


if __name__ == "__main__":
    print(guide(), end="")
