# SPDX-License-Identifier: BSD-3-Clause
"""Builds judges: a PF driver of Linux, untouched, in a User Mode Linux kernel of its own.

`python -m iavfio.linuxpf.build [DRIVER|DRIVER-KERNEL ...]` builds each judge that is not in the
cache yet, of these or of all. The version of the kernel's package and the hash of our files name a
judge's file. Whoever starts a judge takes the one that was built last of our files, and asks no
package archive; `iavfio softvf` asks one where none was built. Nothing of the kernel's source is
changed: our file is added to the driver's directory, and the functions that would reach a card are
taken over by the compiler's -D.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import FrameType
from typing import NoReturn

from iavfio.linuxpf.cache import (
    LabError,
    Unavailable,
    cache_dir,
    call,
    digest,
    discard,
    locked,
    written,
)
from iavfio.linuxpf.kernel_source import (
    NEWEST,
    Source,
    build_environment,
    refresh,
    source,
    unpack,
)
from iavfio.linuxpf.progress import Progress

HERE = Path(__file__).resolve().parent / "kernel"
CONFIG = HERE / "judge.config"
HOST = ("judge_host.c", "judge_host.h")  # of every judge
LIBIE = "judge_libie.h"
JOBS = 2
FILES = 630  # that a judge compiles, about
CONFIGURING, COMPILING = 1800.0, 7200.0  # seconds, of a busy machine
SKIPPED = 77
KEPT_SECONDS = 14 * 86400.0  # a build, since its last use


@dataclass(frozen=True)
class Driver:
    """A PF driver: its directory in the kernel's source and what we add to it.

    These are our files, lines of the kernel's configuration and lines of the directory's Makefile.
    """

    name: str
    folder: str
    sources: tuple[str, ...]
    config: str
    makefile: str
    minutes: int  # of processor time that a build takes


I40E = Driver(
    "i40e",
    "drivers/net/ethernet/intel/i40e",
    (*HOST, "judge_i40e.c", "judge_i40e.h", "judge_i40e_firmware.c", "judge_i40e_queues.c"),
    "CONFIG_I40E=y\n",
    "\n"
    "i40e-y += judge_i40e.o judge_i40e_firmware.o judge_i40e_queues.o judge_host.o\n"
    "CFLAGS_judge_host.o += -I$(srctree)/arch/um/include/shared\n"
    "CFLAGS_i40e_common.o += -Di40e_asq_send_command=judge_asq_send_command\n"
    "CFLAGS_i40e_common.o += -Di40e_asq_send_command_atomic=judge_asq_send_command_atomic\n"
    "CFLAGS_i40e_common.o += -Di40e_asq_send_command_atomic_v2=judge_asq_send_command_atomic_v2\n"
    "CFLAGS_i40e_virtchnl_pf.o += -Dpci_enable_sriov=judge_enable_sriov\n",
    minutes=7,
)

ICE = Driver(
    "ice",
    "drivers/net/ethernet/intel/ice",
    (
        *HOST,
        *("judge_ice.c", "judge_ice.h", "judge_ice_firmware.c"),
        *("judge_ice_flows.c", "judge_ice_director.c"),
    ),
    "CONFIG_ICE=y\n",
    "\n"
    "ice-y += judge_ice.o judge_ice_firmware.o judge_ice_flows.o judge_ice_director.o\n"
    "ice-y += judge_host.o\n"
    "CFLAGS_judge_host.o += -I$(srctree)/arch/um/include/shared\n"
    "CFLAGS_ice_common.o += -Dice_sq_send_cmd=judge_sq_send_cmd\n"
    "CFLAGS_ice_common.o += -Dice_create_all_ctrlq=judge_create_all_ctrlq\n"
    "CFLAGS_ice_common.o += -Dice_init_nvm=judge_init_nvm\n"
    "CFLAGS_ice_vf_mbx.o += -Dice_sq_send_cmd=judge_sq_send_cmd\n"
    "CFLAGS_ice_sriov.o += -Dpci_enable_sriov=judge_enable_sriov\n"
    "CFLAGS_ice_irq.o += -Dpci_irq_vector=judge_irq_vector\n"
    "CFLAGS_ice_main.o += -Ddevm_request_threaded_irq=judge_request_irq\n"
    "CFLAGS_ice_main.o += -Ddevm_free_irq=judge_free_irq\n"
    "CFLAGS_ice_lib.o += -Ddevm_free_irq=judge_free_irq\n"
    "CFLAGS_ice_virtchnl_fdir.o += -Dice_parser_create=judge_parser_create\n"
    "CFLAGS_virt/fdir.o += -Dice_parser_create=judge_parser_create\n"
    "CFLAGS_virt/rss.o += -Dice_parser_create=judge_parser_create\n",
    minutes=11,
)


def _of_libie(driver: Driver) -> Driver:
    """The driver as it is from Linux 6.17 on, when the drivers began to share the admin queue."""
    ours = (name for name in driver.sources if name.startswith(f"judge_{driver.name}"))
    objects = (name.replace(".c", ".o") for name in ours if name.endswith(".c"))
    lines = (f"CFLAGS_{each} += -include $(src)/{LIBIE}\n" for each in objects)
    sources, makefile = (*driver.sources, LIBIE), "".join((driver.makefile, *lines))
    return replace(driver, sources=sources, makefile=makefile)


@dataclass(frozen=True)
class Judge:
    """A driver of one kernel version, such as "6.12", or of the newest that is packaged."""

    driver: Driver
    kernel: str

    @property
    def source(self) -> Source:
        """The kernel's source. Raises Unavailable when there is none."""
        return source(self.kernel)

    @property
    def name(self) -> str:
        """The judge's name in messages and test ids."""
        return f"{self.driver.name}-{self.kernel}"

    def path(self, version: str) -> Path:
        """Returns where the judge of this version of the kernel's package is, or will be."""
        return cache_dir() / f"judge-{self.name}-{version}-{self._key}"

    def built(self) -> Path | None:
        """The judge that was built, or wanted, last of our files as they are; None without one."""
        found: list[tuple[int, Path]] = []
        for path in cache_dir().glob(f"judge-{self.name}-*-{self._key}"):
            with suppress(FileNotFoundError):  # another checkout's prune() was here
                found.append((path.stat().st_mtime_ns, path))
        return max(found)[1] if found else None

    @property
    def _key(self) -> str:
        files = (CONFIG, *(HERE / name for name in self.driver.sources))
        texts = [path.read_text(encoding="ascii") for path in files]
        return digest(self.driver.config, self.driver.makefile, *texts)


