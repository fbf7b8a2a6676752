# SPDX-License-Identifier: BSD-3-Clause
"""The stock Linux iavf driver judges the software VF: two VFs of one PF, a TAP as uplink.

The VFs sit in two network namespaces of one guest, so traffic between them crosses the software
PF's switch, and traffic to the TAP crosses its uplink.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from iavfio.softvf.pf.resets import PF_RESETS
from tests.guest.iavf import FIRST, HOST, SECOND, Judge, Setting, bring_up
from tests.guest.softvf import TAP
from tests.guest.wire import WIRE_MIN, Capture, iperf3_server

ADV_RSS_PF = 1 << 27
FDIR_PF = 1 << 28
SPEED = {"e810": "100 Gbps", "x710": "10 Gbps", "x722": "10 Gbps"}
SETTINGS = [
    pytest.param(Setting("newest", "e810", "trapped", reloads=5)),
    pytest.param(Setting("older", "x710", "shared", reloads=3)),
    pytest.param(Setting("newest", "x722", "trapped"), marks=pytest.mark.full),
    pytest.param(Setting("older", "e810", "shared", "intel"), marks=pytest.mark.full),
    pytest.param(Setting("newest", "x710", "shared", "virtio"), marks=pytest.mark.full),
]


@pytest.fixture(scope="module", params=SETTINGS, ids=str)
def judge(request: pytest.FixtureRequest, lab: None) -> Iterator[Judge]:
    """One software PF and one guest for all tests of a setting."""
    with bring_up(request.param) as made:
        yield made


def test_probe(judge: Judge) -> None:
    for word in ("Unsupported", "fail", "rror", "timeout", "Timeout"):
        assert word not in judge.probed
    shown = judge.guest.check("ethtool -i vf0")
    assert "driver: iavf" in shown
    assert "bus-info: 0000:01:00.0" in shown


def test_link_and_speed(judge: Judge) -> None:
    speed = SPEED[judge.setting.personality]
    text = judge.guest.check("dmesg")
    assert f"NIC Link is Up Speed is {speed} Full Duplex" in text


def test_ping_through_uplink_and_switch(judge: Judge) -> None:
    judge.ping(HOST)
    judge.ping(SECOND)
    judge.ping(HOST, where="ip netns exec b")


def test_ethtool_reports_what_the_pf_granted(judge: Judge) -> None:
    def shown(words: str) -> dict[str, str]:
        lines = judge.guest.run(f"ethtool {words}").output.splitlines()
        return {k.strip(): v.strip() for k, _, v in (line.partition(":") for line in lines)}

    most = judge.guest.check("ethtool -l vf0").split("Current")[0]
    pairs = {"e810": 16, "x710": 4, "x722": 4}[judge.setting.personality]
    assert f"Combined:\t{pairs}" in most
    assert "RX:\t\t\t4096" in judge.guest.check("ethtool -g vf0").split("Current")[0]
    features = shown("-k vf0")
    for name in (
        "rx-checksumming",
        "tx-checksum-ipv4",
        "tx-checksum-ipv6",
        "tx-checksum-sctp",
        "tx-tcp-segmentation",
        "tx-tcp6-segmentation",
        "rx-vlan-offload",
        "tx-vlan-offload",
        "receive-hashing",
    ):
        assert features[name] == "on", name
    assert features["rx-vlan-filter"] == "on [fixed]"
    key = next(k for k in judge.guest.check("ethtool -x vf0").splitlines() if k.count(":") > 40)
    assert key.count(":") == 51  # 52 bytes
    assert shown("-x vf0")["toeplitz"] == "on"
    stamps = judge.guest.check("ethtool -T vf0")
    assert "software-receive" in stamps
    assert "PTP Hardware Clock: none" in stamps
    # Where flow director or a choice of hashed fields is not granted Linux says so itself.
    if not judge.granted() & FDIR_PF:
        assert features["ntuple-filters"] == "off [fixed]"
        assert judge.guest.run("ethtool -N vf0 flow-type udp4 dst-port 9 action 1").status != 0
    if not judge.granted() & ADV_RSS_PF:
        for words in ("-N vf0 rx-flow-hash udp4 sdfn", "-X vf0 equal 2"):
            assert "Operation not supported" in judge.guest.run(f"ethtool {words}").output


def test_interrupt_moderation(judge: Judge) -> None:
    judge.guest.check("ethtool -C vf0 adaptive-rx off adaptive-tx off rx-usecs 100 tx-usecs 200")
    told = judge.guest.check("ethtool -c vf0")
    assert re.search(r"Adaptive RX: off\s+TX: off", told)
    assert re.search(r"rx-usecs:\s+100\n", told)
    assert re.search(r"tx-usecs:\s+200\n", told)
    judge.ping(HOST)
    judge.guest.check("ethtool -C vf0 adaptive-rx on adaptive-tx on")
    judge.ping(HOST)


def test_counters_agree_exactly(judge: Judge) -> None:
    """Driver and software VF count the same packets since the start, once nothing is under way."""

    def compare() -> bool:
        theirs, ours = judge.traffic(), judge.vsi()
        # A card may count what its MAC adds to frames of less than 60 bytes, the driver cannot; and
        # a TAP sends shorter frames than any wire, which the driver counts after it padded them
        # itself. Exact in bytes is the comparison with a capture, below.
        sent = ours.pop("tx_bytes") - theirs.pop("tx_bytes")
        received = theirs.pop("rx_bytes") - ours.pop("rx_bytes")
        padding = 0 <= sent <= 18 * ours["tx_packets"] and 0 <= received <= 18 * ours["rx_packets"]
        return padding and ours == theirs

    before = judge.vsi()
    judge.ping(HOST, "-s 1400")
    assert judge.vsi()["tx_packets"] - before["tx_packets"] >= 3
    judge.until(compare, "agreement")
    # What ethtool calls rx_bytes and so on comes from the PF by GET_STATS, every two seconds. It
    # counts from the first request after a reset on (docs/spec/pf-dialects.md 5): what a slow guest
    # sent before that is not in it. Five seconds after a ping Linux asks for its neighbour again.
    before = {}
    while before != (before := judge.vsi()):
        judge.guest.check("sleep 6")
    early = judge.vsi()["tx_bytes"] - judge.told("tx_bytes")
    assert early >= 0
    judge.ping(HOST, "-s 1400")
    judge.until(
        lambda: judge.vsi()["tx_bytes"] - judge.told("tx_bytes") == early,
        "the PF's answer in ethtool -S",
    )


@pytest.mark.parametrize("way", ["", "-R", "-u -b 20M", "-u -b 20M -R"])
def test_iperf3_over_the_uplink(judge: Judge, way: str) -> None:
    with iperf3_server(judge.pf):
        command = f"sleep 0.5; iperf3 -J -n 2M -c {HOST} {way}"
        result = json.loads(judge.guest.check(command, timeout=180))
    end = result["end"]
    moved = end["sum"]["bytes"] if "-u" in way else end["sum_received"]["bytes"]
    assert moved > 1_000_000


def test_a_capture_of_the_uplink_agrees_with_the_drivers_counters(judge: Judge) -> None:
    """Packets and bytes, both ways, of TCP with segmentation offload and of UDP.

    The driver counts what it sends before the card pads it, and what it receives after it padded
    it itself (a TAP's frames can be shorter than any wire's). Neighbours are told beforehand: ARP
    packets do not tell their length.
    """
    mac = judge.mac()
    host = json.loads(judge.pf.wire("ip", "-j", "link", "show", TAP))[0]["address"]
    neighbour = ("ip", "neigh", "replace", FIRST, "lladdr", mac.hex(":"), "nud", "permanent")
    judge.pf.wire(*neighbour, "dev", TAP)
    judge.pf.wire("ip", "link", "set", TAP, "txqueuelen", "10000")
    judge.guest.check(f"ip neigh replace {HOST} lladdr {host} nud permanent dev vf0; sleep 1")
    with Capture(judge.pf) as capture, iperf3_server(judge.pf):
        before = judge.traffic()
        lost_before = lost_at_the_tap(judge)
        for way in ("-n 3M", "-n 3M -b 20M -R", "-u -b 10M -n 500K", "-u -b 10M -n 500K -R"):
            judge.guest.check(f"sleep 0.5; iperf3 -c {HOST} {way}")
        judge.ping(HOST, "-s 1400")
        after = judge.traffic()
    judge.pf.wire(*neighbour[:2], "del", FIRST, "dev", TAP)
    judge.guest.check(f"ip neigh del {HOST} dev vf0")
    sent, received = capture.frames(source=mac), capture.frames(destination=mac)
    driver = {name: after[name] - before[name] for name in after}
    # A host that has no time for the software VF loses frames before the ring; they are counted.
    lost = lost_at_the_tap(judge) - lost_before
    assert driver["tx_packets"] == len(sent) > 2000  # three megabytes are 2100 segments
    assert driver["rx_packets"] == len(received) - lost > 2000
    assert driver["tx_bytes"] == sum(sent)
    if not lost:
        seen = sum(max(length, WIRE_MIN) for length in received)
        assert driver["rx_bytes"] == seen + 4 * len(received)


def lost_at_the_tap(judge: Judge) -> int:
    """Frames for VFs that found the TAP's queue full."""
    (link,) = json.loads(judge.pf.wire("ip", "-j", "-s", "link", "show", TAP))
    return int(link["stats64"]["tx"]["dropped"])


