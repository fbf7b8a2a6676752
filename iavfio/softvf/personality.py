# SPDX-License-Identifier: BSD-3-Clause
"""Which card and which PF driver the software VF imitates (docs/spec/field-evidence.md 10).

A personality is a value: what the PCI function shows, and the dialect that its PF's driver speaks.
`named("x710", max_mtu=0)` makes one; `parse_option("max_mtu=0")` reads an override from text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, replace
from types import MappingProxyType
from typing import Literal

from iavfio.arguments import real, unknown, whole
from iavfio.errors import ConfigError, Remedy

BAR_MIN = 0x10000
BAR_MAX = 0x400000
QUEUE_LIMIT = 16
DELAY_LIMIT = 1_000_000  # microseconds
VECTOR_LIMIT = 65
Tunnel = Literal["vxlan", "geneve"]
TUNNELS = ("vxlan", "geneve")
TUNNEL_LIMIT = 16
HEXADECIMAL = re.compile("0x[0-9a-fA-F]{1,16}")
PORT = re.compile("[0-9]{1,5}")
NO_TRUST = ("an NPAR/MFP port has no VFs that are trusted", "i40e refuses to set trust there")
LINK_SPEEDS = (100, 1000, 2500, 5000, 10000, 20000, 25000, 40000, 50000, 100000)


@dataclass(frozen=True)
class Personality:
    """What the VF looks like and how its PF behaves. Speeds in Mb/s, times in milliseconds."""

    # What the PCI function shows (docs/spec/registers.md 1).
    name: str
    device_id: int
    revision: int
    vendor: int = 0x8086
    subsystem_vendor: int = 0x8086
    subsystem_id: int = 0
    bar0_size: int = 0x10000
    memory_gib: int = 64  # that each client may have mapped
    bar3_size: int = 0x4000
    msix_count: int = 5
    msix_offset: int = 0x70
    pba_offset: int = 0x2000
    pcie_offset: int = 0xA0
    aer_offset: int = 0x100
    ari_offset: int = 0x150
    tph_offset: int = 0x1A0
    acs_offset: int = 0x1D0
    # What the silicon does.
    e810_itr: bool = False
    flex: bool = False
    wb_group: int = 4
    wb_on_itr: bool = False
    causes_latch: bool = False  # of VFINT_ICR01 (docs/spec/registers.md 5.2)
    tails_stay: bool = False  # over resets (docs/spec/registers.md 8)
    rxdids_unknown: bool = False  # until a VF has asked, as ice of Linux before 6.14 has it
    rxdid_written: int = 0  # whatever was configured; 0 = what was
    rx_tail_step: int = 1  # QRX_TAIL counts in multiples of it (docs/spec/registers.md 4)
    expanded_pctypes: bool = False
    # How the PF's driver behaves.
    driver: str = "i40e"
    pf_kernel: str = "6.12"  # of Linux, or oot: the driver that Intel publishes
    num_queue_pairs: int = 4
    max_queue_pairs: int = QUEUE_LIMIT
    queue_pool: int = 256
    fragmented: bool = False
    max_vectors: int = 5
    max_mtu: int = 9728
    max_frame: int = 9728
    max_ring: int = 4096
    vsi_id_base: int = 10
    qset_handle: int = 4
    mac: str = "set"
    uso_mac_rule: bool = True
    trusted: bool = False
    spoof_check: bool = True
    link_speed: int = 10000
    delay_us: int = 0
    max_macs: int = 18
    max_vlans: int = 16
    strip_default: bool = True
    true_promisc: bool = False
    vlan_pruning: bool = False
    udp_tunnel: str = ""
    ddp: str = "os"
    double_vlan: bool = False
    # How long the PF takes, and where one PF differs from another.
    reset_ms: float = 60.0
    notice_lead_ms: float = 1.0
    completed_ms: float = 0.0
    answer_ms: float = 0.0
    notify: bool = True
    notices: int = 1
    reset_messages: str = "answer"
    resources_error_ms: float = 0.0
    resources_once: bool = True
    mfp: bool = False
    drop_first: int = 0
    failure_limit: int = 0
    strip_refused: bool = False
    hashcfg_refused: bool = False
    mdd_auto_reset: bool = False

    @property
    def is_ice(self) -> bool:
        """Whether the PF's driver is ice; otherwise it is i40e."""
        return self.driver == "ice"

    @property
    def trust_exists(self) -> bool:
        """Whether the administrator may set a VF's trust: i40e_ndo_set_vf_trust has none in MFP."""
        return self.is_ice or not self.mfp

    @property
    def is_ice_6_1(self) -> bool:
        """Whether the PF's driver is ice of Linux 6.1 (docs/spec/pf-dialects.md 2, 5)."""
        return self.is_ice and self.pf_kernel == "6.1"

    @property
    def spares_resets(self) -> bool:
        """Whether trust and a link that is set again reset a VF only when there is need."""
        return self.pf_kernel == "7.x"

    @property
    def tunnels(self) -> dict[int, Tunnel]:
        """The tunnels that the host has from the start, by their UDP ports."""
        found: dict[int, Tunnel] = {}
        for part in filter(None, self.udp_tunnel.split(",")):
            kind, _, port = part.partition(":")
            found[int(port)] = "geneve" if kind == "geneve" else "vxlan"
        return found

    def vsi_id(self, vf: int) -> int:
        """The number of a VF's VSI in messages (docs/spec/virtchnl.md 1).

        Kernel ice calls the VSI of every VF 1; the other PFs tell the hardware's number.
        """
        return self.vsi_id_base + vf if self.vsi_id_base > 1 else 1

    def default_mac(self, vf: int) -> bytes:
        """A locally administered address: the same in each run, another one for each VF."""
        return bytes((0x02, 0x1A, 0xF0, self.device_id & 0xFF, vf >> 8 & 0xFF, vf & 0xFF))


