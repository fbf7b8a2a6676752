# SPDX-License-Identifier: BSD-3-Clause
"""The rules for RSS that a PF holds: made, taken back, made again (docs/spec/pf-dialects.md 9)."""

from __future__ import annotations

from collections.abc import Callable

from iavfio.errors import NotGranted, PfRefused
from iavfio.port.negotiation import Session
from iavfio.port.pf_state import Rule
from iavfio.port.rss import Rss
from iavfio.port.tunnels import TUNNELS
from iavfio.virtchnl.messages.rss import HashFunction
from iavfio.virtchnl.messages.rss_rules import ADD_RSS_CFG, DEL_RSS_CFG


def rules_of(rss: Rss) -> list[Rule]:
    """The rules that the settings ask for."""
    function = HashFunction.SYMMETRIC_TOEPLITZ if rss.symmetric else HashFunction.TOEPLITZ
    return [
        Rule(name, pattern, function)
        for name, patterns in TUNNELS.items()
        if name in rss.tunnels
        for pattern in patterns
    ]


def apply_rules(rss: Rss, session: Session, note: Callable[[str], None], *, fatal: bool) -> None:
    """Makes the PF hold these rules and no others; the record is right after each request.

    `fatal`: raises PfRefused or NotGranted for a rule that is refused; otherwise notes the tunnel.
    """
    held, wanted = session.held.rss_rules, rules_of(rss)
    for rule in [rule for rule in held if rule not in wanted]:
        held[rule] = False  # until the request is answered
        try:
            session.client.ask(DEL_RSS_CFG(rule.headers, rule.function))
            del held[rule]
        except (PfRefused, NotGranted) as refused:
            note(f"the RSS rule of {rule.tunnel} could not be taken back: {_why(refused)}")
    refusals: dict[str, str] = {}
    for rule in wanted:
        if held.get(rule):
            continue
        held[rule] = False
        try:
            session.client.ask(ADD_RSS_CFG(rule.headers, rule.function))
            held[rule] = True
        except (PfRefused, NotGranted) as refused:
            del held[rule]
            if fatal:
                raise
            refusals.setdefault(rule.tunnel, _why(refused))
    for tunnel, why in refusals.items():
        note(f"the RSS rule of {tunnel} is not in force: {why}")


def _why(refused: PfRefused | NotGranted) -> str:
    return ", ".join(filter(None, (refused.what, refused.cause)))