def test_iperf3_between_two_vfs(judge: Judge) -> None:
    judge.guest.check("ip netns exec b iperf3 -s -D --pidfile /tmp/iperf.pid; sleep 0.5")
    result = json.loads(judge.guest.check(f"iperf3 -J -n 2M -c {SECOND}", timeout=180))
    judge.guest.check("kill $(tr -d '\\0' < /tmp/iperf.pid)")
    assert result["end"]["sum_received"]["bytes"] > 1_000_000


def test_jumbo_frames(judge: Judge) -> None:
    judge.pf.wire("ip", "link", "set", TAP, "mtu", "9000")
    judge.guest.check("ip link set vf0 mtu 9000; ip -n b link set vf1 mtu 9000")
    judge.until(judge.up, "the link")
    for address in (HOST, SECOND):
        judge.until(
            lambda a=address: judge.guest.run(f"ping -c 1 -W 1 {a}").status == 0,  # type: ignore[misc]
            "an answer",
        )
        judge.ping(address, "-s 8900 -M do")


def test_four_queues_share_the_load(judge: Judge) -> None:
    judge.guest.check("ethtool -L vf0 combined 4")
    judge.until(judge.up, "the link")
    assert "Combined:\t4" in judge.guest.check("ethtool -l vf0").split("Current")[1]
    judge.until(lambda: judge.guest.run(f"ping -c 1 -W 1 {HOST}").status == 0, "an answer")
    # Sixty-four flows from the other VF: RSS spreads them by their ports.
    judge.guest.check(
        "ip netns exec b python3 -c '\n"
        "import socket\n"
        "for port in range(20000, 20064):\n"
        "    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        f'    s.bind(("", port)); s.sendto(b"x" * 100, ("{FIRST}", 9)); s.close()\'\n'
    )
    text = judge.guest.check("ethtool -S vf0")
    used = [i for i in range(4) if int(re.search(rf"rx-{i}\.packets: (\d+)", text)[1])]  # type: ignore[index]
    assert len(used) >= 3, text


