# SPDX-License-Identifier: BSD-3-Clause
"""The guest lab from the command line.

python3 -m tests.guest.lab build [--upgrade] [--no-small]   root and kernels, once, as root
python3 -m tests.guest.lab run [options] COMMAND            one boot, one command, its status
python3 -m tests.guest.lab status                           what is built, how large it is
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from iavfio.linuxpf.cache import LabError, Unavailable, cache_dir
from tests.guest.machine import Guest
from tests.guest.root import build_root, load_root
from tests.guest.smallkernel import build_small_kernel, small_kernel_path

UNAVAILABLE = 77  # what test harnesses take for "skipped"


def build(options: argparse.Namespace) -> int:
    """Builds what is missing."""
    root = build_root(upgrade=options.upgrade)
    for role, release in root.kernels.items():
        print(f"{role} kernel: {release}")
    if not options.no_small:
        print(f"small kernel: {build_small_kernel(root)}")
    return 0


def run(options: argparse.Namespace) -> int:
    """Boots a guest, runs a command; the exit status is the command's."""
    with Guest(
        kernel=options.kernel,
        iommu=options.iommu,
        sockets=options.socket,
        devices=options.device,
        append=options.append,
        memory=options.memory,
    ) as guest:
        result = guest.run(" ".join(options.command), options.timeout)
        sys.stdout.write(result.output)
        if options.console:
            sys.stderr.write(guest.console())
        print(f"booted in {guest.boot_seconds:.1f} s", file=sys.stderr)
    return result.status


def status(options: argparse.Namespace) -> int:
    """Says what the cache holds."""
    root = load_root()
    print(f"cache: {cache_dir()}")
    for name, version in {**root.kernels, **root.versions}.items():
        print(f"  {name}: {version}")
    small = small_kernel_path(root)
    print(f"  small kernel: {small.name if small.is_file() else 'not built'}")
    subprocess.run(["du", "-sh", cache_dir()], check=False)
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="lab", description="Guests without KVM for iavfio's tests.")
    words = top.add_subparsers(required=True)
    made = words.add_parser("build", help="build what is missing (as root)")
    made.add_argument("--upgrade", action="store_true", help="take newer packages if there are any")
    made.add_argument("--no-small", action="store_true", help="leave the small kernel out")
    made.set_defaults(call=build)
    told = words.add_parser("status", help="what is built")
    told.set_defaults(call=status)
    ran = words.add_parser("run", help="boot, run one command, exit with its status")
    ran.add_argument("--kernel", choices=["newest", "older", "small"], default="newest")
    ran.add_argument("--iommu", choices=["none", "intel", "virtio"], default="none")
    ran.add_argument("--socket", action="append", default=[], help="a vfio-user server's socket")
    ran.add_argument("--device", action="append", default=[], help="a QEMU -device argument")
    ran.add_argument("--append", default="", help="kernel command line")
    ran.add_argument("--memory", type=int, default=1024, help="MiB")
    ran.add_argument("--timeout", type=float, default=120, help="seconds")
    ran.add_argument("--console", action="store_true", help="show the kernel's console as well")
    ran.add_argument("command", nargs="+")
    ran.set_defaults(call=run)
    return top


def main() -> int:
    """Exit status: the command's; 77 where the lab cannot be had; 1 when it failed."""
    options = parser().parse_args()
    try:
        return int(options.call(options))
    except Unavailable as error:
        print(f"lab: {error}", file=sys.stderr)
        return UNAVAILABLE
    except LabError as error:
        print(f"lab: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
