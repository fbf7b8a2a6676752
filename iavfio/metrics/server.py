# SPDX-License-Identifier: BSD-3-Clause
"""The HTTP server that Prometheus scrapes."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.exposition import choose_encoder

from iavfio.errors import ConfigError, IavfioError
from iavfio.metrics.collector import PortCollector
from iavfio.metrics.softvf import SoftPfCollector

ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what stands for all addresses, and one of them
CANNOT_BE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

REMEDY = "name an address of this host: --listen 127.0.0.1:9469"


def registry(software_pfs: Sequence[Path] = ()) -> CollectorRegistry:
    """Collectors of all ports that this user may read, and of the software PFs in directories."""
    found = CollectorRegistry(auto_describe=False)
    found.register(PortCollector())
    if software_pfs:
        found.register(SoftPfCollector(software_pfs))
    return found


def openmetrics(metrics: CollectorRegistry) -> str:
    """All metrics as OpenMetrics text."""
    encode, _ = choose_encoder("application/openmetrics-text")
    return encode(metrics).decode()


@contextmanager
def serving(host: str, port: int, metrics: CollectorRegistry) -> Iterator[str]:
    """Serves metrics over HTTP inside; gives the URL, whose port was chosen when `port` is 0.

    For all addresses of this host, 0.0.0.0 or ::, the URL has the one that this host has for
    itself. Raises ConfigError for an address that this host does not have, IavfioError when it
    cannot be listened at.
    """
    shown = _shown(host)
    what = f"no metrics can be served at {shown}:{port}"
    try:
        server, thread = start_http_server(port, host, metrics)
    except ValueError as error:  # a name that the domain name system cannot have
        raise ConfigError(what, f"{host!r} is no name of a host", REMEDY) from error
    except OSError as error:
        if error.errno in CANNOT_BE or (isinstance(error.errno, int) and error.errno < 0):
            raise ConfigError(what, error.strerror or str(error), REMEDY) from error
        remedy = f"choose another port: --listen {shown}:0"
        if error.errno == errno.EADDRINUSE:
            remedy = f"end what listens there (ss -ltnp), or {remedy}"
        raise IavfioError(what, error.strerror or str(error), remedy) from error
    try:
        yield f"http://{_shown(ALL.get(host, host))}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