def test_features_toggle(judge: Judge) -> None:
    for feature in ("rxvlan", "txvlan", "rx", "tso", "gro"):
        for state in ("off", "on"):
            judge.guest.check(f"ethtool -K vf0 {feature} {state}")
            judge.ping(SECOND)


def test_ring_sizes_and_rss_table(judge: Judge) -> None:
    judge.guest.check("ethtool -G vf0 rx 1024 tx 1024")
    judge.until(judge.up, "the link")
    assert "RX:\t\t\t1024" in judge.guest.check("ethtool -g vf0").split("Current")[1]
    if judge.granted() & ADV_RSS_PF:  # without it Linux refuses any change of the table
        judge.guest.check("ethtool -X vf0 equal 2")
    table = judge.guest.check("ethtool -x vf0")
    assert re.search(r"0:\s+0\s+1", table)
    judge.ping(HOST)


def test_vlan_between_two_vfs(judge: Judge) -> None:
    add = "ip {0} link add link {1} name v5 type vlan id 5"
    judge.guest.check(add.format("", "vf0") + " && ip addr add 203.0.113.2/24 dev v5")
    judge.guest.check(add.format("-n b", "vf1") + " && ip -n b addr add 203.0.113.3/24 dev v5")
    judge.guest.check("ip link set v5 up && ip -n b link set v5 up && sleep 1")
    judge.ping("203.0.113.3")
    judge.guest.check("ip link del v5 && ip -n b link del v5")
    judge.ping(SECOND)


