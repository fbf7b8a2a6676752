# SPDX-License-Identifier: BSD-3-Clause
"""The guest root: one tree that holds QEMU, the guest kernels and the guest's userland."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from iavfio.linuxpf.archive import Archive, sources
from iavfio.linuxpf.cache import (
    LabError,
    Unavailable,
    cache_dir,
    call,
    digest,
    locked,
    replace_tree,
)
from tests.guest.archive import SUITES, lab_archive, preferences

RECIPE = "1"  # raise it when this file makes another tree from the same packages
USERLAND = (
    "qemu-system-x86 seabios ipxe-qemu busybox-static kmod iproute2 ethtool pciutils procps psmisc "
    "util-linux mount iputils-ping iperf3 tcpdump python3 python3-numpy python3-cffi "
    "python3-setuptools python3-dev python3-click python3-msgspec python3-rich python3-pyroute2 "
    "python3-pytest python3-scapy gcc libc6-dev make flex bison bc libelf-dev libssl-dev xz-utils "
    "librte-meta-net librte-meta-mempool librte-bus-vdev25 librte-crypto-scheduler25 "
    "librte-latencystats25 librte-bitratestats25 librte-pdump25 librte-gro25 librte-gso25 "
    "librte-bpf25 librte-cmdline25"
)
# Unpacked only: dpdk-dev is here for testpmd, and its dependencies are 340 packages.
UNPACKED = ("dpdk-dev",)
KEYED = ("qemu-system-x86", "dpdk-dev", "python3", "busybox-static", "linux-source")
UNMOUNTING = 30.0  # seconds in which mmdebstrap may undo what it has mounted
TOOLS = ("mmdebstrap", "dpkg-deb", "apt-get")


@dataclass(frozen=True)
class Root:
    """A built guest root. `kernels` maps "newest" and "older" to kernel releases."""

    path: str
    recipe: str
    key: str
    kernels: dict[str, str]
    source: str
    versions: dict[str, str]

    @property
    def tree(self) -> Path:
        """The root directory."""
        return Path(self.path)

    def vmlinuz(self, release: str) -> Path:
        """Kernel image of a release."""
        packed = self.tree / "usr/lib/modules" / release / "vmlinuz"
        return packed if packed.exists() else self.tree / "boot" / f"vmlinuz-{release}"


def recipe() -> str:
    """Hash of what decides the content of the tree, apart from package versions."""
    return digest(RECIPE, USERLAND, *UNPACKED, preferences())


def load_root() -> Root:
    """The root that was built with today's recipe. Raises Unavailable when there is none."""
    manifest = cache_dir() / "root.json"
    try:
        root = Root(**json.loads(manifest.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise Unavailable(
            "the guest root is not built: run 'make guest' as root (or: sudo "
            "python3 -m tests.guest.lab build)"
        ) from error
    if root.recipe != recipe() or not root.tree.is_dir():
        raise Unavailable("the guest root is of an older recipe: run 'make guest' as root again")
    return root


def build_root(upgrade: bool = False) -> Root:
    """Builds the root unless it is there; `upgrade` asks the archive for newer packages first."""
    if not upgrade:
        try:
            return load_root()
        except Unavailable:
            pass
    if os.geteuid() != 0:
        raise Unavailable("building the guest root needs root: it makes a chroot with its owners")
    missing = [tool for tool in TOOLS if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"{', '.join(missing)} missing: apt-get install mmdebstrap dpkg apt")
    with locked("root"):
        if not upgrade:
            try:
                return load_root()  # the other builder may have made it meanwhile
            except Unavailable:
                pass
        return _build()


def _build() -> Root:
    started = time.monotonic()
    cache = cache_dir()
    log = cache / "root.log"
    log.unlink(missing_ok=True)
    archive = lab_archive()
    archive.update(log)
    kernels, debs = _kernels(archive)
    versions = {name: _candidate(archive, name) for name in KEYED}
    debs += [f"{name}={_candidate(archive, name)}" for name in UNPACKED]
    key = digest(recipe(), json.dumps([kernels, versions], sort_keys=True))
    final = cache / f"root-{key}"
    if not final.is_dir():
        print(f"building the guest root {final}: about 90 s, 1.2 GB", flush=True)
        new = cache / "root.new"
        if new.exists():
            shutil.rmtree(new)
        _bootstrap(cache, new, log)
        for deb in archive.download(debs, log):
            call(["dpkg-deb", "-x", deb, new], log=log, timeout=120)
            deb.unlink()
        for release in kernels.values():
            call(["chroot", new, "depmod", release], log=log, timeout=120)
        _finish(new)
        replace_tree(new, final)
    root = Root(str(final), recipe(), key, kernels, _source(archive), versions)
    (cache / "root.json").write_text(json.dumps(asdict(root), indent=1), encoding="utf-8")
    for old in cache.glob("root-*"):
        if old != final:
            shutil.rmtree(old)
    for image in cache.glob("initramfs-*"):
        image.unlink()
    print(f"guest root ready after {time.monotonic() - started:.0f} s", flush=True)
    return root


def _candidate(archive: Archive, package: str) -> str:
    found = archive.versions(package)
    wanted = ("trixie-backports",) if package.startswith(("qemu", "linux-source")) else ()
    for suite in (*wanted, "trixie-updates", "trixie"):
        if suite in found:
            return found[suite]
    raise Unavailable(f"the package archive has no {package}")


def _kernels(archive: Archive) -> tuple[dict[str, str], list[str]]:
    """Releases of the newest kernel and of the release's own (a year older), and their packages."""
    found = archive.versions("linux-image-amd64")
    kernels, debs = {}, []
    for role, suite in (("newest", "trixie-backports"), ("older", "trixie")):
        if suite not in found:
            raise Unavailable(f"the package archive has no kernel in {suite}")
        version = found[suite]
        needed = archive.depends("linux-image-amd64", version)
        image = next(name for name in needed if name.startswith("linux-image-"))
        release = image.removeprefix("linux-image-")
        # Newer kernels come in parts; installing them would run an initramfs generator for minutes.
        parts = [
            name
            for name in archive.depends(image, version)
            if name in (f"linux-{part}-{release}" for part in ("base", "binary", "modules"))
        ]
        kernels[role] = release
        debs += [f"{name}={version}" for name in parts or [image]]
    return kernels, debs


def _source(archive: Archive) -> str:
    """The newest kernel's source package, "name=version"."""
    version = _candidate(archive, "linux-source")
    name = next(n for n in archive.depends("linux-source", version) if n.startswith("linux-source"))
    return f"{name}={version}"


def _bootstrap(cache: Path, new: Path, log: Path) -> None:
    listed = cache / "bootstrap.list"
    listed.write_text(sources(SUITES), encoding="ascii")
    pins = cache / "bootstrap.preferences"
    pins.write_text(preferences(), encoding="ascii")
    call(
        [
            "mmdebstrap",
            "--mode=root",
            "--variant=apt",
            f"--include={','.join(USERLAND.split())}",
            "--architectures=amd64",
            '--aptopt=Apt::Install-Recommends "false"',
            '--aptopt=Acquire::Retries "3"',
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            "--dpkgopt=path-exclude=/usr/share/man/*",
            "--dpkgopt=path-exclude=/usr/share/locale/*",
            f'--setup-hook=install -D -m 644 {pins} "$1/etc/apt/preferences.d/lab"',
            "trixie",
            new,
            listed,
        ],
        log=log,
        timeout=1500,
        env={"TMPDIR": str(cache)},
        grace=UNMOUNTING,
    )


def _finish(new: Path) -> None:
    """Makes what the guest wants to find: mount points, a name, an ordinary user."""
    for place in ("job", "share", "repo"):
        (new / place).mkdir(exist_ok=True)
    (new / "etc" / "hostname").write_text("guest\n", encoding="ascii")
    (new / "etc" / "hosts").write_text("127.0.0.1 localhost guest\n", encoding="ascii")
    done = subprocess.run(
        ["chroot", new, "useradd", "--create-home", "--uid", "1000", "tester"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        raise LabError(f"no ordinary user in the guest root: {done.stderr}")