_CARDS: Mapping[str, Personality] = MappingProxyType(
    {
        "e810": Personality(
            name="e810",
            device_id=0x1889,
            revision=0x02,
            bar0_size=0x20000,
            msix_count=17,
            ari_offset=0x148,
            acs_offset=0x1B0,
            e810_itr=True,
            flex=True,
            wb_group=2,
            wb_on_itr=True,
            rx_tail_step=8,
            expanded_pctypes=True,
            driver="ice",
            num_queue_pairs=16,
            max_vectors=17,
            max_ring=8160,
            vsi_id_base=1,
            qset_handle=0,
            mac="zero",
            uso_mac_rule=False,
            link_speed=100000,
            max_vlans=8,
            reset_ms=30.0,
        ),
        "x710": Personality(name="x710", device_id=0x154C, revision=0x02, max_ring=8160),
        "x722": Personality(
            name="x722",
            device_id=0x37CD,
            revision=0x09,
            wb_group=2,
            wb_on_itr=True,
            expanded_pctypes=True,
        ),
    }
)
NAMES: tuple[str, ...] = tuple(_CARDS)

Value = bool | int | float | str


def _bool(text: str) -> bool:
    words = {"on": True, "yes": True, "true": True, "1": True}
    words |= {"off": False, "no": False, "false": False, "0": False}
    try:
        return words[text]
    except KeyError:
        raise ValueError("on or off") from None


