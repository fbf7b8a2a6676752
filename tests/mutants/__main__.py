# SPDX-License-Identifier: BSD-3-Clause
"""`make mutants`: puts defects in, one at a time, and sees that the tests they name fail.

    tools/mutants [--area AREA]... [--id ID]... [--lanes N] [--json FILE] [--page] [--list]

The exit status is 1 when a mutant survives without a reason, does not apply or does not compile,
or when its tests fail without it. docs/spec/mutants.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

import msgspec

from tests.mutants.campaign import Campaign
from tests.mutants.lane import Failed
from tests.mutants.page import CAUGHT, GOOD, Result, keep, score, table
from tests.mutants.table import ROOT, areas, everything

SCHEMA = "iavfio-mutants/1"


def tell(result: Result) -> None:
    print(f"{result.seconds:6.1f} s  {result.id}: {result.result}", flush=True)
    if result.result != CAUGHT:
        print("\n".join(f"            {line}" for line in result.by.splitlines()), flush=True)
    else:
        print(f"            by {result.by}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--area", action="append", choices=areas(), help="may be repeated")
    parser.add_argument("--id", action="append", help="one mutant; may be repeated")
    parser.add_argument("--lanes", type=int, default=os.cpu_count() or 1, help="trees at work")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results to a file")
    parser.add_argument("--page", action="store_true", help="write scores and page of the docs")
    parser.add_argument("--list", action="store_true", help="only list the mutants")
    args = parser.parse_args()
    known = everything()
    wrong = set(args.id or ()) - {each.id for each in known}
    if wrong or args.lanes < 1:
        parser.error(f"no mutant is called {', '.join(sorted(wrong))}" if wrong else "--lanes 1")
    chosen = [
        each
        for each in known
        if (not args.area or each.area in args.area) and (not args.id or each.id in args.id)
    ]
    if args.list:
        for each in chosen:
            print(f"{each.area}: {each.id} ({each.file}): {each.breaks}")
        return 0
    results: list[Result] = []

    def take(result: Result) -> None:
        results.append(result)
        tell(result)

    begin = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        Campaign(chosen, args.lanes, take).run(max((os.cpu_count() or 1) // args.lanes, 1))
    except Failed as error:
        print(f"the tree does not build as it is:\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("ended before all were tried", file=sys.stderr)
        return 130
    finally:
        scores = {
            area: score(each for each in results if each.area == area)
            for area in sorted({each.area for each in results})
        }
        print("\n".join(["", *table(scores)]))
    if args.json:
        document = {
            "schema": SCHEMA,
            "lanes": args.lanes,
            "seconds": round(time.monotonic() - begin, 1),
            "areas": scores,
            "mutants": msgspec.to_builtins(results),
        }
        args.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if args.page:
        keep(ROOT, results, known)
    return 0 if all(each.result in GOOD for each in results) else 1


if __name__ == "__main__":
    sys.exit(main())
