# SPDX-License-Identifier: BSD-3-Clause
"""Builds deploy/Dockerfile and runs what it makes: `python -m tests.wheel.image`, as root.

buildah is the builder, without a daemon and without a registry: in place of the base image of the
Dockerfile stands a tree of Debian packages with the same Python. The host's certificates are those
of the build. Images are in a store of their own, which is removed at the end.

Exit status 1 when something failed, 77 when it cannot be tried here.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from iavfio.linuxpf.cache import LabError, Unavailable
from tests.wheel.trees import System

ROOT = Path(__file__).resolve().parents[2]
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
BASE = System("bookworm", "x86_64", "python3 python3-dev python3-pip python3-venv", configured=True)
CERTIFICATES = Path("/etc/ssl/certs")
IMAGE = "iavfio"
BUILD = 1200.0  # seconds
STEP = 300.0

# As a container of that user with a read-only root. Arguments: root, user, then a program.
ENTER = r"""
root=$1 user=$2
shift 2
mount --bind "$root" "$root" && mount -o remount,bind,ro "$root" &&
  mount -t proc proc "$root/proc" && mount --rbind /dev "$root/dev" &&
  mount -t tmpfs tmpfs "$root/tmp" && mount -t tmpfs tmpfs "$root/run" &&
  mkdir -m 0755 "$root/run/iavfio" && chown "$user" "$root/run/iavfio" || exit 77
exec chroot --userspec="$user" "$root" "$@"
"""


class Failed(Exception):
    """Something did not do what it should."""


def said(*command: str | Path, timeout: float = STEP) -> str:
    """What a program prints. Raises Failed unless it ends well."""
    try:
        done = subprocess.run(
            [str(word) for word in command],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=timeout, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{command[:4]}: no end after {timeout:.0f} s") from error
    if done.returncode != 0:
        raise Failed(f"{command[:4]}: status {done.returncode}\n{done.stdout[-3000:]}")
    return done.stdout


@contextlib.contextmanager
def store() -> Iterator[Path]:
    """A place for images, which buildah uses from now on."""
    place = Path(tempfile.mkdtemp(prefix="iavfio-image-", dir="/var/tmp"))
    lines = ("[storage]", 'driver = "vfs"', f'graphroot = "{place}/g"', f'runroot = "{place}/r"')
    (place / "storage.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")
    os.environ["CONTAINERS_STORAGE_CONF"] = str(place / "storage.conf")
    os.environ["BUILDAH_ISOLATION"] = "chroot"
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)


def base(name: str) -> None:
    """An image of this name out of Debian packages, with `python` and a pip that installs."""
    tree = BASE.tree()
    made = said("buildah", "from", "scratch").strip()
    at = Path(said("buildah", "mount", made).strip())
    said("cp", "-a", f"{tree}/.", at, timeout=BUILD)
    for marker in at.glob("usr/lib/python3*/EXTERNALLY-MANAGED"):
        marker.unlink()
    (at / "usr/bin/python").symlink_to("python3")
    said("buildah", "umount", made)
    said("buildah", "commit", "--quiet", "--rm", made, name, timeout=BUILD)


def build(place: Path) -> None:
    """The image, of what is in the checkout and not ignored."""
    context = place / "context"
    context.mkdir()
    files = said("git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z").split("\0")
    for file in filter(None, files):
        (context / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, context / file)
    (place / "pip.conf").write_text(f"[global]\ncert = {CERTIFICATES}/ca-certificates.crt\n")
    said(
        *("buildah", "bud", "--pull-never", "--isolation", "chroot", "--tag", IMAGE),
        *("--volume", f"{CERTIFICATES}:{CERTIFICATES}:ro"),
        *("--volume", f"{place}/pip.conf:/etc/pip.conf:ro"),
        *("--file", context / "deploy" / "Dockerfile", context),
        timeout=BUILD,
    )


def run(root: Path, user: str, *command: str) -> str:
    """What a program in the image prints."""
    of = ("env", "-i", "PATH=/usr/local/bin:/usr/bin:/bin", "IAVFIO_RUNTIME_DIR=/run/iavfio")
    enter = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", ENTER, "sh")
    return said(*enter, root, user, *of, *command)


def attempt() -> None:
    """Builds and tries the image."""
    if os.geteuid() != 0:
        raise Unavailable("to build an image without a daemon needs root")
    if shutil.which("buildah") is None:
        raise Unavailable("buildah is missing: apt-get install buildah")
    text = DOCKERFILE.read_text(encoding="utf-8")
    (name,) = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE))
    (user,) = re.findall(r"^USER (\S+)", text, re.MULTILINE)
    with store() as place:
        base(name)
        build(place)
        print(f"built, on Debian's Python in place of {name}", flush=True)
        root = Path(said("buildah", "mount", said("buildah", "from", IMAGE).strip()).strip())
        if (root / "usr/bin/gcc").exists() or (root / "wheels").exists():
            raise Failed("what only the build needs is left in the image")
        whose = run(root, user, "sh", "-c", "id -u; touch /x || echo read-only").split()
        if whose[0] != user.partition(":")[0] or whose[-1] != "read-only":
            raise Failed(f"its user, or its root: {whose}")
        print(run(root, user, "iavfio", "--version").strip(), flush=True)
        told = run(root, user, "iavfio", "bench", "softvf", "--duration", "0.5", "--verify")
        print("\n".join(line for line in told.splitlines() if "verified" in line), flush=True)


def main() -> int:
    """Returns the exit status."""
    try:
        attempt()
    except Unavailable as error:
        print(f"skipped: {error}")
        return 77
    except (Failed, LabError) as error:
        print(f"FAILED: {error}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
