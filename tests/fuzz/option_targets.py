# SPDX-License-Identifier: BSD-3-Clause
"""What users write: streams, plans of fleets, filters, CPUs, settings of VFs, rules, rates."""

from __future__ import annotations

import re
from collections.abc import Callable

import click

from iavfio.capture.filter import Filter
from iavfio.capture.rewrite import parse_rule
from iavfio.capture.schedule import parse_rate, parse_timing
from iavfio.cli.options import CpuList
from iavfio.errors import IavfioError
from iavfio.fleet import read as fleet
from iavfio.generator import read as generator
from iavfio.generator.rate import parse_stream_rate
from iavfio.generator.stream import Stream
from iavfio.vfs import words
from tests.fuzz.file_targets import written
from tests.fuzz.target import Target

KNOWN = frozenset(  # words of a filter; libpcap asks the resolver for any other
    "and or not host net port portrange src dst ether ip ip6 arp tcp udp icmp icmp6 vlan mpls "
    "pppoes geneve broadcast multicast less greater len proto mask gateway".split()
)
TOKEN = re.compile(r"[\w.\\:-]+")


def _filter(text: str) -> None:
    def local(found: re.Match[str]) -> str:
        word = found[0]
        return word if word in KNOWN or ":" in word or not re.search("[A-Za-z]", word) else "1"

    made = Filter(TOKEN.sub(local, text))
    for frame in (bytes(60), b"\xff" * 60):
        made.matches(frame)


def _stream(text: str) -> None:
    _looked_at(generator.parse_stream(text))


def _streams(text: str) -> None:
    path = written("streams.toml", text.encode(errors="surrogateescape"))
    for stream in generator.read_streams(path):
        _looked_at(stream)


def _looked_at(stream: Stream) -> None:
    recipe = stream.recipe
    for field in (recipe.src_ip, recipe.dst_ip, recipe.sport, recipe.dport, recipe.size):
        assert field.count >= 0
        if field.count:
            assert min(field[0], field[field.count - 1]) >= 0
    recipe.rate.pps(60.0, 1000)


def _plan(text: str) -> None:
    plan = fleet.read_plan(written("plan.toml", text.encode(errors="surrogateescape")))
    assert plan.lanes


def _cpus(text: str) -> None:
    cpus = CpuList().convert(text, None, None)
    assert len(set(cpus)) == len(cpus)


def _settings(text: str) -> None:
    for value in words.parse(text.split(" ")).values():
        assert isinstance(value, bool | int | str)


READERS: tuple[Callable[[str], object], ...] = (
    _stream,
    _streams,
    _plan,
    _filter,
    _cpus,
    _settings,
    parse_rule,
    parse_timing,
    parse_rate,
    parse_stream_rate,
)


def options(data: bytes) -> None:
    """The first byte chooses who reads the rest, which comes as an argument of a process does."""
    text = data[1:].replace(b"\0", b"").decode("utf-8", "surrogateescape")
    read = READERS[data[0] % len(READERS)] if data else _stream
    try:
        read(text)
    except IavfioError as error:
        assert error.what
        assert str(error)
    except click.UsageError as error:
        assert error.format_message()


STREAMS = (
    "proto=tcp dst_ip=198.19.0.0/24 dport=80,443 rate=10kpps size=imix",
    "proto=icmp src_ip=random:10.0.0.1-10.0.0.9 vlan=5 qinq=7 pcp=3 count=9 seed=1 rate=10%",
    "src_ip=2001:db8::1-2001:db8::9+2 dst_ip=2001:db8::/32 sport=1-65535+3 size=90-128 burst=4",
    "tunnel=vxlan vni=1-5 outer_dst_ip=10.1.0.0/16 outer_sport=random:1-9",
    "tunnel=gtpu name='a b' proto=0x88b5 rate=1Gbit/s",
)
PLAN_MORE = """
[goals]
  loss = 0.001
[traffic]
  size = "imix"
  ipv6 = true
"""
TEXTS: tuple[tuple[Callable[[str], object], tuple[str, ...]], ...] = (
    (_stream, STREAMS),
    (_streams, (generator.EXAMPLE, '[[stream]]\nframes = ["a"]', '[[stream]]\npcap = "no"\n')),
    (_plan, (fleet.EXAMPLE, PLAN_MORE + fleet.EXAMPLE.split("[traffic]")[0], "a" + "[" * 40)),
    (
        _filter,
        (
            "tcp port 443 and not vlan 5",
            "ether host 02:00:00:00:00:01 or ip6 net 2001:db8::/32",
            "ip[0] & 15 != 5 and len <= 100",
            "tcp \udcff",
        ),
    ),
    (_cpus, ("0", "0-1,0", "1-0", "99999999999999999999-99999999999999999999")),
    (_settings, ("mac 02:00:00:00:00:01 vlan 100 qos 3", "trust on spoofchk off link auto rate 1")),
    (parse_rule, ("src-mac=own", "dst-ip=10.0.0.0/8:192.168.0.0/16", "vlan=5", "src-port=1:2")),
    (parse_timing, ("original", "x0.5", "max")),
    (parse_rate, ("10kpps", "1.5Gbit/s", "0")),
    (parse_stream_rate, ("10%", "100%", "1e3", "max")),
)


def options_seeds() -> list[bytes]:
    return [
        bytes((READERS.index(read),)) + text.encode(errors="surrogateescape")
        for read, texts in TEXTS
        for text in texts
    ]


TARGETS = (
    Target(
        "options",
        options,
        options_seeds,
        "any text as stream of gen, fleet's plan, filter, CPUs, settings of a VF, rule, rate",
        "an exception that is neither an IavfioError nor wrong use by click",
    ),
)
