# SPDX-License-Identifier: BSD-3-Clause
"""The rules for RSS that a PF holds: made, taken back, made again (docs/spec/pf-dialects.md 9)."""

from __future__ import annotations

from iavfio.errors import IavfioError, NotGranted, PfRefused
from iavfio.port.negotiation import Session
from iavfio.port.pf_state import Rule
from iavfio.port.rss import Rss
from iavfio.port.status import Tell
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


def apply_rules(rss: Rss, session: Session, tell: Tell, *, fatal: bool) -> None:
    """Makes the PF hold these rules and no others; the record is right after each request.

    A tunnel has all of its rules or none, in their order: the card takes the last one that fits.
    `fatal`: raises PfRefused or NotGranted for a rule that is refused; otherwise tells the tunnel.
    """
    held, wanted = session.held.rss_rules, rules_of(rss)
    kept: dict[str, str] = {}  # tunnels of rules that the PF did not take back, and why
    try:
        _take_back(session, [rule for rule in held if rule not in wanted], kept)
        for tunnel in TUNNELS:
            rules = [rule for rule in wanted if rule.tunnel == tunnel]
            text = ""
            try:
                _make(session, rules, kept)
            except (PfRefused, NotGranted) as refused:
                if fatal:
                    raise
                text = f"the RSS rule of {tunnel} is not in force: {reason_of(refused)}"
            tell(f"rule of {tunnel}", text)
    finally:
        for tunnel in TUNNELS:
            if tunnel in kept or all(held.values()):
                tell(f"old rule of {tunnel}", kept.get(tunnel, ""))


def _make(session: Session, rules: list[Rule], kept: dict[str, str]) -> None:
    """Makes all rules of a tunnel, unless they are there; none of them after a refusal."""
    held = session.held.rss_rules
    if all(held.get(rule) for rule in rules):
        return
    _take_back(session, [rule for rule in rules if held.get(rule)], kept)
    try:
        for rule in rules:
            held[rule] = False  # until the request is answered
            session.client.ask(ADD_RSS_CFG(rule.headers, rule.function))
            held[rule] = True
    except (PfRefused, NotGranted):
        del held[rule]
        _take_back(session, [rule for rule in rules if held.get(rule)], kept)
        raise


def _take_back(session: Session, rules: list[Rule], kept: dict[str, str]) -> None:
    held = session.held.rss_rules
    for rule in rules:
        held[rule] = False  # until the request is answered
        try:
            session.client.ask(DEL_RSS_CFG(rule.headers, rule.function))
            del held[rule]
        except (PfRefused, NotGranted) as refused:
            why = reason_of(refused)
            kept[rule.tunnel] = f"the RSS rule of {rule.tunnel} could not be taken back: {why}"


def reason_of(refused: IavfioError) -> str:
    """What was refused, and why as far as that is known."""
    return ", ".join(filter(None, (refused.what, refused.cause)))
