# SPDX-License-Identifier: BSD-3-Clause
"""Measures the calls, prints the table and the verdict, writes bench/results/bounds.json."""

from __future__ import annotations

import argparse

from bench import bounds, record
from bench.bounds.campaign import Campaign, Outcome
from bench.bounds.cases import cases
from bench.bounds.page import PAGE, promises
from bench.bounds.verdict import BROKEN, judged, length, table, verdict
from iavfio.bench.provenance import SOFTWARE, provenance

LANES = 24  # measurements at a time: nearly all of them wait


def _tell(outcome: Outcome) -> None:
    print(f"{outcome.case.name}: {outcome.error or length(outcome.longest)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.bounds",
        description=bounds.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="cases whose name has this in it")
    parser.add_argument("--rounds", type=int, default=1, help="measurements of each case")
    parser.add_argument("--lanes", type=int, default=LANES, help="measurements at a time")
    parser.add_argument("--verbose", action="store_true", help="say each measurement")
    parser.add_argument("--docs", action="store_true", help="the table into reliability.md")
    wanted = parser.parse_args()
    if wanted.rounds < 1 or wanted.lanes < 1:
        parser.error("--rounds and --lanes must be 1 or more")
    chosen = [case for case in cases() if wanted.only in case.name] * wanted.rounds
    if not chosen:
        parser.error(f"no case has {wanted.only!r} in its name")
    source = provenance({"vf0": SOFTWARE}) | {"load_before": record.load()}
    campaign = Campaign(wanted.lanes, _tell if wanted.verbose else lambda _: None)
    outcomes = campaign.run(chosen)
    source["load_after"] = record.load()
    results = judged(outcomes, promises())
    status, why = verdict(results, [each for each in outcomes if each.error], campaign.delays)
    print(table(results))
    print("\n" + "\n".join(why))
    data = [
        {
            "row": each.row,
            "condition": each.outcome.case.condition.column,
            "case": each.outcome.case.name,
            "promised_s": each.promised,
            "longest_s": each.outcome.longest,
            "machine_late_s": each.late(campaign.delays),
        }
        for each in results
    ]
    path = record.save("bounds", {"provenance": source, "status": status, "calls": data})
    print(f"wrote {path}")
    if wanted.docs and status != BROKEN:
        text = record.origin(source, f"{len(outcomes)} measurements on the software VF")
        record.fill(PAGE, "bounds-results", f"{text}\n\n{table(results)}")
    return status


if __name__ == "__main__":
    raise SystemExit(main())