JUDGES = (
    Judge(I40E, "6.12"),
    Judge(I40E, "6.1"),
    Judge(_of_libie(I40E), NEWEST),
    Judge(ICE, "6.12"),
    Judge(ICE, "6.1"),
    Judge(_of_libie(ICE), NEWEST),
)


def load(judge: Judge) -> Path:
    """The built judge. Raises Unavailable when there is none."""
    path = judge.built()
    if path is None:
        raise Unavailable(
            f"the judge {judge.name} is not built: run 'make judge' ({judge.driver.minutes} minutes)"
        )
    with suppress(OSError):  # another user's, who prunes it
        # It was used, see prune(), and not built anew.
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    return path


def obtain(judge: Judge) -> Path:
    """The judge that was built last of our files, whatever apt knows by now; built without one.

    Raises Unavailable and LabError.
    """
    return build(judge) if judge.built() is None else load(judge)


def build(judge: Judge) -> Path:
    """Builds a judge of the version that apt has now, unless it is there.

    Raises Unavailable and LabError.
    """
    if judge.kernel == NEWEST:
        refresh(_log(judge))
    kernel_source = judge.source
    path = judge.path(kernel_source.version)
    if not path.is_file():
        with locked("judge"):
            if not path.is_file():
                _build(judge, kernel_source, path)
    now = time.time_ns()  # a file system's own clock may not tell two builds apart
    os.utime(path, ns=(now, now))  # the version that apt has now is the one to start
    return path


def prune(judge: Judge) -> None:
    """Removes builds of a judge that nobody has used lately: other checkouts may use older ones."""
    for old in cache_dir().glob(f"judge-{judge.name}-*"):
        if time.time() - old.stat().st_atime > KEPT_SECONDS:
            old.unlink()


def _log(judge: Judge) -> Path:
    return cache_dir() / f"judge-{judge.name}.log"


def _build(judge: Judge, kernel_source: Source, path: Path) -> None:
    log = _log(judge)
    log.unlink(missing_ok=True)
    progress = Progress(log)
    env = build_environment(log)
    print(f"building the judge {judge.name} from {kernel_source}; log: {log}", flush=True)
    progress.step("fetching and unpacking")
    work = cache_dir() / f"judge-{judge.name}.work"
    for old in work.parent.glob(f"{work.name}*"):  # of a build that was killed
        shutil.rmtree(old, ignore_errors=True)
    try:
        _compile(judge, unpack(kernel_source, work, log), path, progress, env)
    except BaseException:
        discard(work)
        raise
    prune(judge)
    shutil.rmtree(work)
    print(f"judge {judge.name} ready after {progress.seconds:.0f} s", flush=True)


def _compile(
    judge: Judge, tree: Path, path: Path, progress: Progress, env: Mapping[str, str]
) -> None:
    """Makes the judge of the kernel's source tree."""
    log = _log(judge)
    folder = tree / judge.driver.folder
    for name in judge.driver.sources:
        with written(folder / name):
            shutil.copy(HERE / name, folder)
    _append(folder / "Makefile", judge.driver.makefile)
    progress.step("configuring")
    make = ["make", "ARCH=um", *(["CC=ccache gcc"] if shutil.which("ccache") else [])]
    call([*make, "tinyconfig"], log=log, timeout=CONFIGURING, env=env, cwd=tree)
    _append(tree / ".config", CONFIG.read_text(encoding="ascii") + judge.driver.config)
    call([*make, "olddefconfig"], log=log, timeout=CONFIGURING, env=env, cwd=tree)
    with progress.compiling(FILES):
        call([*make, f"-j{JOBS}", "linux"], log=log, timeout=COMPILING, env=env, cwd=tree)
    part = path.with_name(f"{path.name}.part")
    with written(part):
        shutil.copy(tree / "linux", part)
    call(["strip", part], log=log, timeout=60)
    part.rename(path)


def _append(path: Path, text: str) -> None:
    with written(path), path.open("a", encoding="ascii") as file:
        file.write(text)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    sys.exit(128 + number)


def main(wanted: Sequence[str]) -> int:
    """Builds these judges, or those of these drivers, or all; 77 where one cannot be had."""
    known = dict.fromkeys(name for judge in JUDGES for name in (judge.driver.name, judge.name))
    if unknown := set(wanted) - set(known):
        print(f"no judge {', '.join(unknown)}: there are {', '.join(known)}", file=sys.stderr)
        return 2
    code = 0
    for judge in JUDGES:
        if wanted and not {judge.driver.name, judge.name} & set(wanted):
            continue
        try:
            build(judge)
        except Unavailable as error:
            print(f"no judge {judge.name}: {error}", file=sys.stderr)
            code = SKIPPED
        except LabError as error:
            print(f"the judge {judge.name} was not built: {error}", file=sys.stderr)
            return 1
    return code


if __name__ == "__main__":
    os.umask(0o022)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _leave)
    sys.exit(main(sys.argv[1:]))