def _choice(*words: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in words:
            raise ValueError(" or ".join(words))
        return text

    return parse


def _range(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        try:
            value = int(text, 16) if HEXADECIMAL.fullmatch(text) else whole(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise ValueError(f"an integer from {low} to {high}")
        return value

    return parse


def _one_of(*values: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if text not in map(str, values):
            raise ValueError("one of " + ", ".join(map(str, values)))
        return int(text)

    return parse


def _milliseconds(text: str) -> float:
    try:
        value = real(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 60_000:
        raise ValueError("milliseconds from 0 to 60000")
    return value


def _bar(text: str) -> int:
    number, unit = (text[:-1], 1024) if text[-1:] == "K" else (text, 1)
    try:
        size = (int(number, 16) if HEXADECIMAL.fullmatch(number) else whole(number)) * unit
    except ValueError:
        size = 0
    if not BAR_MIN <= size <= BAR_MAX or size & (size - 1):
        raise ValueError("a power of two from 64K to 4096K")
    return size


def _tunnels(text: str) -> str:
    parts = [part.strip() for part in text.split(",")] if text not in ("", "none") else []
    for part in parts:
        kind, _, port = part.partition(":")
        if kind not in TUNNELS or not PORT.fullmatch(port) or not 0 < int(port) < 1 << 16:
            raise ValueError("none, or pairs such as vxlan:4789,geneve:6081")
    if len({part.partition(":")[2] for part in parts}) < len(parts) or len(parts) > TUNNEL_LIMIT:
        raise ValueError(f"at most {TUNNEL_LIMIT} tunnels, each on a UDP port of its own")
    return ",".join(parts)


@dataclass(frozen=True)
class Option:
    """An override that `named` and `--option` take: how its text is read, and what it means."""

    parse: Callable[[str], Value]
    text: str

    def __str__(self) -> str:
        return self.text

    @property
    def driver(self) -> str:
        """The PF driver that alone has it, with which its text begins: ice, i40e; "" for any."""
        before, colon, _ = self.text.partition(":")
        return before if colon and before in ("ice", "i40e") else ""


OPTIONS: Mapping[str, Option] = MappingProxyType(
    {
        "pf_kernel": Option(
            _choice("6.1", "6.12", "7.x", "oot"),
            "whose PF driver answers: of Linux 6.1, 6.12 or 7.x, or oot, Intel's own",
        ),
        "vectors": Option(_range(2, VECTOR_LIMIT), "MSI-X vectors, vector 0 included: 5, 17, 65"),
        "num_queue_pairs": Option(_range(1, QUEUE_LIMIT), "queue pairs at the start"),
        "max_queue_pairs": Option(_range(1, QUEUE_LIMIT), "most that REQUEST_QUEUES gets"),
        "queue_pool": Option(_range(1, 4096), "queue pairs of the PF for all VFs"),
        "fragmented": Option(_bool, "i40e: REQUEST_QUEUES finds no contiguous queues"),
        "bar0_size": Option(_bar, "64K, 128K, 256K"),
        "memory_gib": Option(
            _range(1, 1024),
            "GiB of memory that each client may map, 1 to 1024; each may cost 2 MiB of page tables",
        ),
        "revision": Option(_range(0, 255), "PCI revision"),
        "max_mtu": Option(_range(0, 16383), "largest frame told to the VF, 0 = unknown"),
        "max_ring": Option(_range(64, 8160), "longest ring"),
        "mac": Option(_choice("zero", "set"), "default MAC: all zero, or chosen by the PF"),
        "trusted": Option(_bool, "VFs are trusted from the start"),
        "spoof_check": Option(_bool, "source MAC check"),
        "link_speed": Option(_one_of(*LINK_SPEEDS), "Mb/s"),
        "delay_us": Option(
            _range(0, DELAY_LIMIT),
            "microseconds that what a VF sends takes longer to the switch, 0 to 1000000",
        ),
        "wb_group": Option(_one_of(2, 4, 8), "Rx descriptors written back together"),
        "causes_latch": Option(
            _bool, "X710, X722: a cause that stays in VFINT_ICR01 hides the next, also over a reset"
        ),
        "tails_stay": Option(
            _bool, "tails keep what was written over a VF's reset, as the cards' may"
        ),
        "rxdids_unknown": Option(
            _bool,
            "ice: no descriptor format is taken before a VF of the PF has asked for them (Linux "
            "before 6.14); pf_kernel=6.12 sets it",
        ),
        "rxdid_written": Option(
            _one_of(0, 1, 2, 6, *range(16, 26)),
            "E810: format of receive descriptors, whatever was configured; 0 = as configured",
        ),
        "strip_default": Option(_bool, "VLAN stripping after a reset (plain VLAN capability)"),
        "double_vlan": Option(_bool, "ice: the device is in double VLAN mode"),
        "true_promisc": Option(
            _bool,
            "ice: promiscuous VFs get all frames (vf-true-promisc-support)",
        ),
        "vlan_pruning": Option(
            _bool,
            "VLAN filters hold back what is received, on i40e of untrusted VFs (vf-vlan-pruning)",
        ),
        "udp_tunnel": Option(_tunnels, "tunnels of the host: vxlan:4789,geneve:6081, or none"),
        "ddp": Option(
            _choice("os", "comms"),
            "ice: the card's DDP package: that of linux-firmware, or the one whose parser knows "
            "GTP-U, PPPoE, L2TPv3, ESP, AH and PFCP, which rules for RSS need",
        ),
        "reset_ms": Option(_milliseconds, "from the start of a reset to VFACTIVE"),
        "notice_lead_ms": Option(_milliseconds, "from RESET_IMPENDING to the reset"),
        "completed_ms": Option(_milliseconds, "how long RSTAT says COMPLETED before VFACTIVE"),
        "answer_ms": Option(_milliseconds, "how long the PF thinks before each answer"),
        "notify": Option(_bool, "RESET_IMPENDING before resets of the PF"),
        "notices": Option(_range(1, 16), "how many RESET_IMPENDING events"),
        "reset_messages": Option(
            _choice("answer", "wait", "drop"),
            "ice: messages during a reset get ERR_PARAM at once, an answer after it, or nothing",
        ),
        "resources_error_ms": Option(
            _milliseconds, "how long after a reset GET_VF_RESOURCES gets -5"
        ),
        "resources_once": Option(
            _bool, "i40e: GET_VF_RESOURCES once a reset, as from Linux 6.17 on; off: as before"
        ),
        "mfp": Option(
            _bool,
            "i40e: an NPAR/MFP port, which refuses VFs that ask for RX_POLLING, and any trust",
        ),
        "drop_first": Option(_range(0, 255), "loses the first message of this opcode, 0 = none"),
        "failure_limit": Option(
            _range(0, 1000), "invalid messages in a row that disable the VF, 0 = any; old PFs: 10"
        ),
        "strip_refused": Option(_bool, "VLAN stripping cannot be changed"),
        "hashcfg_refused": Option(_bool, "SET_RSS_HASHCFG is refused"),
        "mdd_auto_reset": Option(_bool, "an MDD event resets the VF at once"),
    }
)


def parse_option(text: str) -> tuple[str, Value]:
    """Reads `name=value`; raises ConfigError that says what would have been right."""
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    option = OPTIONS.get(name)
    if option is None:
        raise unknown("option", name, OPTIONS)
    if not equals:
        raise ConfigError(f"option {name} needs a value", remedy=f"{name}=...: {option.text}")
    try:
        return name, option.parse(value.strip())
    except ValueError as error:
        raise ConfigError(f"option {name}: {value!r} is not {error}") from None


def check_effect(name: str, options: Iterable[tuple[str, Value]]) -> None:
    """Raises ConfigError for an option that is given twice, or that changes nothing on a card.

    One that only says how the card is anyway passes.
    """
    card, seen = named(name), set()
    for key, value in options:
        if key in seen:
            raise ConfigError(f"option {key} is given twice", "", "give it once")
        seen.add(key)
        driver = OPTIONS[key].driver
        if driver not in ("", card.driver) and getattr(card, key) != value:
            cards = " or ".join(each.name for each in _CARDS.values() if each.driver == driver)
            raise ConfigError(
                f"option {key} has no effect on {name}",
                f"it is of a PF that {driver} drives, and {card.driver} drives this one",
                Remedy(
                    f"leave it out, or choose personality={cards}",
                    f"leave it out, or use --personality {cards}",
                ),
            )


def _checked(name: str, value: Value) -> Value:
    text = ("on" if value else "off") if isinstance(value, bool) else str(value)
    return parse_option(f"{name}={text}")[1]


def named(name: str, **overrides: Value) -> Personality:
    """The personality of a card, changed by overrides (see OPTIONS).

    Raises ConfigError for an unknown card or option and for values that cannot be together.
    """
    card = _CARDS.get(name)
    if card is None:
        raise ConfigError(
            f"there is no personality {name!r}", remedy=f"choose one of {', '.join(NAMES)}"
        )
    wanted = {key: _checked(key, value) for key, value in overrides.items()}
    if wanted.get("pf_kernel") == "oot":
        card = _out_of_tree(card)
    if wanted.get("pf_kernel") == "6.12" and card.is_ice:
        # Who names that kernel has its strictness.
        card = replace(card, rxdids_unknown=True)
    vectors = wanted.pop("vectors", None)
    if isinstance(vectors, int):
        card = replace(card, max_vectors=vectors, msix_count=vectors)
        if card.is_ice:  # ice gives a queue pair per vector (docs/spec/field-evidence.md 2)
            pairs = min(card.num_queue_pairs, vectors - 1)
            card = replace(card, num_queue_pairs=pairs)
    given = {field.name for field in fields(Personality)} & set(wanted)
    card = replace(card, **{key: wanted[key] for key in given})  # type: ignore[arg-type]
    if card.num_queue_pairs > card.max_queue_pairs:
        raise ConfigError(
            f"{card.num_queue_pairs} queue pairs at the start are more than the most allowed, "
            f"{card.max_queue_pairs}"
        )
    if card.trusted and not card.trust_exists:
        raise ConfigError(*NO_TRUST, "leave out trusted=on or mfp=on")
    return card


def _out_of_tree(card: Personality) -> Personality:
    if card.is_ice:
        return replace(
            card, pf_kernel="oot", vsi_id_base=9, max_vectors=65, msix_count=65, qset_handle=0
        )
    return replace(card, pf_kernel="oot", max_mtu=0, uso_mac_rule=False)
