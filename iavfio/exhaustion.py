# SPDX-License-Identifier: BSD-3-Clause
"""When the process has run into a limit: which one, how high it is, and how it is raised."""

from __future__ import annotations

import errno
import resource

from iavfio.errors import IavfioError

RAISE_ADDRESS_SPACE = "raise the limit: ulimit -v unlimited, or LimitAS= in systemd"
MIB = 1 << 20
LEAST_ADDRESS_SPACE = 256 * MIB  # a driver with NumPy, its buffers and its threads


def require_address_space() -> None:
    """Raises IavfioError when this process may not have the addresses that a port takes.

    This comes before NumPy is imported, which ends the process when it cannot have them.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY and soft < LEAST_ADDRESS_SPACE:
        raise IavfioError(
            "there is not enough address space for a port",
            f"this process may have {soft // MIB} MiB (RLIMIT_AS); a port takes at least "
            f"{LEAST_ADDRESS_SPACE // MIB}",
            RAISE_ADDRESS_SPACE,
        )


def exhaustion(error: BaseException, what: str = "") -> IavfioError | None:
    """The error in words when a limit of this process or host is behind it, else None.

    `what` says what could not be done because of that.
    """
    code = error.errno if isinstance(error, OSError) else 0
    if code == errno.EMFILE:
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return IavfioError(
            what or "too many files are open",
            f"Too many open files: this process may have {soft} (RLIMIT_NOFILE), and has them",
            f"raise the limit: ulimit -n {max(4096, 2 * soft)}, or LimitNOFILE= in systemd",
        )
    if code == errno.ENFILE:
        return IavfioError(
            what or "too many files are open",
            "Too many open files: the whole host has as many as it may",
            "raise the limit: sysctl fs.file-max",
        )
    if isinstance(error, MemoryError) or code == errno.ENOMEM or _unmapped(error):
        return _memory(error, what or "there is not enough memory")
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return thread_shortage(what or "no thread could be started")
    return None


def thread_shortage(what: str) -> IavfioError:
    """The error for a thread that could not start; pthread_create says EAGAIN for any limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        return _address_space(what, soft)
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    user = "" if most == resource.RLIM_INFINITY else f" (this user's RLIMIT_NPROC is {most})"
    return IavfioError(
        what,
        f"no thread is left to its user or its control group{user}",
        "raise the limit: ulimit -u, TasksMax= in systemd, or pids.max of the container",
    )


def _unmapped(error: BaseException) -> bool:
    """An extension that the loader could not map; Python calls every such failure ImportError."""
    text = str(error)
    return isinstance(error, ImportError) and (
        "failed to map" in text or "cannot allocate" in text.lower() or "cannot map" in text
    )


def _memory(error: BaseException, what: str) -> IavfioError:
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    if soft != resource.RLIM_INFINITY:
        return _address_space(what, soft)
    cause = error.strerror if isinstance(error, OSError) else str(error)
    return IavfioError(
        what,
        cause or "the host has none left",
        "free memory, or take less of it: a smaller pool, fewer VFs",
    )


def _address_space(what: str, soft: int) -> IavfioError:
    return IavfioError(
        what,
        f"the address space of this process is limited to {soft // MIB} MiB (RLIMIT_AS)",
        RAISE_ADDRESS_SPACE,
    )
