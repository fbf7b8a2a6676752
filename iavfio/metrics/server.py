# SPDX-License-Identifier: BSD-3-Clause
"""The HTTP server that Prometheus scrapes."""

from __future__ import annotations

import errno
import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.exposition import choose_encoder

from iavfio.errors import ConfigError, IavfioError
from iavfio.metrics.collector import PortCollector
from iavfio.metrics.softvf import SoftPfCollector

ALL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # what stands for all addresses, and one of them
CANNOT_BE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)

REMEDY = "name an address of this host: --listen 127.0.0.1:9469"


def registry(software_pfs: SoftPfCollector | None = None) -> CollectorRegistry:
    """Collectors of all ports that this user may read, and of software PFs."""
    found = CollectorRegistry(auto_describe=False)
    found.register(PortCollector())
    if software_pfs is not None:
        found.register(software_pfs)
    return found


def openmetrics(metrics: CollectorRegistry) -> str:
    """All metrics as OpenMetrics text."""
    encode, _ = choose_encoder("application/openmetrics-text")
    return encode(metrics).decode()


class _Handler(WSGIRequestHandler):
    """Logs no request."""

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingMixIn, WSGIServer):
    """A thread for each request, of an address of either IP version."""

    daemon_threads = True
    timeout = 0  # handle_request takes what is there

    def __init__(self, host: str, port: int, metrics: CollectorRegistry) -> None:
        kind = socket.SOCK_STREAM
        found = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)
        self.address_family, *_, address = found[0]
        super().__init__((str(address[0]), port), _Handler)
        self.socket.setblocking(False)  # whoever called may have hung up before he is answered
        self.set_app(make_wsgi_app(metrics))

    def serve(self, end: socket.socket) -> None:
        """Serves until `end` can be read. serve_forever looks for its end twice a second only."""
        with selectors.DefaultSelector() as selector:
            selector.register(self, selectors.EVENT_READ)
            selector.register(end, selectors.EVENT_READ)
            while not any(key.fileobj is end for key, _ in selector.select()):
                self.handle_request()


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
        server = _Server(host, port, metrics)
    except ValueError as error:  # a name that the domain name system cannot have
        raise ConfigError(what, f"{host!r} is no name of a host", REMEDY) from error
    except OSError as error:
        if error.errno in CANNOT_BE or (isinstance(error.errno, int) and error.errno < 0):
            raise ConfigError(what, error.strerror or str(error), REMEDY) from error
        remedy = f"choose another port: --listen {shown}:0"
        if error.errno == errno.EADDRINUSE:
            remedy = f"end what listens there (ss -ltnp), or {remedy}"
        raise IavfioError(what, error.strerror or str(error), remedy) from error
    end, line = socket.socketpair()
    thread = threading.Thread(target=server.serve, args=(end,), daemon=True)
    with server, end:
        try:
            with line:
                thread.start()
                yield f"http://{_shown(ALL.get(host, host))}:{server.server_port}/metrics"
        finally:
            if thread.ident is not None:
                thread.join()


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host
