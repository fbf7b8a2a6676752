# SPDX-License-Identifier: BSD-3-Clause
"""The initramfs: busybox, the few modules that reach the root over 9p, and one script."""

from __future__ import annotations

import gzip
import io
import lzma
import stat
from pathlib import Path

from iavfio.linuxpf.cache import cache_dir, digest
from tests.guest.places import HERE
from tests.guest.root import Root

# virtio-iommu must come before the first device that it serves.
MODULES = ("virtio_iommu", "virtio_pci", "virtio_console", "9p", "9pnet_virtio", "overlay")


class Cpio:
    """A cpio archive in the kernel's "newc" form, deterministic."""

    def __init__(self) -> None:
        self._out = io.BytesIO()
        self._inode = 0

    def directory(self, name: str) -> None:
        """An empty directory."""
        self._entry(name, stat.S_IFDIR | 0o755, b"")

    def file(self, name: str, data: bytes, mode: int = 0o644) -> None:
        """A regular file."""
        self._entry(name, stat.S_IFREG | mode, data)

    def device(self, name: str, major: int, minor: int) -> None:
        """A character device."""
        self._entry(name, stat.S_IFCHR | 0o600, b"", (major, minor))

    def finish(self) -> bytes:
        """The whole archive."""
        self._entry("TRAILER!!!", 0, b"")
        return self._out.getvalue()

    def _entry(self, name: str, mode: int, data: bytes, node: tuple[int, int] = (0, 0)) -> None:
        self._inode += 1
        path = name.encode() + b"\0"
        fields = (self._inode, mode, 0, 0, 1, 0, len(data), 0, 0, *node, len(path), 0)
        header = b"070701" + b"".join(b"%08X" % field for field in fields)
        for part in (header + path, data):
            self._out.write(part)
            self._out.write(bytes(-self._out.tell() % 4))


def module_files(modules: Path, names: tuple[str, ...]) -> list[Path]:
    """Module files in load order, dependencies first; what is built in is left out."""
    table: dict[str, tuple[str, list[str]]] = {}
    for line in (modules / "modules.dep").read_text(encoding="ascii").splitlines():
        name, needs = line.split(":", 1)
        table[_module_name(name)] = (name, needs.split())
    order: list[str] = []
    for name in names:
        if name in table:  # otherwise it is built in, or this kernel has none
            itself, needed = table[name]
            order += [path for path in [*reversed(needed), itself] if path not in order]
    return [modules / path for path in order]


def _module_name(path: str) -> str:
    return Path(path).name.split(".ko")[0].replace("-", "_")


def build_initramfs(root: Root, release: str | None) -> Path:
    """The initramfs for one kernel release; None is a kernel with everything built in."""
    script = (HERE / "inside" / "init").read_bytes()
    path = cache_dir() / f"initramfs-{digest(root.key, str(release), script.decode())}.gz"
    if path.is_file():
        return path
    cpio = Cpio()
    for directory in ("bin", "dev", "proc", "sys", "modules", "lower", "upper", "root"):
        cpio.directory(directory)
    cpio.device("dev/console", 5, 1)
    cpio.file("bin/busybox", (root.tree / "usr/bin/busybox").read_bytes(), 0o755)
    cpio.file("init", script, 0o755)
    files = []
    if release is not None:
        files = module_files(root.tree / "usr/lib/modules" / release, MODULES)
    for number, file in enumerate(files):
        data = file.read_bytes()
        plain = lzma.decompress(data) if file.suffix == ".xz" else data
        cpio.file(f"modules/{number:02}-{_module_name(file.name)}.ko", plain)
    part = path.with_suffix(".part")
    part.write_bytes(gzip.compress(cpio.finish(), 6, mtime=0))
    part.rename(path)
    return path
