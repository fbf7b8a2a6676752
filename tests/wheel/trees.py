# SPDX-License-Identifier: BSD-3-Clause
"""Trees of other systems, made of Debian packages, and programs that run in them."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from iavfio.linuxpf.archive import KEYRING, mirror
from iavfio.linuxpf.cache import Unavailable, cache_dir, call, digest, locked, replace_tree

WITHOUT = ("doc", "man", "locale")

# Programs run in namespaces of their own: what is mounted and registered is gone with them, and the
# host's emulators stay as they are. Arguments: tree, emulator or nothing, then what chroot runs.
ENTER = r"""
tree=$1 emulator=$2
shift 2
mount -t proc proc "$tree/proc" && mount --rbind /dev "$tree/dev" &&
  mount -t tmpfs tmpfs "$tree/dev/shm" || exit 77
if [ -n "$emulator" ]; then
  mount -t binfmt_misc none /proc/sys/fs/binfmt_misc || exit 77
  zeros='\x00\x00\x00\x00\x00\x00\x00\x00'
  magic="\\x7fELF\\x02\\x01\\x01\\x00$zeros\\x02\\x00\\xb7\\x00"
  mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
  entry=":iavfio-arm:M::$magic:$mask:$emulator:F"
  printf '%s' "$entry" >/proc/sys/fs/binfmt_misc/register || exit 77
fi
exec chroot "$tree" "$@"
"""


@dataclass(frozen=True)
class System:
    """A release of Debian on a machine.

    `included`: its packages, with what they depend on. Only those of a system that is `configured`
    run their own set-up, which takes minutes under emulation.
    """

    suite: str
    machine: str  # as Python and wheels call it
    included: str
    configured: bool = False

    @property
    def emulated(self) -> bool:
        """Whether its programs need an emulator on this host."""
        return self.machine != platform.machine()

    @property
    def architecture(self) -> str:
        """Debian's name of the machine."""
        return {"x86_64": "amd64", "aarch64": "arm64"}[self.machine]

    def tree(self) -> Path:
        """The directory of the system; built when it is not there. Raises Unavailable, LabError."""
        recipe = digest(self.suite, self.machine, self.included, str(self.configured))
        final = cache_dir() / f"tree-{self.suite}-{self.architecture}-{recipe}"
        if final.is_dir():
            return final
        if os.geteuid() != 0:
            raise Unavailable("to build a tree of another system needs root")
        if shutil.which("mmdebstrap") is None:
            raise Unavailable("mmdebstrap is missing: apt-get install mmdebstrap")
        if not KEYRING.exists():
            raise Unavailable(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
        with locked("trees"):
            if not final.is_dir():
                self._build(final)
        return final

    def _build(self, final: Path) -> None:
        print(f"building {final}: a few minutes, 100 to 150 MB", flush=True)
        new = cache_dir() / "tree.new"
        if new.exists():
            shutil.rmtree(new)
        log = cache_dir() / "trees.log"
        log.unlink(missing_ok=True)
        call(
            [
                *("mmdebstrap", "--mode=root"),
                f"--variant={'apt' if self.configured else 'extract'}",
                f"--include={','.join(self.included.split())}",
                f"--architectures={self.architecture}",
                '--aptopt=Apt::Install-Recommends "false"',
                '--aptopt=Acquire::Check-Valid-Until "false"',  # a mirror may lag behind sid
                *(f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in WITHOUT),
                *(self.suite, new, mirror()),
            ],
            log=log,
            timeout=1500,
            env={"TMPDIR": str(cache_dir())},
        )
        (new / "tmp").chmod(0o1777)
        replace_tree(new, final)

    def emulator(self) -> str:
        """Path of its programs' emulator, "" where they need none. Raises Unavailable."""
        if not self.emulated:
            return ""
        if self.machine != "aarch64":
            raise Unavailable(f"no emulator of {self.machine} is known here")
        found = shutil.which("qemu-aarch64-static") or shutil.which("qemu-aarch64")
        if found is None:
            raise Unavailable("qemu-aarch64 is missing: apt-get install qemu-user-static")
        return found

    def run(
        self,
        command: Sequence[str],
        *,
        timeout: float,
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Runs a program in the tree, with its two outputs in one. Raises Unavailable."""
        base = {
            "PATH": "/try/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LANG": "C.UTF-8",
        }
        done = subprocess.run(
            [
                *("unshare", "--user", "--map-root-user", "--mount", "--pid", "--fork"),
                *("--kill-child", "--mount-proc", "sh", "-c", ENTER, "sh"),
                *(str(self.tree()), self.emulator(), *command),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=timeout,
            check=False,
            env={**base, **(env or {})},
        )
        if done.returncode == 77:
            why = " (private emulators need Linux 6.7)" if self.emulated else ""
            raise Unavailable(f"namespaces cannot be set up here{why}: {done.stdout.strip()}")
        return done
