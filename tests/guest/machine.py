# SPDX-License-Identifier: BSD-3-Clause
"""One guest: QEMU without KVM, a kernel, devices; commands go in, output and status come out."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from iavfio.linuxpf.cache import LabError
from tests.guest.initramfs import build_initramfs
from tests.guest.places import HERE, REPO
from tests.guest.root import Root, load_root
from tests.guest.smallkernel import load_small_kernel

KernelName = Literal["newest", "older", "small"]
Iommu = Literal["none", "intel", "virtio"]
BOOT_S = 300.0
LIFE_S = 1800  # no guest outlives this, whatever happens to who started it


@dataclass(frozen=True)
class Result:
    """What a command in the guest gave: exit status (124: it timed out) and its whole output."""

    status: int
    output: str

    def check(self) -> str:
        """The output of a command that must succeed. Raises LabError."""
        if self.status != 0:
            raise LabError(f"status {self.status} in the guest:\n{self.output[-4000:]}")
        return self.output


class GuestGone(LabError):
    """The guest ended: it crashed, panicked, or QEMU refused its devices."""


def vfio_user(socket_path: str | Path, bus: str) -> str:
    """A -device argument: a vfio-user server's device behind the root port `bus`."""
    where = {"path": str(socket_path), "type": "unix"}
    return json.dumps({"driver": "vfio-user-pci", "bus": bus, "socket": where})


