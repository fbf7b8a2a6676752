# SPDX-License-Identifier: BSD-3-Clause
"""Frames that a VF sends to an address that nobody has, where a software PF serves the VF.

No message and no counter of a VF tells it, on a card neither: once a frame has left, only the
switch knows. The software PF's control socket says it.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from iavfio.arguments import counted
from iavfio.errors import IavfioError
from iavfio.foreign import a_list, an_object, plain, whole

if TYPE_CHECKING:
    from iavfio.port.facts import Finding

USER = "vfio-user:"
SECONDS = 2.0  # for both questions
MOST_BYTES = 1 << 20  # of an answer
MOST_VFS = 64
MOST = 16  # addresses that are believed; there are four


def strays_of(device: str) -> Counter[str]:
    """How many frames the VF with this socket has sent to each such address, since it is served.

    Empty where nobody can say: the device is a card's, or its software PF does not answer.
    """
    from iavfio.port.probe import NOBODY
    from iavfio.softvf.asking import Questions

    path = Path(device.removeprefix(USER))
    if not path.is_absolute():
        return Counter()
    questions = Questions(SECONDS, MOST_BYTES)
    try:
        for each in a_list(questions.ask(path.parent, "info")["vfs"], MOST_VFS):
            vf = an_object(each)
            if _same(plain(vf["socket"]).removeprefix(USER), path):
                told = questions.ask(path.parent, "stats", vf=whole(vf["index"], 0, MOST_VFS))
                found = an_object(told["to_nobody"])
                strays = {plain(mac): whole(found[mac]) for mac in list(found)[:MOST]}
                strays.pop(NOBODY.hex(":"), None)  # what was sent on purpose
                return Counter(strays)
    except (IavfioError, LookupError, OSError, ValueError):
        pass  # another version, or something else in its place
    return Counter()


def _same(socket: str, path: Path) -> bool:
    return os.path.realpath(socket) == os.path.realpath(path)


def finding(strays: Mapping[str, int]) -> Finding | None:
    """The cause that such frames are."""
    from iavfio.port.facts import Finding

    told = [f"{counted(frames, 'frame')} to {mac}" for mac, frames in strays.items() if frames]
    if not told:
        return None
    return Finding(
        "sent to nobody",
        "frames go to an address that no other VF of this software PF has, and it has no uplink "
        "that could know more",
        f"the software PF says: {', '.join(told)}",
        "send to the address of a VF, which iavfio vf DIR lists, or give the software PF an "
        "uplink: iavfio softvf --uplink",
    )
