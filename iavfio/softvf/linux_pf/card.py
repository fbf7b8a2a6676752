# SPDX-License-Identifier: BSD-3-Clause
"""What serves VFs, as the PF's driver programmed it: i40e/card.py and ice/card.py play one each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from iavfio.linuxpf.process import Answer, What
from iavfio.softvf.linux_pf.queues import RxQueue, TxQueue, Vector
from iavfio.softvf.vf_config import FlowRule, VfConfig

Request = Callable[[What, int], Answer]  # what the PF's process is asked for, and of which VF


@dataclass(frozen=True)
class Service:
    """How a card serves one VF. `rx` and `tx` have the queues that are enabled, by number.

    `traffic` leaves the VF active and its link up: that depends on resets and on the wire, too.
    """

    pairs: int
    link_up: bool  # as the VF is told
    spoof_check: bool  # as the administrator wants it
    disabled: bool
    version: tuple[int, int]
    mac: bytes  # that the VF is told; zeros for none
    rx: dict[int, RxQueue]
    tx: dict[int, TxQueue]
    vectors: tuple[Vector, ...]
    traffic: VfConfig
    left_out: tuple[str, ...] = ()  # what was programmed and is not played, in words
    page: str = "docs/spec/pf-dialects.md 9"  # that tells of it


class Card(Protocol):
    """The hardware of one PF and its VFs."""

    @property
    def link_speeds(self) -> Mapping[int, int]:
        """The speeds of its wire in Mb/s, each with the number that its firmware has for it."""

    @property
    def limits_rate(self) -> bool:
        """Whether what is played keeps a VF to a rate."""

    def commands(self, these: Iterable[tuple[int, bytes]]) -> set[int]:
        """Carries out commands of the firmware admin queue; the VFs that they were about."""

    def reached(self, vf: int, opcode: int, payload: bytes) -> set[int]:
        """The VFs beside it whose queues a message of a VF's may have switched."""

    def flow_name(self, flow: FlowRule) -> str:
        """A flow that it wanted of the data plane, in words."""

    def service(self, vf: int, request: Request) -> Service | None:
        """How it serves a VF now; None when the PF's process does not tell."""
