# SPDX-License-Identifier: BSD-3-Clause
"""The small kernel: Debian's kernel source with VFIO in all its ways, everything built in."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

from iavfio.linuxpf.cache import LabError, Unavailable, cache_dir, call, digest, locked
from tests.guest.archive import lab_archive
from tests.guest.places import HERE
from tests.guest.root import Root

CONFIG = HERE / "small.config"
JOBS = 2
CONFIGURE = "make -s tinyconfig && cat /mnt/small.config >> .config && make -s olddefconfig"


def small_kernel_path(root: Root) -> Path:
    """Where the small kernel of this root's source and today's options is, built or not."""
    key = digest(root.source, CONFIG.read_text(encoding="ascii"))
    return cache_dir() / f"small-{key}.bzImage"


def load_small_kernel(root: Root) -> Path:
    """The built small kernel. Raises Unavailable when there is none."""
    path = small_kernel_path(root)
    if not path.is_file():
        raise Unavailable("the small kernel is not built: run 'make guest' as root (8 minutes)")
    return path


def build_small_kernel(root: Root) -> Path:
    """Builds the small kernel inside the guest root's own tool chain, unless it is there."""
    path = small_kernel_path(root)
    if path.is_file():
        return path
    if os.geteuid() != 0:
        raise Unavailable("building the small kernel needs root: it compiles in the guest root")
    with locked("small-kernel"):
        if not path.is_file():
            _build(root, path)
    return path


def _build(root: Root, path: Path) -> None:
    started = time.monotonic()
    cache = cache_dir()
    log = cache / "small-kernel.log"
    log.unlink(missing_ok=True)
    print(f"building the small kernel of {root.source}: about 8 minutes on two cores", flush=True)
    work = cache / "linux"
    shutil.rmtree(work, ignore_errors=True)
    source = _unpack(root, work, log)
    shutil.copy(CONFIG, work / "small.config")
    _make(root, work, f"cd /mnt/{source.name} && {CONFIGURE}", log, 300)
    refused = refused_options((source / ".config").read_text(encoding="utf-8"))
    if refused:
        raise LabError(f"the small kernel refused options: {', '.join(refused)}")
    _make(root, work, f"cd /mnt/{source.name} && make -s -j{JOBS} bzImage", log, 3600)
    part = path.with_suffix(".part")
    shutil.copy(source / "arch/x86/boot/bzImage", part)
    for old in cache.glob("small-*.bzImage"):
        old.unlink()
        old.with_suffix(".config").unlink(missing_ok=True)
    shutil.copy(source / ".config", path.with_suffix(".config"))
    part.rename(path)
    shutil.rmtree(work)
    print(f"small kernel ready after {time.monotonic() - started:.0f} s", flush=True)


def _make(root: Root, work: Path, command: str, log: Path, timeout: float) -> None:
    """Runs a command inside the guest root, with `work` at /mnt."""
    # The mounts live in a namespace of their own and vanish with it.
    mounts = (
        'mount -t proc proc "$0/proc" && mount --bind "$1" "$0/mnt" && exec chroot "$0" sh -c "$2"'
    )
    call(
        ["unshare", "--mount", "sh", "-c", mounts, root.tree, work, command],
        log=log,
        timeout=timeout,
        env={
            "LC_ALL": "C",
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
            "KBUILD_BUILD_TIMESTAMP": "@0",
        },
    )


def refused_options(config: str) -> list[str]:
    """Wanted options that the finished configuration does not have."""
    have = set(config.splitlines())
    wanted = [line for line in CONFIG.read_text(encoding="ascii").splitlines() if "=" in line]
    absent = [line for line in wanted if line.endswith("=n")]
    return [
        line
        for line in wanted
        if (f"{line[:-2]}=y" in have if line in absent else line not in have)
    ]


def _unpack(root: Root, work: Path, log: Path) -> Path:
    """The source tree, made from the source package of the root's newest kernel."""
    work.mkdir(parents=True)
    archive = lab_archive()
    if not archive.listed:
        archive.update(log)
    (deb,) = archive.download([root.source], log)
    call(["dpkg-deb", "-x", deb, work], log=log, timeout=300)
    deb.unlink()
    tar = next((work / "usr/src").glob("linux-source-*.tar.xz"))
    call(["tar", "-C", work, "-xf", tar], log=log, timeout=600)
    shutil.rmtree(work / "usr")
    return next(path for path in work.iterdir() if path.name.startswith("linux-source-"))
