# SPDX-License-Identifier: BSD-3-Clause
"""Software PFs as metrics: what the PF counts for its VFs, on its wire, and of broken rules."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from iavfio.errors import IavfioError
from iavfio.foreign import a_list, an_object, flag, plain, whole
from iavfio.metrics.table import metrics
from iavfio.softvf.asking import Questions
from iavfio.stats import GLOBAL

if TYPE_CHECKING:
    from prometheus_client import Metric as Family

WIRE = (  # counter of the control socket's `wire`, metric, unit, help
    ("received", "received_packets", "packets", "Frames that came from the wire"),
    ("received_bytes", "received_bytes", "bytes", "Their length"),
    ("sent", "sent_packets", "packets", "Frames that left by the wire"),
    ("sent_bytes", "sent_bytes", "bytes", "Their length"),
)
SECONDS = 4.0  # of a scrape for all software PFs together: Prometheus gives up after 10
MOST_BYTES = 4 << 20  # of an answer
MOST_VFS = 1 << 12
MOST_RULES = 1 << 12
LOG_LABELS = ("vf", "kind", "rule")
WIRE_DROPS = {
    "link_down": "came while the wire was down",
    "bad_length": "shorter than an Ethernet header, or too long for the switch",
    "unmatched": "for no VF",
    "not_sent": "the wire did not take it",
}


class SoftPfCollector(Collector):
    """Asks the control socket in each directory at each scrape."""

    def __init__(self, directories: Sequence[Path]) -> None:
        self._directories = {_label(each): each for each in directories}
        self.failures: tuple[IavfioError, ...] = ()  # of the newest scrape

    def collect(self) -> Iterator[Family]:
        """The metric families; a software PF that does not answer has `iavfio_softvf_up` 0.

        Those that were not asked yet share the time that is left: one that is silent costs the
        others nothing.
        """
        up = GaugeMetricFamily(
            "iavfio_softvf_up", "Whether the software PF answers", labels=("pf",)
        )
        answers: dict[str, dict[str, Any]] = {}
        failures: list[IavfioError] = []
        end = time.monotonic() + SECONDS
        for asked, (name, directory) in enumerate(self._directories.items()):
            share = (end - time.monotonic()) / (len(self._directories) - asked)
            try:
                answers[name] = _answers(directory, Questions(share, MOST_BYTES))
            except (IavfioError, LookupError, ValueError) as error:
                failures.append(_failure(directory, error))
                up.add_metric((name,), 0)
            else:
                up.add_metric((name,), 1)
        self.failures = tuple(failures)
        yield up
        yield from _of_vfs(answers)
        yield from _of_wires(answers)
        yield _violations(answers)


def _label(directory: Path) -> str:
    """Returns the directory's path, which may hold any bytes, as a text that can be sent."""
    return str(directory).encode("utf-8", "replace").decode()


def _failure(directory: Path, error: Exception) -> IavfioError:
    """Why a software PF has no metrics."""
    if isinstance(error, IavfioError):
        return error
    return IavfioError(
        f"what answers at {directory} tells no counters",
        f"{type(error).__name__}: {error}",
        "it is no software PF, or one of another version of iavfio: see what serves it: ss -xlp",
    )


def _answers(directory: Path, questions: Questions) -> dict[str, Any]:
    """All that is shown of a software PF; LookupError or ValueError for odd answers."""

    def ask(command: str, key: str, **arguments: Any) -> Any:
        return questions.ask(directory, command, **arguments)[key]

    vfs = [_vf(an_object(each)) for each in a_list(ask("info", "vfs"), MOST_VFS)]
    _check_unlike([vf["index"] for vf in vfs])
    stats = [an_object(ask("stats", "stats", vf=vf["index"])) for vf in vfs]
    wire = an_object(ask("wire", "wire"))
    log = [_broken(an_object(each)) for each in a_list(ask("log", "counts"), MOST_RULES)]
    _check_unlike([tuple(each[name] for name in LOG_LABELS) for each in log])
    wanted = (*(each[0] for each in WIRE), *WIRE_DROPS)
    return {
        "vfs": vfs,
        "stats": [{each.name: whole(of[each.name]) for each in GLOBAL} for of in stats],
        "wire": {name: whole(wire[name]) for name in wanted},
        "log": log,
    }


def _vf(told: dict[str, Any]) -> dict[str, Any]:
    return {
        "index": whole(told["index"], 0, MOST_VFS),
        "connected": flag(told["connected"]),
        "resets": whole(told["resets"]),
    }


def _broken(told: dict[str, Any]) -> dict[str, Any]:
    """A rule that was broken, and how often; the number of the wire is -1."""
    labels = {name: plain(told[name]) for name in LOG_LABELS if name != "vf"}
    return labels | {"vf": str(whole(told["vf"], -1, MOST_VFS)), "count": whole(told["count"])}


def _check_unlike(labels: Sequence[object]) -> None:
    """Two samples with the same labels would cost Prometheus the whole scrape."""
    if len(set(labels)) != len(labels):
        raise ValueError("something is told twice")


def _of_vfs(answers: dict[str, dict[str, Any]]) -> Iterator[Family]:
    """The same counters as a port's, seen from the PF."""
    labels = ("pf", "vf")
    connected = GaugeMetricFamily(
        "iavfio_softvf_vf_connected", "Whether a driver has the VF open", labels=labels
    )
    resets = CounterMetricFamily("iavfio_softvf_vf_resets", "Resets of the VF", labels=labels)
    for pf, answer in answers.items():
        for vf in answer["vfs"]:
            whose = (pf, str(vf["index"]))
            connected.add_metric(whose, float(vf["connected"]))
            resets.add_metric(whose, vf["resets"])
    yield from (connected, resets)
    for metric in metrics():
        if metric.block != "vf":
            continue
        reasons = ("reason",) if "reason" in metric.labels else ()
        family = CounterMetricFamily(
            metric.name.replace("iavfio_vf_", "iavfio_softvf_vf_"),
            metric.help,
            labels=(*labels, *reasons),
            unit=metric.unit,
        )
        for pf, answer in answers.items():
            for vf, stats in zip(answer["vfs"], answer["stats"], strict=True):
                for reason, name in metric.counters.items():
                    behind = (reason,) if reason else ()
                    family.add_metric((pf, str(vf["index"]), *behind), stats[name])
        yield family


def _of_wires(answers: dict[str, dict[str, Any]]) -> Iterator[Family]:
    for name, shown, unit, text in WIRE:
        family = CounterMetricFamily(f"iavfio_softvf_wire_{shown}", text, labels=("pf",), unit=unit)
        for pf, answer in answers.items():
            family.add_metric((pf,), answer["wire"][name])
        yield family
    reasons = "; ".join(f"{reason}: {text}" for reason, text in WIRE_DROPS.items())
    lost = CounterMetricFamily(
        "iavfio_softvf_wire_dropped_packets",
        f"Frames that were lost at the wire by reason. {reasons}",
        labels=("pf", "reason"),
        unit="packets",
    )
    for pf, answer in answers.items():
        for reason in WIRE_DROPS:
            lost.add_metric((pf, reason), answer["wire"][reason])
    yield lost


def _violations(answers: dict[str, dict[str, Any]]) -> Family:
    family = CounterMetricFamily(
        "iavfio_softvf_violations",
        "Rules that drivers broke, by the section that has the rule",
        labels=("pf", *LOG_LABELS),
    )
    for pf, answer in answers.items():
        for each in answer["log"]:
            family.add_metric((pf, *(each[name] for name in LOG_LABELS)), each["count"])
    return family