class Guest:
    """A running guest, a context manager.

    `kernel`: "newest" and "older" are Debian's, "small" is built with IOMMUFD and noiommu.
    `sockets`: vfio-user servers, each behind its own root port. `devices`: further -device
    arguments. `extra`: any other QEMU arguments. `shares`: guest path to host directory, read only;
    the repository is always at /repo. `memory` is in MiB and shared, so that a vfio-user server
    can map it. Raises Unavailable when the lab is not built, GuestGone when it does not boot.
    """

    def __init__(
        self,
        *,
        kernel: KernelName = "newest",
        iommu: Iommu = "none",
        sockets: Sequence[str | Path] = (),
        devices: Sequence[str] = (),
        extra: Sequence[str] = (),
        shares: dict[str, Path] | None = None,
        append: str = "",
        memory: int = 1024,
        cpus: int = 2,
    ) -> None:
        self.root = load_root()
        self.kernel, self.iommu = kernel, iommu
        self.sockets, self.devices, self.extra = list(sockets), list(devices), list(extra)
        self.shares = {"/repo": REPO, **(shares or {})}
        self.append, self.memory, self.cpus = append, memory, cpus
        self.boot_seconds = 0.0
        self._number = 0
        self._finished: dict[int, int] = {}
        self._pending = b""
        self._job = Path(tempfile.mkdtemp(prefix="iavfio-guest-"))
        self._qemu: subprocess.Popen[bytes] | None = None
        try:
            self._boot()
        except BaseException:
            self.close()
            raise

    def run(self, command: str, timeout: float = 60.0) -> Result:
        """Runs a bash script in the guest as root and waits for it. Raises GuestGone."""
        return self.wait(self.start(command, timeout), timeout)

    def check(self, command: str, timeout: float = 60.0) -> str:
        """Output of a command that must succeed. Raises LabError."""
        return self.run(command, timeout).check()

    def python(self, script: Path, *words: str, timeout: float = 120.0) -> list[dict[str, object]]:
        """JSON lines of a script of the repository, run by the guest's Python."""
        inside = f"/repo/{script.resolve().relative_to(REPO)}"
        output = self.check(
            f"cd /tmp; PYTHONPATH=/repo python3 {inside} {' '.join(words)}", timeout
        )
        return [json.loads(line) for line in output.splitlines() if line.startswith("{")]

    def start(self, command: str, timeout: float = 60.0) -> int:
        """Starts a bash script in the guest; several may run at once. Returns its number."""
        self._number += 1
        (self._job / f"{self._number}.sh").write_text(command + "\n", encoding="utf-8")
        self._link.sendall(f"run {self._number} {max(1, int(timeout))}\n".encode())
        return self._number

    def wait(self, number: int, timeout: float = 60.0) -> Result:
        """Waits for a started script. Raises GuestGone."""
        self._listen(number, timeout + 15.0, "did not answer")
        return Result(self._finished.pop(number), self.output(number))

    def output(self, number: int) -> str:
        """What a script has printed so far."""
        path = self._job / f"{number}.out"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def console(self) -> str:
        """The kernel's console so far."""
        path = self._job / "console"
        return path.read_text(encoding="utf-8", errors="replace") if path.exists() else ""

    def close(self) -> None:
        """Ends the guest and removes its files."""
        qemu = self._qemu
        if qemu is not None and qemu.poll() is None:
            try:
                self._link.sendall(b"quit\n")
                qemu.wait(10)
            except (OSError, subprocess.TimeoutExpired):
                qemu.terminate()
                try:
                    qemu.wait(5)
                except subprocess.TimeoutExpired:
                    qemu.kill()
                    qemu.wait()
        if qemu is not None:
            self._link.close()
        kept = os.environ.get("IAVFIO_GUEST_KEEP")
        if kept:
            shutil.copytree(self._job, Path(kept) / self._job.name, dirs_exist_ok=True)
        shutil.rmtree(self._job, ignore_errors=True)

    def _boot(self) -> None:
        """The emulator now and then loses a guest in its kernel's first second: then once more."""
        try:
            self._launch()
        except GuestGone:
            if self._qemu is None or self._qemu.poll() is not None:
                raise
            self._qemu.kill()
            self._qemu.wait()
            self._link.close()
            self._pending = b""
            (self._job / "console").unlink(missing_ok=True)
            self._launch()

    def _launch(self) -> None:
        started = time.monotonic()
        shutil.copy(HERE / "inside" / "agent", self._job / "agent")
        self._link, theirs = socket.socketpair()
        with theirs, (self._job / "qemu.log").open("wb") as log:
            self._qemu = subprocess.Popen(
                [*_bounded(), *_emulator(self.root), *self._arguments(theirs.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                pass_fds=[theirs.fileno()],
                env={
                    **os.environ,
                    "QEMU_MODULE_DIR": str(self.root.tree / "usr/lib/x86_64-linux-gnu/qemu"),
                },
            )
        self._listen(0, BOOT_S, "did not boot")
        self.boot_seconds = time.monotonic() - started

    def _listen(self, number: int, timeout: float, what: str) -> None:
        deadline = time.monotonic() + timeout
        while number not in self._finished:
            self._link.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                data = self._link.recv(4096)
            except TimeoutError:
                raise GuestGone(
                    f"the guest {what} in {timeout:.0f} s\n{self._evidence()}"
                ) from None
            except OSError:
                data = b""
            if not data:
                raise GuestGone(f"the guest ended\n{self._evidence()}")
            *lines, self._pending = (self._pending + data).split(b"\n")
            for line in lines:
                words = line.split()
                if len(words) == 3 and words[0] in (b"ready", b"done"):
                    self._finished[int(words[1])] = int(words[2])

    def _evidence(self) -> str:
        log = self._job / "qemu.log"
        emulator = log.read_text(errors="replace")[-2000:] if log.exists() else ""
        tail = "\n".join(self.console().splitlines()[-25:])
        return f"QEMU: {emulator or '(silent)'}\nconsole: {tail or '(silent)'}"

    def qemu_log(self) -> str:
        """What QEMU itself complained of."""
        return (self._job / "qemu.log").read_text(errors="replace")

    def _arguments(self, agent_fd: int) -> list[str]:
        tree = self.root.tree
        if self.kernel == "small":
            image, release = load_small_kernel(self.root), None
        else:
            release = self.root.kernels[self.kernel]
            image = self.root.vmlinuz(release)
        initramfs = build_initramfs(self.root, release)
        words = [
            *("-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"),
            *("-accel", os.environ.get("IAVFIO_GUEST_ACCEL", "tcg,thread=multi")),
            *("-cpu", "max", "-smp", str(self.cpus), "-m", f"{self.memory}M"),
            # A vfio-user server sees only memory that has an fd (docs/spec/vfio-user.md 4).
            *("-object", f"memory-backend-memfd,share=on,id=mem,size={self.memory}M"),
            *("-machine", "q35,memory-backend=mem" + ("" if _tcg() else ",kernel-irqchip=split")),
            *("-serial", f"file:{self._job}/console"),
            *("-chardev", f"socket,id=agent,fd={agent_fd}"),
            *("-kernel", str(image), "-initrd", str(initramfs)),
        ]
        # A busy host can starve the emulated timer, and with interrupt remapping the kernel's test
        # of it ends in a panic: no_timer_check.
        command_line = ["console=ttyS0 panic=-1 loglevel=5 random.trust_cpu=on no_timer_check"]
        command_line.append(self.append)
        if self.iommu == "intel":
            words += ["-device", "intel-iommu,caching-mode=on,intremap=on"]
            command_line.append("intel_iommu=on")
        elif self.iommu == "virtio":
            words += ["-device", "virtio-iommu-pci"]
        words += ["-device", "virtio-serial-pci,id=vs", "-device"]
        words += ["virtserialport,bus=vs.0,chardev=agent,name=agent"]
        words += _share("root", tree, ",readonly=on") + _share("job", self._job, "")
        for number, (inside, host) in enumerate(self.shares.items()):
            words += _share(f"share{number}", host, ",readonly=on")
            command_line.append(f"share=share{number}:{inside.lstrip('/')}")
        for number, path in enumerate(self.sockets):
            port = f"vf{number}"
            words += ["-device", f"pcie-root-port,id={port},chassis={16 + number}"]
            words += ["-device", vfio_user(path, port)]
        for device in self.devices:
            words += ["-device", device]
        return [*words, *self.extra, "-append", " ".join(command_line)]

    def __enter__(self) -> Guest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close()


def _tcg() -> bool:
    return "tcg" in os.environ.get("IAVFIO_GUEST_ACCEL", "tcg")


def _bounded() -> list[str]:
    """A prefix that ends QEMU after LIFE_S, or when who started it is gone."""
    return ["setpriv", "--pdeathsig", "TERM", "timeout", "-k", "5", str(LIFE_S)]


def _emulator(root: Root) -> list[str]:
    """QEMU with its own loader and libraries: it needs no chroot, so no root to run it."""
    tree = root.tree
    return [
        str(tree / "usr/lib64/ld-linux-x86-64.so.2"),
        *("--library-path", str(tree / "usr/lib/x86_64-linux-gnu")),
        str(tree / "usr/bin/qemu-system-x86_64"),
        *("-L", str(tree / "usr/share/qemu"), "-L", str(tree / "usr/share/seabios")),
        *("-L", str(tree / "usr/lib/ipxe/qemu")),
    ]


def _share(tag: str, path: Path, option: str) -> list[str]:
    local = f"local,id={tag},path={path},security_model=none,multidevs=remap{option}"
    return ["-fsdev", local, "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]
