# SPDX-License-Identifier: BSD-3-Clause
"""Which of Linux's PF drivers can drive a software VF, and how one is started."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import MappingProxyType

from iavfio.errors import ConfigError, Remedy
from iavfio.linuxpf.build import I40E, ICE, JUDGES, Judge, load
from iavfio.linuxpf.cache import LabError, Unavailable
from iavfio.linuxpf.process import JudgeProcess, What
from iavfio.softvf.contract import Scheduler, VfHardware
from iavfio.softvf.dataplane import DataPlane
from iavfio.softvf.linux_pf.card import Card
from iavfio.softvf.linux_pf.driver import LinuxPf
from iavfio.softvf.linux_pf.i40e.card import X710
from iavfio.softvf.linux_pf.ice.card import E810
from iavfio.softvf.personality import Personality

KERNELS: Mapping[str, Judge] = MappingProxyType(
    # Without a version it is the first of a driver's in JUDGES, 6.12.
    {f"linux-{judge.driver.name}": judge for judge in reversed(JUDGES)}
    | {f"linux-{judge.name}": judge for judge in JUDGES}
)
COMMON = frozenset(
    {
        *("trusted", "spoof_check", "reset_ms", "notice_lead_ms"),
        *("wb_group", "tails_stay", "delay_us", "memory_gib"),
    }
)
ICE_FLAGS = {"true_promisc": 0, "vlan_pruning": 1}  # private flags of the PF, as its judge has them


@dataclass(frozen=True)
class Kind:
    """What is played for a driver: the card, by its personality's name, and its own options."""

    personality: str
    card: Callable[[Personality], Card]
    options: frozenset[str] = frozenset()


KINDS: Mapping[str, Kind] = MappingProxyType(  # by the driver's name
    {
        I40E.name: Kind("x710", X710),
        ICE.name: Kind("e810", E810, frozenset({"double_vlan", "ddp", *ICE_FLAGS})),
    }
)


def kernel(name: str) -> Judge:
    """The judge with this name. Raises ConfigError for a name that there is not."""
    if name not in KERNELS:
        raise ConfigError(f"there is no PF {name!r}", f"there are software, {', '.join(KERNELS)}")
    return KERNELS[name]


def personality(name: str) -> str:
    """The name of the card that is played for this PF. Raises ConfigError as `kernel` does."""
    return KINDS[kernel(name).driver.name].personality


def check_options(name: str, options: Iterable[str]) -> None:
    """Raises ConfigError for an option that would change what Linux's driver does."""
    driver = kernel(name).driver.name
    allowed = COMMON | KINDS[driver].options
    wrong = sorted(set(options) - allowed)
    if wrong:
        for other, kind in KINDS.items():
            if wrong[0] in kind.options:
                pf = name.replace(driver, other)
                raise ConfigError(
                    f"option {wrong[0]} is of a card that {other} drives",
                    f"--pf {name} plays an {KINDS[driver].personality.upper()}",
                    Remedy(
                        f'leave it out, or choose pf="{pf}", personality="{kind.personality}"',
                        f"leave it out, or use --pf {pf} --personality {kind.personality}",
                    ),
                )
        raise ConfigError(
            f"option {wrong[0]} is of the software PF",
            "Linux's own PF driver decides that for itself",
            f"with --pf {name} there are {', '.join(sorted(allowed))}",
        )


def check(name: str, card: Personality, options: Iterable[str]) -> None:
    """Raises ConfigError where this driver cannot have this card and these options.

    No judge is needed to know that.
    """
    check_options(name, options)
    kind = KINDS[kernel(name).driver.name]
    if card.name != kind.personality:
        raise ConfigError(
            f"Linux's {kernel(name).driver.name} cannot drive {card.name} here",
            f"the card that is played for it is an {kind.personality.upper()}",
            f"choose --personality {kind.personality}",
        )


def start(
    name: str,
    card: Personality,
    hardware: Sequence[VfHardware],
    plane: DataPlane,
    scheduler: Scheduler,
    stack: ExitStack,
) -> LinuxPf:
    """Starts Linux's PF driver, which ends with `stack`; the rest was checked by `check`.

    Raises ConfigError when it cannot be.
    """
    judge = kernel(name)
    kind = KINDS[judge.driver.name]
    arguments = [f"judge_vfs={len(hardware)}", *(["judge_dvm=1"] if card.double_vlan else [])]
    if judge.driver.name == ICE.name:
        arguments.append(f"judge_ddp={card.ddp}")
    refusal = f"Linux's PF driver {judge.name} cannot be started"
    try:
        path = load(judge)
        process = JudgeProcess(path, *arguments)
        stack.callback(process.close)
        for option, flag in ICE_FLAGS.items() if judge.driver.name == ICE.name else ():
            process.request(What.FLAG, flag, int(getattr(card, option)))
    except Unavailable as error:
        raise ConfigError(
            refusal,
            str(error),
            f"iavfio softvf --pf {name} builds it once, in about {judge.driver.minutes} minutes of "
            "processor time",
        ) from error
    except LabError as error:
        raise ConfigError(refusal, str(error)) from error
    return LinuxPf(card, hardware, plane, scheduler, process, kind.card(card), name)
