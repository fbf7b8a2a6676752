# SPDX-License-Identifier: BSD-3-Clause
"""A private view of the package archive: the host's own mirror, another release."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from iavfio.linuxpf.cache import LabError, Unavailable, call

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
BACKPORTS = "trixie-backports"


def mirror() -> str:
    """URI of the Debian archive that this host's apt is set up with."""
    fields = "$(ORIGIN)|$(LABEL)|$(REPO_URI)"
    try:
        text = subprocess.run(
            ["apt-get", "indextargets", "--format", fields],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise Unavailable("this host has no apt: the lab is built from Debian packages") from error
    rows = [line.split("|", 2) for line in text.splitlines() if line.count("|") == 2]
    for origin, label, uri in rows:
        if (origin, label) == ("Debian", "Debian") or uri.rstrip("/").endswith("/debian"):
            return uri.rstrip("/")
    raise Unavailable(
        "this host's apt knows no Debian archive: run 'apt-get update', or use a Debian host"
    )


def sources(suites: Sequence[str]) -> str:
    """A sources.list of these suites. Raises Unavailable without an archive or its keyring."""
    if not KEYRING.exists():
        raise Unavailable(f"{KEYRING} is missing: apt-get install debian-archive-keyring")
    base = mirror()
    return "".join(f"deb [signed-by={KEYRING}] {base} {suite} main\n" for suite in suites)


class Archive:
    """apt of these suites, with its own state under `home`; it installs nothing."""

    def __init__(self, home: Path, suites: Sequence[str], preferences: str = "") -> None:
        self.home = home
        for part in ("lists/partial", "cache/archives/partial", "debs"):
            (home / part).mkdir(parents=True, exist_ok=True)
        (home / "status").touch()
        (home / "sources.list").write_text(sources(suites), encoding="ascii")
        (home / "preferences").write_text(preferences, encoding="ascii")
        self._options = [
            f"-oDir::Etc::sourcelist={home}/sources.list",
            "-oDir::Etc::sourceparts=/dev/null",
            f"-oDir::Etc::preferences={home}/preferences",
            "-oDir::Etc::preferencesparts=/dev/null",
            f"-oDir::State::lists={home}/lists",
            f"-oDir::State::status={home}/status",
            f"-oDir::Cache={home}/cache",
            "-oAPT::Architecture=amd64",
            "-oAPT::Sandbox::User=root",
            "-oAcquire::Retries=3",
        ]

    @property
    def listed(self) -> bool:
        """Whether package lists have been fetched, at whatever time."""
        return any((self.home / "lists").glob("*Packages*"))

    def update(self, log: Path) -> None:
        """Fetches the package lists. Raises Unavailable when the archive cannot be reached."""
        # Without it apt takes a mirror that does not answer for a warning, and keeps what it has.
        strict = "-oAPT::Update::Error-Mode=any"
        try:
            call(["apt-get", *self._options, strict, "update", "-q"], log=log, timeout=300)
        except LabError as error:
            raise Unavailable(
                "the package archive cannot be reached, try again when this host's mirror answers: "
                f"{error}"
            ) from error

    def versions(self, package: str) -> dict[str, str]:
        """Suite to version of a package."""
        text = self._query("madison", package)
        found: dict[str, str] = {}
        for line in text.splitlines():
            cells = [cell.strip() for cell in line.split("|")]
            if len(cells) == 3 and "/main" in cells[2] and "Packages" in cells[2]:
                suite = cells[2].split()[1].split("/")[0]
                found.setdefault(suite, cells[1])  # madison lists the newest first
        return found

    def depends(self, package: str, version: str) -> list[str]:
        """Names of the packages that one version depends on."""
        text = self._query("depends", f"{package}={version}")
        marks = [line.strip().lstrip("|") for line in text.splitlines()]
        return [mark.split(": ", 1)[1] for mark in marks if mark.startswith("Depends: ")]

    def download(self, packages: list[str], log: Path) -> list[Path]:
        """Fetches packages ("name=version") into debs/; returns their files."""
        debs = self.home / "debs"
        call(
            ["apt-get", *self._options, "download", "-q", *packages], log=log, timeout=900, cwd=debs
        )
        files = []
        for package in packages:
            name, version = package.split("=", 1)
            escaped = version.replace(":", "%3a")
            files.append(next(debs.glob(f"{name}_{escaped}_*.deb")))
        return files

    def _query(self, *words: str) -> str:
        done = subprocess.run(
            ["apt-cache", *self._options, *words],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        return done.stdout
