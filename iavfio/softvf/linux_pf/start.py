# SPDX-License-Identifier: BSD-3-Clause
"""Which of Linux's PF drivers can drive a software VF, and how one is started."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from types import MappingProxyType

from iavfio.errors import ConfigError
from iavfio.linuxpf.build import I40E, JUDGES, Judge, load
from iavfio.linuxpf.cache import LabError, Unavailable
from iavfio.linuxpf.process import JudgeProcess
from iavfio.softvf.contract import Scheduler, VfHardware
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.linux_pf.driver import LinuxPf
from iavfio.softvf.personality import Personality

NEWEST = "linux-i40e"
_BUILT = {f"linux-{judge.name}": judge for judge in JUDGES if judge.driver is I40E}
OPTIONS = frozenset(
    {
        *("trusted", "spoof_check", "reset_ms", "notice_lead_ms"),
        *("wb_group", "wb_on_itr", "delay_us"),
    }
)
KERNELS: Mapping[str, Judge] = MappingProxyType({NEWEST: next(iter(_BUILT.values()))} | _BUILT)


def kernel(name: str) -> Judge:
    """The judge with this name. Raises ConfigError for a name that there is not."""
    if name not in KERNELS:
        raise ConfigError(f"there is no PF {name!r}", f"there are software, {', '.join(KERNELS)}")
    return KERNELS[name]


def check_options(options: Iterable[str]) -> None:
    """Raises ConfigError for an option that would change what Linux's driver does."""
    wrong = sorted(set(options) - OPTIONS)
    if wrong:
        raise ConfigError(
            f"option {wrong[0]} is of the software PF",
            "Linux's own PF driver decides that for itself",
            f"with --pf there are {', '.join(sorted(OPTIONS))}",
        )


def start(
    name: str,
    card: Personality,
    hardware: Sequence[VfHardware],
    plane: DataPlane,
    scheduler: Scheduler,
    stack: ExitStack,
) -> LinuxPf:
    """Starts Linux's PF driver, which ends with `stack`. Raises ConfigError when it cannot be."""
    judge = kernel(name)
    if card.name != "x710":
        raise ConfigError(
            f"Linux's i40e cannot drive {card.name} here",
            "the card that is played for it is an X710",
            "choose --personality x710",
        )
    try:
        path = load(judge)
        process = JudgeProcess(path, f"judge_vfs={len(hardware)}")
    except (LabError, Unavailable) as error:
        raise ConfigError(
            f"Linux's PF driver {judge.name} cannot be started",
            str(error),
            f"iavfio softvf --pf {name} builds it once, in about 7 minutes of processor time",
        ) from error
    stack.callback(process.close)
    return LinuxPf(card, hardware, plane, scheduler, process)