def test_promiscuous_and_all_multicast(judge: Judge) -> None:
    judge.pf.control("trust", vf=0, on=True)
    judge.until(judge.up, "the link")
    for mode in ("promisc", "allmulticast"):
        judge.guest.check(
            f"ip link set vf0 {mode} on; sleep 1; ip link set vf0 {mode} off; sleep 1"
        )
    judge.ping(HOST)


def test_mac_address_changes(judge: Judge) -> None:
    judge.guest.check("ip link set vf0 address 02:00:00:00:00:55")
    judge.until(lambda: "02:00:00:00:00:55" in judge.guest.check("ip link show vf0"), "the MAC")
    judge.ping(HOST)
    judge.ping(SECOND)


def test_link_follows_the_administrator(judge: Judge) -> None:
    judge.pf.control("link", vf=0, state="disable")
    judge.until(lambda: not judge.up(), "link down")
    judge.pf.control("link", vf=0, state="auto")
    judge.until(judge.up, "link up")
    judge.ping(HOST)


@pytest.mark.parametrize("kind", ["vfr", *PF_RESETS])
def test_resets_by_the_pf(judge: Judge, kind: str) -> None:
    seen = judge.guest.check("dmesg").count("NIC Link is Up")
    if kind == "vfr":
        judge.pf.control("reset", vf=0)
    else:
        judge.pf.control("pf_reset", kind=kind)
    judge.until(
        lambda: judge.guest.check("dmesg").count("NIC Link is Up") > seen and judge.up(), "the link"
    )
    judge.answered()
    judge.ping(HOST)


def test_function_level_reset_through_sysfs(judge: Judge) -> None:
    seen = judge.guest.check("dmesg").count("NIC Link is Up")
    judge.guest.check("echo 1 > /sys/bus/pci/devices/0000:01:00.0/reset")
    judge.until(lambda: judge.guest.check("dmesg").count("NIC Link is Up") > seen, "the link", 40)
    judge.answered()


def test_complaints(judge: Judge) -> None:
    """The last but one: neither kernel nor software VF holds anything against the other."""
    judge.no_complaints()


NAME_AGAIN = f"""
for t in $(seq 50); do test -d /sys/bus/pci/devices/0000:01:00.0/net && break; sleep 0.1; done
ip link set $(ls /sys/bus/pci/devices/0000:01:00.0/net) name vf0
ip addr add {FIRST}/24 dev vf0; ip link set vf0 up
"""


def test_driver_comes_and_goes(judge: Judge) -> None:
    judge.guest.check(
        f"for i in $(seq {judge.setting.reloads}); "
        "do rmmod iavf && modprobe iavf || exit 1; sleep 0.5; done",
        timeout=240,
    )
    judge.guest.check(NAME_AGAIN)
    judge.until(judge.up, "the link")
    judge.until(lambda: judge.guest.run(f"ping -c 1 -W 1 {HOST}").status == 0, "an answer")
    assert judge.pf.violations() == []


@pytest.mark.parametrize("way", ["", "-R"])
def test_driver_is_removed_under_traffic(judge: Judge, way: str) -> None:
    """The interface goes while it sends or receives; what is left of the flood hurts nobody."""
    before = judge.vsi()
    with iperf3_server(judge.pf):
        number = judge.guest.start(
            f"sleep 0.5; timeout -s KILL 20 iperf3 -u -b 50M -t 15 -c {HOST} {way}", 40
        )
        key = "rx_packets" if way else "tx_packets"
        judge.until(lambda: judge.vsi()[key] > before[key] + 200, "traffic")
        judge.guest.check("rmmod iavf")
        judge.guest.run("pkill -KILL iperf3")
        judge.guest.wait(number, 40)
    judge.guest.check(f"modprobe iavf; {NAME_AGAIN}")
    judge.until(judge.up, "the link")
    judge.until(lambda: judge.guest.run(f"ping -c 1 -W 1 {HOST}").status == 0, "an answer")
    assert judge.pf.violations() == []
    text = judge.guest.check("dmesg")
    for word in ("WARNING:", "BUG:", "Oops", "NETDEV WATCHDOG"):
        assert word not in text
