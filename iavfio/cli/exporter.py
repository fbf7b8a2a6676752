# SPDX-License-Identifier: BSD-3-Clause
"""`iavfio exporter`: the counters of all running ports as metrics for Prometheus."""

from __future__ import annotations

import time
from pathlib import Path

import click

from iavfio.cli import service
from iavfio.cli.group import Command
from iavfio.cli.listen import Listen
from iavfio.cli.outcome import DONE, TROUBLE
from iavfio.cli.printing import note, wrapped
from iavfio.cli.runtime_dir import runtime_dir_option
from iavfio.errors import IavfioError

STATUS = (
    "Example: iavfio exporter --listen 127.0.0.1:9469. Exit status: 0 done; 1 it cannot listen "
    "there, a software PF does not answer --once, or prometheus_client is not installed; 2 wrong "
    "use; 130 Ctrl-C; 143 SIGTERM."
)


@click.command("exporter", cls=Command, needs=("iavfio.stats",), status=STATUS)
@click.option(
    "--listen",
    type=Listen(),
    default="127.0.0.1:9469",
    show_default=True,
    help="Where Prometheus finds the metrics, at /metrics; port 0: a free one; :PORT: all IPv4 "
    "addresses of this host, [::]:PORT: those of IPv6 too.",
)
@click.option(
    "--softvf",
    "software_pfs",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    multiple=True,
    metavar="DIR",
    help="Add the software PF that serves DIR; may be given several times.",
)
@click.option("--once", is_flag=True, help="Print the metrics as OpenMetrics text, and end.")
@runtime_dir_option
def command(listen: tuple[str, int], software_pfs: tuple[Path, ...], once: bool) -> int:
    """Serve the counters of all running ports that this user may read as metrics for Prometheus.

    Ports are read at each scrape, from their shared segments: they are not disturbed, those that
    come later are found, and those that end are left out.
    """
    from iavfio.stats.runtime import check_readable

    check_readable()
    try:
        from iavfio.metrics.server import ALL, openmetrics, registry, serving
        from iavfio.metrics.softvf import SoftPfCollector
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "prometheus_client":
            raise
        raise IavfioError(
            "metrics need the package prometheus_client",
            "it is not installed; it comes with the extra iavfio[metrics]",
            "install it: pip install 'prometheus_client>=0.20'",
        ) from error
    pfs = SoftPfCollector(software_pfs) if software_pfs else None
    metrics = registry(pfs)
    if once:
        click.echo(openmetrics(metrics), nl=False)
        failures = () if pfs is None else pfs.failures
        for failure in failures:
            note(wrapped(f"iavfio: {failure.command_text}"))
        return TROUBLE if failures else DONE
    host, port = listen
    with serving(host, port, metrics) as url:
        others = " and at all other addresses of this host" if host in ALL else ""
        click.echo(f"serving metrics at {url}{others}")
        with service.running(f"serving metrics at {url}"):
            while True:
                time.sleep(1.0)  # until a signal ends it
