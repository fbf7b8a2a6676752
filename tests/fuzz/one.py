# SPDX-License-Identifier: BSD-3-Clause
"""Fuzzes one target in this process: python -m tests.fuzz.one NAME SECONDS OUT.

With atheris it is guided by coverage of iavfio's Python; without, it takes mutations of the inputs.
The last line of stdout is `executions N`. A finding ends the process with another status than 0 and
its input in OUT/crash-...
"""

from __future__ import annotations

import faulthandler
import hashlib
import importlib.util
import signal
import sys
import time
from pathlib import Path

MODULES = ["iavfio.arguments", "iavfio.capture", "iavfio.doctor", "iavfio.host", "iavfio.metrics"]
MODULES += ["iavfio.cli.options", "iavfio.fleet", "iavfio.generator"]
MODULES += ["iavfio.pyvfio", "iavfio.softvf", "iavfio.stats", "iavfio.vfs", "iavfio.virtchnl"]
HANG = 120  # seconds for one input: only what never ends takes so long, however busy the machine is


def main() -> None:
    name, seconds, out = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    if importlib.util.find_spec("atheris") is not None:
        guided(name, seconds, out)
    else:
        unguided(name, seconds, out)


def guided(name: str, seconds: float, out: Path) -> None:
    """libFuzzer's loop; it ends the process."""
    import atheris

    with atheris.instrument_imports(include=MODULES):
        from tests.fuzz.targets import TARGETS
    target = TARGETS[name]
    corpus = out / f"corpus-{name}"
    corpus.mkdir(parents=True, exist_ok=True)
    for data in target.inputs():
        (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
    options = [
        f"-max_total_time={max(int(seconds), 1)}",
        f"-timeout={HANG}",
        f"-artifact_prefix={out}/crash-{name}-",
        "-max_len=32768",
        "-rss_limit_mb=4096",
        "-print_final_stats=1",
        "-verbosity=1",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], target.feed)
    atheris.Fuzz()


def unguided(name: str, seconds: float, out: Path) -> None:
    """The same inputs in the same order each time."""
    from tests.fuzz.mutation import mutations
    from tests.fuzz.targets import TARGETS

    target = TARGETS[name]
    current = out / f"crash-{name}-current"
    faulthandler.enable()
    signal.signal(signal.SIGALRM, signal.default_int_handler)
    end, count = time.monotonic() + seconds, 0
    for data in mutations(target.inputs(), seed=int(seconds)):
        current.write_bytes(data)  # it stays when the process dies
        signal.alarm(HANG)
        target.feed(data)
        signal.alarm(0)
        count += 1
        if time.monotonic() > end:
            break
    current.unlink()
    print(f"executions {count}")


if __name__ == "__main__":
    main()
