# SPDX-License-Identifier: BSD-3-Clause
"""A place for the files of a User Mode Linux kernel: its memory, and its pid while it starts.

The kernel makes its memory a file, which it unlinks at once, in $TMPDIR, and maps it executable. A
directory with its pid goes below uml_dir=, ~/.uml without it, and stays there when the kernel is
killed; one that cannot be made is a panic (arch/um/os-Linux/mem.c and umid.c).
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from iavfio.linuxpf.cache import LabError

PLACES = ("/dev/shm", "/tmp", "/var/tmp")  # the kernel prefers memory, too
LONGEST = 150  # bytes of a place's path: the kernel has room for 255 of a file's below it


def places() -> tuple[str, ...]:
    """Where the directory may be, best first: $TMPDIR, where it is set, as the kernel has it."""
    named = os.environ.get("TMPDIR", "")
    return tuple(dict.fromkeys([*([named] if named else []), *PLACES]))


@contextmanager
def scratch(mebibytes: int) -> Iterator[Path]:
    """Yields a fresh directory of this user alone in which the memory has room; removes it then.

    Raises LabError where there is none, with what is wrong with each place.
    """
    refusals = []
    for place in places():
        refusal = _refusal(place, mebibytes)
        if not refusal:
            try:
                path = tempfile.mkdtemp(prefix="iavfio-judge-", dir=place)
            except OSError as error:
                refusal = str(error.strerror)
        if refusal:
            refusals.append(f"{place}: {refusal}")
            continue
        try:
            yield Path(path)
        finally:
            shutil.rmtree(path, ignore_errors=True)
        return
    raise LabError(
        f"there is no directory for the judge's {mebibytes} MiB of memory ({'; '.join(refusals)}): "
        "set TMPDIR to one that can be written, of a file system that is not mounted noexec"
    )


def _refusal(place: str, mebibytes: int) -> str:
    """What is wrong with a place, as far as that can be known; "" if nothing is."""
    try:
        found = os.statvfs(place)
    except OSError as error:
        return str(error.strerror)
    free = found.f_bavail * found.f_frsize >> 20
    if found.f_flag & os.ST_NOEXEC:
        return "mounted noexec"
    if free < mebibytes:
        return f"{free} MiB are free"
    if len(os.fsencode(place)) > LONGEST:
        return "its path is too long"
    return ""
