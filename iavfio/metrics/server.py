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

CANNOT_BE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


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

    Raises ConfigError for an address that this host does not have, IavfioError when it cannot be
    listened at.
    """
    shown = f"[{host}]" if ":" in host else host
    try:
        server, thread = start_http_server(port, host, metrics)
    except OSError as error:
        what = f"no metrics can be served at {shown}:{port}"
        if error.errno in CANNOT_BE or (isinstance(error.errno, int) and error.errno < 0):
            remedy = "name an address of this host: --listen 127.0.0.1:9469"
            raise ConfigError(what, error.strerror or str(error), remedy) from error
        remedy = f"choose another port: --listen {shown}:0"
        if error.errno == errno.EADDRINUSE:
            remedy = f"end what listens there (ss -ltnp), or {remedy}"
        raise IavfioError(what, error.strerror or str(error), remedy) from error
    try:
        yield f"http://{shown}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
