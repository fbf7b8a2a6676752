# SPDX-License-Identifier: BSD-3-Clause
"""The port, its device, its PF and its link."""

from __future__ import annotations

from iavfio.port.facts import HOST, Facts, Finding

SAMPLES_SILENT = 5.0  # seconds: an older sample of a running port means that the PF is silent


def lost(f: Facts) -> Finding | None:
    """The device is gone."""
    if not f.lost:
        return None
    return Finding(
        "device lost",
        "the device does not answer any more",
        "its registers read all ones, or its server hung up",
        "close the port; open it again when the VF is back (the host's dmesg says why it went)",
    )


def not_running(f: Facts) -> Finding | None:
    """The port is stopped, has failed, is being reset or is closed, or its program has ended."""
    if f.closed:
        again = "open it again: iavfio.open(...)"
        return Finding("not running", "the port is closed", f.reason, again)
    if f.counts.state == "running" and not f.reason:
        return None
    remedy = {
        "stopped": "call port.start()",
        "failed": "port.recover(), or close the port and open it again",
        "dead": "start its program again; iavfio stats --clean removes what it left",
    }.get(f.counts.state, "wait until it is running")
    return Finding(
        "not running",
        f"the port is {f.counts.state}",
        f.reason or f"its state in the stats segment is {f.counts.state}",
        remedy,
    )


def pf_closes(f: Facts) -> Finding | None:
    """The PF's driver has said that it goes."""
    if not f.closing:
        return None
    return Finding(
        "PF closes",
        "the PF's driver goes away: the VF works no longer then",
        "it has sent PF_DRIVER_CLOSE",
        "when the host has loaded the driver again: port.recover(), or open the port again",
    )


def link(f: Facts) -> Finding | None:
    """The link is down."""
    if f.counts.link_up:
        return None
    return Finding(
        "link down",
        "the PF says that the link is down: nothing is sent or received",
        "the last LINK_CHANGE event",
        f"{HOST} state auto; look at the PF's own link and cable "
        '(a software PF: {"command": "link", "vf": N, "state": "auto"})',
    )


def pf_silent(f: Facts) -> Finding | None:
    """The PF does not answer."""
    age = f.counts.age
    if not f.pf_error and (age is None or age < SAMPLES_SILENT):
        return None
    return Finding(
        "PF silent",
        "the PF does not answer this VF",
        f.pf_error or f"its last answer to GET_STATS is {age:.0f} s old",
        "look at the host's dmesg: i40e is silent after malicious driver detection; "
        "port.reset(), or an FLR by opening the device again, ends it",
    )
