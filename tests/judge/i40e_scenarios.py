# SPDX-License-Identifier: BSD-3-Clause
"""What is said to i40e and to the software X710: one sequence of steps by name.

Unless a scenario's name says so, it begins with GET_VF_RESOURCES.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from itertools import permutations
from types import MappingProxyType

from tests.judge.i40e_pair import PF_VSI, Step
from tests.softvf.pf.pf_rig import (
    DPDK_CAPS,
    LINUX_CAPS,
    VPP_CAPS,
    config_queues,
    irq_map,
    macs,
    pair,
    promisc,
    rss_key,
    rss_lut,
    select,
    vlans,
)

V = 10  # the VSI's number
OTHER = 11
ZERO, ALL = "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff"
MULTICAST = "01:00:5e:00:00:01"
LUT = bytes([0, 1, 2, 3] * 16)
ADQ = 0x008B0001  # capabilities with ADQ
NO_SPOOF_CHECK = Step(deed="spoofchk", value=False)


def mac(number: int) -> str:
    """A unicast address."""
    return f"02:00:00:00:01:{number:02x}"


def resources(caps: int = LINUX_CAPS) -> Step:
    """GET_VF_RESOURCES."""
    return Step(3, struct.pack("<I", caps))


def version(major: int, minor: int) -> Step:
    """VERSION."""
    return Step(1, struct.pack("<II", major, minor))


def configure(*queues: int, vsi: int = V, **keys: int) -> Step:
    """CONFIG_VSI_QUEUES of these queues, all with the same arguments."""
    return Step(6, config_queues(vsi, *(pair(vsi, queue, **keys) for queue in queues)))


def mapped(*entries: tuple[int, int, int, int, int, int]) -> Step:
    """CONFIG_IRQ_MAP."""
    return Step(7, irq_map(*entries))


def enable(rx: int, tx: int, vsi: int = V) -> Step:
    """ENABLE_QUEUES."""
    return Step(8, select(vsi, rx, tx))


def disable(rx: int, tx: int, vsi: int = V) -> Step:
    """DISABLE_QUEUES."""
    return Step(9, select(vsi, rx, tx))


def add(*addresses: str, vsi: int = V, kind: int = 2) -> Step:
    """ADD_ETH_ADDR."""
    return Step(10, macs(vsi, *addresses, kind=kind))


def delete(*addresses: str, vsi: int = V) -> Step:
    """DEL_ETH_ADDR."""
    return Step(11, macs(vsi, *addresses))


def add_vlan(*vids: int, vsi: int = V) -> Step:
    """ADD_VLAN."""
    return Step(12, vlans(vsi, *vids))


def del_vlan(*vids: int, vsi: int = V) -> Step:
    """DEL_VLAN."""
    return Step(13, vlans(vsi, *vids))


def channels(*queues: int, rate: int = 0) -> Step:
    """ENABLE_CHANNELS of so many queues each, and of that rate in Mb/s."""
    each = (struct.pack("<HHIQ", count, 0, 0, rate) for count in queues)
    return Step(30, struct.pack("<II", len(queues), 0) + b"".join(each))


def modes(flags: int, vsi: int = V) -> Step:
    """CONFIG_PROMISCUOUS_MODE."""
    return Step(14, promisc(vsi, flags))


FLR = Step(deed="flr")
ALL4 = configure(0, 1, 2, 3)
MAP4 = mapped((V, 1, 15, 15, 0, 1))
STATS = Step(15, select(V, 0, 0))
ADMIN = "02:00:00:00:02:aa"
ADMIN_MAC = Step(deed="mac", value=bytes.fromhex(ADMIN.replace(":", "")))


def _negotiation() -> dict[str, tuple[Step, ...]]:
    asked = {
        "Linux": LINUX_CAPS,
        "DPDK": DPDK_CAPS,
        "VPP": VPP_CAPS,
        "nothing": 0,
        "L2 and VLAN": 0x00010001,
        "RSS_AQ": 0x00010009,
        "RDMA": 0x000B0003,
        "ADQ": ADQ,
        "all": 0xFFFFFFFF,
        **{f"bit {bit}": 1 << bit for bit in range(32)},
    }
    found = {f"resources for {name}": (resources(caps),) for name, caps in asked.items()}
    return found | {
        "resources twice": (resources(), resources()),
        "resources after fewer": (resources(1), resources()),
        "resources of no length": (Step(3),),
        "resources of five bytes": (Step(3, bytes(5)),),
        "version 2.0": (version(2, 0), resources()),
        "version 2.0 without caps": (version(2, 0), Step(3)),
        "version 1.2": (version(1, 2), resources()),
        "version 0.0": (version(0, 0), resources()),
        "version 1.0": (version(1, 0), Step(3)),
        "version 1.0 with caps": (version(1, 0), resources()),
        "version of four bytes": (Step(1, bytes(4)),),
        "version again": (resources(), version(1, 1)),
        "reset": (resources(), Step(2), resources()),
        "reset with a payload": (resources(), Step(2, b"x"), resources()),
        "reset first": (Step(2), resources()),
        "FLR while it runs": (resources(), ALL4, MAP4, enable(15, 15), FLR, resources()),
        "configure before resources": (configure(0),),
        "map before resources": (MAP4,),
        "enable before resources": (enable(1, 1),),
        "disable before resources": (disable(1, 1),),
        "stats before resources": (STATS,),
        "MAC before resources": (add(mac(1)), resources()),
        "MAC before resources without USO": (add(mac(1)), resources(1), FLR, resources(1)),
        "MACs before resources without USO": (add(mac(1), mac(2)), resources(1), add(mac(3))),
        "primary MAC before resources without USO": (add(mac(1), kind=2), resources(1)),
        "MAC of the administrator without USO": (ADMIN_MAC, resources(1), add(ADMIN), FLR),
        **{
            f"MAC of kind {kind} before resources": (add(mac(1), kind=kind), resources(), FLR)
            for kind in range(4)
        },
        "own MAC, FLR, and no USO": (resources(), add(mac(1)), FLR, resources(1), FLR, resources()),
        "VLAN before resources": (add_vlan(5), resources()),
        "modes before resources": (modes(3),),
        "key before resources": (Step(23, rss_key(V, bytes(52))),),
        "LUT before resources": (Step(24, rss_lut(V, LUT)),),
        "hash classes before resources": (Step(25), Step(26, bytes(8))),
        "stripping before resources": (Step(27), Step(28)),
        "more queues before resources": (Step(29, struct.pack("<H", 8)), resources()),
        "channels while the spoof check is on": (resources(ADQ), channels(2, 2)),
        "channels": (NO_SPOOF_CHECK, resources(ADQ), add(mac(1)), channels(2, 2)),
        "channels of a VF with an address of its own and others": (
            *(NO_SPOOF_CHECK, resources(ADQ), add(mac(1), mac(2), kind=1), add(mac(3))),
            channels(2, 2),
        ),
        "one channel": (NO_SPOOF_CHECK, resources(ADQ), channels(4)),
        "channels that nobody can have": (
            *(NO_SPOOF_CHECK, resources(ADQ)),
            *(channels(1, 1, 1, 1, 1), channels(0), channels(5), channels(1, rate=10_001)),
        ),
        "channels that were not asked for": (NO_SPOOF_CHECK, resources(1), channels(2, 2)),
    }


def _after_resources() -> dict[str, tuple[Step, ...]]:
    good = {f"configure {n}": (configure(*range(n)),) for n in range(1, 5)}
    arguments: Mapping[str, tuple[int, ...]] = {
        "tx_len": (0, 4, 8, 4096, 4104, 8160, 8168),
        "rx_len": (0, 16, 32, 4096, 8160, 8192, 65536, 0x10020),
        "buffer": (0, 100, 127, 128, 16256, 16257),
        "frame": (0, 63, 64, 16383, 16384),
        "headwb": (1,),
        "crc": (1,),
        "rxdid": (0, 22, 255),
        "rx_queue": (1,),
        "rx_vsi": (OTHER,),
        "tx_ring": (0, 0x10001, 1 << 63),
        "rx_ring": (0, 0x20040, 1 << 63),
        "flags": (1,),
        "hdr_size": (9999,),
    }
    one = {
        f"configure {name} {value}": (configure(0, **{name: value}),)
        for name, values in arguments.items()
        for value in values
    }
    return (
        good
        | one
        | {
            "configure split": (configure(0, split=1, hdr_size=1984),),
            "configure split too long": (configure(0, split=1, hdr_size=1985),),
            "configure five of four": (configure(0, 1, 2, 3, 0),),
            "configure the same twice": (configure(0, 0),),
            "configure 17": (configure(*[0] * 17),),
            "configure queue 4": (configure(4),),
            "configure another VSI": (configure(0, vsi=OTHER),),
            "configure none": (Step(6, struct.pack("<HHI", V, 0, 0) + bytes(64)),),
            "configure too long": (Step(6, config_queues(V, pair(V, 0)) + b"\0"),),
            "configure too short": (Step(6, config_queues(V, pair(V, 0))[:-1]),),
            "configure while it runs": (ALL4, MAP4, enable(15, 15), ALL4),
            "configure on a port VLAN": (
                *(Step(deed="port_vlan", value=100), resources()),
                *(ALL4, MAP4, enable(15, 15)),
                *(configure(0, frame=longest) for longest in (64, 9000, 16379, 16380, 16383)),
            ),
            "map": (ALL4, MAP4),
            "map vector 0": (mapped((V, 0, 1, 1, 0, 0)),),
            "map vector 4": (mapped((V, 4, 1, 1, 0, 0)),),
            "map vector 5": (mapped((V, 5, 1, 1, 0, 0)),),
            "map five vectors": (mapped(*((V, v, 1, 1, 0, 0) for v in range(5))),),
            "map six vectors": (mapped(*[(V, 0, 0, 0, 0, 0)] * 6),),
            "map queue 4": (mapped((V, 1, 16, 0, 0, 0)),),
            "map queue 15": (mapped((V, 1, 0x8000, 0, 0, 0)),),
            "map ITR 9": (mapped((V, 1, 1, 1, 9, 9)),),
            "map good, then vector 9": (mapped((V, 1, 3, 3, 0, 1), (V, 9, 4, 4, 0, 1)),),
            "map a queue to two vectors": (mapped((V, 1, 3, 3, 0, 1), (V, 2, 1, 1, 0, 1)),),
            "map another VSI": (mapped((OTHER, 1, 1, 1, 0, 0)),),
            "map nothing": (Step(7, struct.pack("<H", 0) + bytes(12)),),
            "enable without a buffer": (configure(0, 1, buffer=0), enable(3, 3)),
            "enable": (ALL4, MAP4, enable(15, 15)),
            "enable unmapped": (ALL4, enable(15, 15)),
            "enable what was not configured": (MAP4, enable(1, 1)),
            "enable what stood before a refused pair": (configure(0, 1, 4), MAP4, enable(3, 3)),
            "enable none": (ALL4, MAP4, enable(0, 0)),
            "enable queue 4": (ALL4, MAP4, enable(16, 16)),
            "enable queue 16": (ALL4, MAP4, enable(1 << 16, 0)),
            "enable queues of others, then have them": (
                *(Step(29, struct.pack("<H", 1)), resources()),
                *(enable(14, 14), Step(29, struct.pack("<H", 4)), resources()),
            ),
            "enable twice": (ALL4, MAP4, enable(15, 15), enable(15, 15)),
            "enable sending only": (ALL4, MAP4, enable(0, 1)),
            "enable receiving only": (ALL4, MAP4, enable(1, 0)),
            "enable another VSI": (ALL4, MAP4, enable(1, 1, vsi=9)),
            **{
                f"{step} of the PF's own VSI": (ALL4, MAP4, enable(15, 15), add_vlan(7), step)
                for step in (
                    *(enable(1, 1, vsi=PF_VSI), disable(1, 1, vsi=PF_VSI), modes(3, vsi=PF_VSI)),
                    *(add(each, vsi=PF_VSI) for each in (mac(1), ZERO)),
                    *(add(*map(mac, range(20)), vsi=PF_VSI), delete(mac(1), vsi=PF_VSI)),
                    *(add_vlan(5, vsi=PF_VSI), del_vlan(5, vsi=PF_VSI)),
                    *(configure(0, vsi=PF_VSI), mapped((PF_VSI, 1, 1, 1, 0, 0))),
                    mapped((PF_VSI, 1, 0, 0, 0, 0)),
                    Step(15, select(PF_VSI, 0, 0)),
                    Step(23, rss_key(PF_VSI, bytes(52))),
                    Step(24, rss_lut(PF_VSI, LUT)),
                )
            },
            "disable": (ALL4, MAP4, enable(15, 15), disable(15, 15)),
            "disable a part": (ALL4, MAP4, enable(15, 15), disable(1, 2), enable(1, 2)),
            "disable idle ones": (disable(1, 1),),
            "disable none": (disable(0, 0),),
            "disable queue 4": (disable(16, 16),),
            "disable queue 16": (disable(1 << 16, 0),),
            "disable another VSI": (disable(1, 1, vsi=9),),
            "promiscuous": (modes(3), modes(1), modes(2), modes(0)),
            "promiscuous 7": (modes(7),),
            "promiscuous of another VSI": (modes(3, vsi=OTHER),),
            "stats": (STATS, STATS),
            "stats of another VSI": (Step(15, select(OTHER, 0, 0)),),
            "key": (Step(23, rss_key(V, bytes(range(52)))),),
            "key of 40": (Step(23, rss_key(V, bytes(40))),),
            "key of another VSI": (Step(23, rss_key(OTHER, bytes(52))),),
            "LUT": (Step(24, rss_lut(V, LUT)),),
            "LUT of 63": (Step(24, rss_lut(V, LUT[:63])),),
            "LUT with queue 4": (Step(24, rss_lut(V, b"\4" + LUT[1:])),),
            "LUT of another VSI": (Step(24, rss_lut(OTHER, LUT)),),
            "hash classes": (Step(25),),
            "hash all classes": (Step(26, b"\xff" * 8),),
            "hash no class": (Step(26, bytes(8)),),
            "hash function": (Step(18, struct.pack("<HHI", V, 2, 0)),),
            "stripping": (Step(27), Step(28), Step(27)),
            "stripping with a payload": (Step(27, b"\0"),),
        }
        | _addresses()
        | _vlans()
        | _opcodes()
    )


def _addresses() -> dict[str, tuple[Step, ...]]:
    together = {f"{n} MACs together": (add(*map(mac, range(n))),) for n in (14, 16, 17, 18, 19, 40)}
    singly = {
        f"{n} MACs one by one": tuple(add(mac(i)) for i in range(n)) for n in (16, 17, 18, 19)
    }
    kinds = {
        f"MAC of kind {kind}": (
            add(mac(1), kind=kind),
            resources(),
            add(mac(2), kind=kind),
            resources(),
            FLR,
            resources(),
            delete(mac(1)),
            FLR,
            resources(),
        )
        for kind in range(4)
    }
    return (
        together
        | singly
        | kinds
        | {
            "MAC": (add(mac(1)), add(mac(1))),
            "MAC zero": (add(ZERO),),
            "MAC broadcast": (add(ALL),),
            "MAC multicast": (add(MULTICAST), resources()),
            "MAC good, then zero": (add(mac(1), ZERO), resources()),
            "MAC of another VSI": (add(mac(1), vsi=OTHER),),
            "MAC list of none": (Step(10, struct.pack("<HH", V, 0) + bytes(8)),),
            "MACs up to the refused": (add(*map(mac, range(10))), add(*map(mac, range(8, 20)))),
            "delete": (add(mac(1)), delete(mac(1)), delete(mac(1))),
            "delete unknown": (delete(mac(1)),),
            **{
                f"delete the own one of {first}, {second} and {third}": (
                    *(add(mac(first), mac(second), mac(third)), add(mac(9), kind=1)),
                    *(delete(mac(9)), delete(mac(first)), FLR, resources()),
                )
                for first, second, third in permutations((1, 2, 3))
            },
            "delete the own one of many": (
                *(add(*map(mac, range(10, 26))), add(mac(9), kind=1), delete(mac(9)), FLR),
            ),
            "MACs beyond the switch": (
                add(*map(mac, range(60))),
                add(*map(mac, range(60, 64))),
                add(mac(64)),
            ),
            "MACs beyond the filters": (
                # 258 filters with broadcast's. Those that the judge has no room to tell are last
                # in i40e's hash table: broadcast's, behind those of these addresses.
                *(add_vlan(*range(1, 86)), add(mac(4)), add(mac(11))),
                *(add(*[mac(18)] * 511), add(*[mac(18)] * 510)),
            ),
            "delete broadcast": (delete(ALL),),
            "delete zero": (delete(ZERO),),
            "delete known, then unknown": (
                add(mac(1), mac(2)),
                delete(mac(1), mac(3)),
                delete(mac(1)),
                add(mac(1)),
                delete(mac(2)),
            ),
            "the administrator's MAC": (
                ADMIN_MAC,
                resources(),
                add(ADMIN),
                add(mac(1)),
                delete(ADMIN),
                add(MULTICAST),
                add(mac(2), kind=1),
                FLR,
                resources(),
            ),
            "the administrator's MAC taken back": (
                ADMIN_MAC,
                Step(deed="mac", value=bytes(6)),
                resources(),
            ),
        }
    )


def _vlans() -> dict[str, tuple[Step, ...]]:
    full = add_vlan(*range(1, 17))
    return {
        **{f"VLAN {vid}": (add_vlan(vid),) for vid in (0, 5, 4095, 4096)},
        "VLAN and MAC": (add_vlan(5), add(mac(1)), add_vlan(6), delete(mac(1))),
        "VLANs beyond the limit": (add_vlan(*range(1, 21)), add_vlan(30)),
        "VLANs at the limit, then 4096": (full, add_vlan(4096)),
        "VLANs at the limit, another VSI": (full, add_vlan(1, vsi=OTHER)),
        "VLAN of another VSI": (add_vlan(5, vsi=OTHER),),
        "VLAN twice": (add_vlan(5), add_vlan(5), add_vlan(6, 6)),
        "VLAN deleted": (add_vlan(5, 6), del_vlan(5), del_vlan(5)),
        "VLAN deleted unknown": (del_vlan(5),),
        "VLAN deleted 4096": (del_vlan(4096),),
        "promiscuous, then a VLAN": (modes(3), add_vlan(5), modes(0)),
        "port VLAN of a promiscuous VF": (modes(3), Step(deed="port_vlan", value=100)),
        "port VLAN": (
            Step(deed="port_vlan", value=100),
            resources(),
            add_vlan(5),
            del_vlan(5),
            Step(27),
            Step(28),
            add(mac(1)),
        ),
    }


def _opcodes() -> dict[str, tuple[Step, ...]]:
    more = {
        f"ask for {n} queues": (Step(29, struct.pack("<H", n)), resources())
        for n in (0, 1, 4, 8, 16, 17, 300)
    }
    known = {1, 2, 3, 29}
    empty = {f"opcode {op}, empty": (Step(op),) for op in range(125) if op not in known}
    sized = {
        f"opcode {op} of {size}": (Step(op, bytes(size)),)
        for op, size in (
            *((4, 24), (5, 40), (17, 16), (20, 1), (21, 16), (32, 272), (33, 272), (45, 2444)),
            *((46, 2444), (47, 2616), (48, 12), (60, 48), (61, 8), (107, 8), (112, 16)),
            *((61, 16), (112, 28), (113, 12)),
        )
    }
    quanta = {
        f"CONFIG_QUANTA {size} of {count} queues": (
            Step(113, struct.pack("<HHIHH", size, 0, 0, 0, count)),
        )
        for size in (0, 64)
        for count in (0, 1)
    }
    return (
        more
        | empty
        | sized
        | quanta
        | {
            "more queues outlive an FLR": (Step(29, struct.pack("<H", 8)), FLR, resources()),
            "spoof check": (
                *(add(mac(1)), NO_SPOOF_CHECK, add(mac(2)), FLR, resources(), add_vlan(5)),
                *(Step(deed="spoofchk", value=True), NO_SPOOF_CHECK),
                *(Step(2), resources(), Step(deed="spoofchk", value=True)),
            ),
            "channels off": (Step(31), resources()),
            "trust changes": (
                Step(deed="trust", value=True),
                resources(),
                Step(deed="trust", value=False),
                resources(),
            ),
            "trust changes while queues run": (
                *(ALL4, MAP4, enable(15, 15), add(mac(1))),
                *(Step(deed="trust", value=on) for on in (True, False, True)),
                *(add(mac(2)), modes(3)),
            ),
            "trust is taken from a promiscuous VF": (
                *(ALL4, MAP4, enable(15, 15), modes(1)),
                Step(deed="trust", value=False),
                *(resources(), modes(1)),
            ),
            "trust is taken from a VF that hears all groups": (
                modes(2),
                Step(deed="trust", value=False),
                resources(),
            ),
            "trust is taken from a VF with more addresses than others may have": (
                add(*map(mac, range(20))),
                Step(deed="trust", value=False),
                *(add(mac(30)), delete(mac(3)), add_vlan(5)),
            ),
            "link set to what it is": (
                *(ALL4, MAP4, enable(15, 15)),
                *(Step(deed="link", value=how) for how in ("auto", "disable", "disable")),
                *(Step(deed="link", value=how) for how in ("enable", "enable", "auto")),
            ),
            **{
                f"link disabled, {len(queues)} queues configured last": (
                    *(ALL4, MAP4, enable(15, 15), configure(*queues)),
                    *(Step(deed="link", value=how) for how in ("disable", "auto")),
                )
                for queues in ((0,), (3,), (0, 1, 2), (1, 1))
            },
            "link disabled after a refused CONFIG_VSI_QUEUES": (
                *(ALL4, MAP4, enable(15, 15), configure(0, 4)),
                Step(deed="link", value="disable"),
            ),
            "link": (
                ALL4,
                MAP4,
                enable(15, 15),
                Step(deed="link", value="disable"),
                enable(15, 15),
                Step(deed="link", value="auto"),
            ),
        }
    )


SCENARIOS: Mapping[str, tuple[Step, ...]] = MappingProxyType(
    _negotiation() | {name: (resources(), *steps) for name, steps in _after_resources().items()}
)
