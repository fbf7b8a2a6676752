# SPDX-License-Identifier: BSD-3-Clause
"""`make fuzz`: all targets, each in processes of its own; exit status 1 when one finds something.

    python -m tests.fuzz [--seconds 600 | --each 20] [--lanes 2] [--only NAME] [--list]
    python -m tests.fuzz --repeat build-fuzz/crash-NAME-...

The time is shared out evenly. Findings stay in BUILD/crash-TARGET-...: copy one to
tests/data/fuzz/TARGET/ and every test run takes it from then on.
"""

from __future__ import annotations

import argparse
import faulthandler
import os
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.fuzz.campaign import ROOT, fuzz, names, repeat
from tests.fuzz.targets import TARGETS


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    parser.add_argument("--seconds", type=float, default=600.0, help="for all targets together")
    parser.add_argument("--each", type=float, help="seconds for each target instead")
    parser.add_argument("--lanes", type=int, default=1, help="targets at a time")
    parser.add_argument("--build", type=Path, default=ROOT / "build-fuzz")
    parser.add_argument("--only", action="append", choices=names(), help="may be repeated")
    parser.add_argument("--list", action="store_true", help="say what each target feeds")
    parser.add_argument("--repeat", type=Path, metavar="INPUT", help="one finding once more")
    args = parser.parse_args()
    if args.list:
        for target in TARGETS.values():
            print(f"{target.name:12} {target.fed}\n{'':12} finds: {target.finding}")
        return 0
    build = args.build.resolve()
    if args.repeat is not None:
        faulthandler.enable()
        return repeat(args.repeat, build)
    build.mkdir(exist_ok=True)
    chosen = [name for name in names() if not args.only or name in args.only]
    lanes = max(min(args.lanes, len(chosen)), 1)
    share = args.each or args.seconds * lanes / len(chosen)
    with tempfile.TemporaryDirectory(prefix="iavfio-fuzz-", dir="/dev/shm") as temporary:
        os.environ["TMPDIR"] = temporary  # libFuzzer ends processes without cleaning up
        with ThreadPoolExecutor(lanes) as pool:
            good = list(pool.map(lambda name: fuzz(name, share, build), chosen))
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
