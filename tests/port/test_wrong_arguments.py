# SPDX-License-Identifier: BSD-3-Clause
"""Wrong arguments of calls that open or make something: each is told by its name and range."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import iavfio
from iavfio import ConfigError, Rss, pyvfio, stats
from iavfio.softvf.launch import SoftPf

OPEN: Any = iavfio.open
PYVFIO: Any = pyvfio.open
POOL: Any = iavfio.Pool
RSS: Any = Rss
READ: Any = stats.read
SOFTVF: Any = iavfio.softvf


@pytest.fixture(scope="module")
def pf() -> Iterator[SoftPf]:
    with iavfio.softvf(vfs=2) as pf:
        yield pf


Make = Callable[[Any], object]
OBJECTS: list[tuple[str, Make, str]] = [
    ("pf.open(5)", lambda pf: pf.open(5), "there is no VF 5: this software PF has 2"),
    ("pf.open(2)", lambda pf: pf.open(2), "iavfio.softvf(vfs=3)"),
    ("pf.open(-1)", lambda pf: pf.open(-1), "vf=-1 is not possible: vf can be 0 to 1\n  use vf=0"),
    ("pf.open(64)", lambda pf: pf.open(64), "vf=64 is not possible: vf can be 0 to 1\n  use vf=1"),
    ("pf.open(NumPy 2)", lambda pf: pf.open(np.int8(2)), "vf can be 0 to 1"),
    ("pf.open(True)", lambda pf: pf.open(True), "vf is a whole number, not the bool True"),
    ("pf.open('0')", lambda pf: pf.open("0"), "not the str '0'"),
    ("pf.open(None)", lambda pf: pf.open(None), "not None"),
    ("pf.open(1.0)", lambda pf: pf.open(1.0), "not the float 1.0"),
    ("open(5)", lambda _: OPEN(5), "target is the name of a VF, not the int 5"),
    ("open(None)", lambda _: OPEN(None), "not None"),
    ("open path", lambda _: OPEN(Path("/x.sock")), "as in 'vfio-user:/x.sock'"),
    ("open ''", lambda _: OPEN(""), "names no device"),
    ("open nosuch", lambda _: OPEN("nosuch"), "iavfio list"),
    ("open address", lambda _: OPEN("0000:ff:1f.7"), "there is no PCI device 0000:ff:1f.7"),
    ("open socket", lambda _: OPEN("vfio-user:"), "path of the socket is empty"),
    ("open zero", lambda _: OPEN("vfio-user:a\0b"), "zero byte"),
    ("open long", lambda _: OPEN(f"vfio-user:/{'d' * 107}"), "107"),
    ("open pod", lambda _: OPEN("PCIDEVICE_NOT_SET"), "not set in this environment"),
    ("open name ''", lambda _: OPEN("softvf", name=""), "name is empty"),
    ("open name /", lambda _: OPEN("softvf", name="a/b"), "is no port name"),
    ("open name 5", lambda _: OPEN("softvf", name=5), "not the int 5"),
    ("open mode", lambda _: OPEN("softvf", mode="x"), "there is no mode 'x'"),
    ("open token", lambda _: OPEN("softvf", vf_token="x"), "a token is a UUID"),
    ("open token 5", lambda _: OPEN("softvf", vf_token=5), "a token is a UUID"),
    ("open pool", lambda _: OPEN("softvf", pool=4096), "pool is an object of Pool"),
    ("open stats_mode", lambda _: OPEN("softvf", stats_mode="640"), "not the str '640'"),
    ("open stats_mode 2", lambda _: OPEN("softvf", stats_mode=0o1777), "0o400 to 0o644"),
    ("open stats_mode 3", lambda _: OPEN("softvf", stats_mode=644), "write stats_mode=0o644"),
    ("open stats_mode 4", lambda _: OPEN("softvf", stats_mode=0o7777), "as in stats_mode=0o640"),
    ("open stats_mode 5", lambda _: OPEN("softvf", stats_mode=-1), "as in stats_mode=0o640"),
    *(
        (
            f"open stats_mode {mode}",
            lambda _, mode=mode: OPEN("softvf", stats_mode=mode),
            f"\n  write stats_mode=0o{mode}",
        )
        for mode in (400, 404, 440, 444, 600, 604, 640, 644)
    ),
    *(
        (
            f"open stats_mode {mode:#o}",
            lambda _, mode=mode: OPEN("softvf", stats_mode=mode),
            f"the mode {mode:#o}, and one of a segment is 0o400 to 0o644",
        )
        for mode in (0, 0o40, 0o200, 0o244, 0o602, 0o620, 0o646, 0o660, 0o666, 0o700, 0o755, 0o777)
    ),
    ("open stats_mode 777", lambda _: OPEN("softvf", stats_mode=777), "as in stats_mode=0o640"),
    ("open stats_mode 666", lambda _: OPEN("softvf", stats_mode=666), "as in stats_mode=0o640"),
    ("open SOFTVF", lambda _: OPEN("SOFTVF"), "did you mean 'softvf'?"),
    ("open sotfvf", lambda _: OPEN("sotfvf"), "did you mean 'softvf'?"),
    ("open a word", lambda _: OPEN("nosuch"), "a VF is softvf, a PCI address, vfio-user:"),
    ("open a path", lambda _: OPEN("/run/x.sock"), "did you mean 'vfio-user:/run/x.sock'?"),
    ("open USER", lambda _: OPEN("VFIO-USER:/x.sock"), "did you mean 'vfio-user:/x.sock'?"),
    ("open CDEV", lambda _: OPEN("softvf", mode="CDEV"), "choose of auto, cdev"),
    *(
        (
            f"{name} of {target}",
            lambda _, target=target, name=name, value=value: OPEN(target, **{name: value}),
            f"{name} is of a PCI device, and none is named\n  leave {name} out",
        )
        for target in ("softvf", "vfio-user:/nowhere/vf0.sock")
        for name, value in (
            ("mode", "cdev"),
            ("mode", "group"),
            ("unsafe_noiommu", True),
            ("vf_token", "00112233-4455-6677-8899-aabbccddeeff"),
        )
    ),
    ("pyvfio mode", lambda _: PYVFIO("vfio-user:/x.sock", mode="cdev"), "mode is of a PCI device"),
    ("pyvfio space", lambda _: PYVFIO("vfio-user:/x.sock", space=5), "space is of a PCI device"),
    ("open namee", lambda _: OPEN("softvf", namee="x"), "did you mean name?"),
    ("open zzz", lambda _: OPEN("softvf", zzz=1), "known are target, name, pool, mode"),
    ("pf.open stat_mode", lambda pf: pf.open(0, stat_mode=1), "did you mean stats_mode?"),
    ("pool bufferss", lambda _: POOL(bufferss=64), "there is no argument of Pool 'bufferss'"),
    ("rss symmetricc", lambda _: RSS.make(symmetricc=True), "did you mean symmetric?"),
    ("rss filds", lambda _: RSS(filds=()), "did you mean fields?"),
    ("softvf vf", lambda _: SOFTVF(vf=2), "did you mean vfs?"),
    ("softvf E810", lambda _: SOFTVF(personality="E810"), "did you mean e810?"),
    ("softvf ON", lambda _: SOFTVF(options={"trusted": "ON"}), "is not on or off"),
    ("softvf Arabic", lambda _: SOFTVF(options={"vectors": "\u0665"}), "integer from 2 to 65"),
    ("softvf 1_0", lambda _: SOFTVF(options={"reset_ms": "1_0"}), "milliseconds from 0 to 60000"),
    *(
        (
            f"softvf {name} of {card}",
            lambda _, card=card, name=name, value=value: SOFTVF(
                personality=card, options={name: value}
            ),
            f"option {name} has no effect on {card}",
        )
        for card, name, value in (
            ("e810", "mfp", True),
            ("e810", "fragmented", "on"),
            ("e810", "resources_once", False),
            ("x710", "double_vlan", True),
            ("x722", "true_promisc", True),
            ("x722", "reset_messages", "drop"),
        )
    ),
    (
        "softvf twice",
        lambda _: SOFTVF(options={"max_mtu": 1500, "max-mtu": 1600}),
        "max_mtu is given twice",
    ),
    ("open noiommu", lambda _: OPEN("softvf", unsafe_noiommu=1), "True or False"),
    ("open release", lambda _: OPEN("softvf", release_on_request="no"), "True or False"),
    ("read(None)", lambda _: READ(None), "port is the name of a port, not None"),
    ("read(5)", lambda _: READ(5), "not the int 5"),
    ("read(b'x')", lambda _: READ(b"x"), "not the bytes b'x'"),
    ("read path", lambda _: READ(Path("x")), "ports() lists them"),
    ("pool 63", lambda _: POOL(63), "use buffers=64"),
    ("pool '64'", lambda _: POOL("64"), "not the str '64'"),
    ("pool True", lambda _: POOL(True), "not the bool True"),
    ("pool 1e4", lambda _: POOL(1e4), "not the float"),
    ("pool None", lambda _: POOL(None), "not None"),
    ("pool giant", lambda _: POOL(1 << 25), "use buffers=16777216"),
    ("pool huge", lambda _: POOL(huge="yes"), "known are auto, never, require"),
    ("pool node", lambda _: POOL(numa_node="0"), "not the str '0'"),
    ("pool no node", lambda _: POOL(numa_node=1023), "there is no NUMA node 1023"),
    ("pool contiguous", lambda _: POOL(contiguous=1), "True or False"),
    ("rss key", lambda _: RSS(key="abc"), "key is a key in bytes, not the str"),
    ("rss no key", lambda _: RSS(key=b""), "the RSS key is empty"),
    ("rss zero key", lambda _: RSS(key=bytes(52)), "it spreads nothing"),
    ("rss short zero key", lambda _: RSS(key=bytearray(40)), "it spreads nothing"),
    *(
        (
            f"rss key of {key[:2].hex()}",
            lambda _, key=key: RSS.make(key=key),
            "this RSS key spreads almost nothing",
        )
        for key in (b"\xff" * 52, b"\x80" + bytes(51), b"\xaa" * 52, b"\x55" * 40)
    ),
    ("rss no lut", lambda _: RSS(lut=()), "the RSS table is empty"),
    ("rss lut 300", lambda _: RSS(lut=(300,)), "lut[0] can be 0 to 255"),
    ("rss lut 256", lambda _: RSS.make(lut=[0, 256]), "use lut[1]=255"),
    ("rss lut 0.5", lambda _: RSS.make(lut=[0.5]), "lut[0] is a whole number, not the float 0.5"),
    ("rss lut -1", lambda _: RSS(lut=(-1,)), "lut[0] can be 0 to 255"),
    ("rss lut 'a'", lambda _: RSS(lut=("a",)), "not the str 'a'"),
    ("rss lut int", lambda _: RSS.make(lut=5), "lut is a list of queue numbers"),
    ("rss field", lambda _: RSS.make(fields=["ipv4-udpp"]), "did you mean ipv4-udp?"),
    ("rss fields", lambda _: RSS.make(fields=5), "not the int 5"),
    ("rss symmetric", lambda _: RSS(symmetric=1), "True or False"),
    ("softvf '2'", lambda _: SOFTVF(vfs="2"), "not the str '2'"),
    ("softvf 0", lambda _: SOFTVF(vfs=0), "use vfs=1"),
    ("softvf 65", lambda _: SOFTVF(vfs=65), "use vfs=64"),
    ("softvf True", lambda _: SOFTVF(vfs=True), "not the bool True"),
    ("softvf card", lambda _: SOFTVF(personality="e811"), "did you mean e810?"),
    ("softvf card 5", lambda _: SOFTVF(personality=5), "not the int 5"),
    ("softvf wire", lambda _: SOFTVF(uplink="pcap:"), "names no file"),
    ("softvf no wire", lambda _: SOFTVF(uplink=""), "uplink is empty"),
    ("softvf wire 0", lambda _: SOFTVF(uplink="a\0b"), "zero byte"),
    ("softvf write-back", lambda _: SOFTVF(writeback="now"), "hardware, immediate"),
    ("softvf doorbells", lambda _: SOFTVF(doorbells=None), "not None"),
    ("softvf options", lambda _: SOFTVF(options=["trusted"]), "options is a dictionary"),
    ("softvf option", lambda _: SOFTVF(options={"trustd": True}), "did you mean trusted?"),
    ("softvf value", lambda _: SOFTVF(options={"max_mtu": -1}), "from 0 to 16383"),
    ("softvf verbose", lambda _: SOFTVF(verbose=1), "True or False"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("make", "reason"), [row[1:] for row in OBJECTS], ids=[row[0] for row in OBJECTS]
)
def test_nothing_wrong_is_made(pf: SoftPf, make: Make, reason: str) -> None:
    with pytest.raises(ConfigError) as refused:
        make(pf)
    assert reason in str(refused.value)


def test_a_closed_software_pf_opens_nothing() -> None:
    with iavfio.softvf() as closed:
        pass
    with pytest.raises(iavfio.StateError, match="closed"):
        closed.open(0)
