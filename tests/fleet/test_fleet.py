# SPDX-License-Identifier: BSD-3-Clause
"""Runs over a made-up fleet: sums, starts, hosts that fail, and the search that goes on or ends."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import pytest

from iavfio.bench.ndr_page import as_html
from iavfio.bench.ndr_report import as_csv
from iavfio.errors import IavfioError
from iavfio.fleet.clocks import compare
from iavfio.fleet.fleet import Fleet
from iavfio.fleet.ndr import AGAIN, FleetSearch
from iavfio.fleet.orders import HostCounts, Trouble
from iavfio.fleet.plan import Goals, Host
from iavfio.fleet.records import (
    FleetBenchRecord,
    FleetNdrRecord,
    bench_record,
    ndr_record,
)
from iavfio.fleet.words import bench_lines, bench_table, failure_lines
from tests.fleet.fake import SECONDS, FakeEngine, Way, lost, plan


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing that is made up comes late."""
    for name in ("PATIENCE", "STEP", "JOINING", "LEAD_NS"):
        monkeypatch.setattr(f"iavfio.fleet.fleet.{name}", 0)


def test_what_all_sent_is_what_all_received() -> None:
    with Fleet(plan(), FakeEngine(Way())) as fleet:
        done = fleet.run()
    assert (done.sent, done.received, done.loss) == (10_000, 10_000, 0)
    assert [done.hosts[name].sent for name in ("west", "north")] == [5000, 5000]
    assert done.pps == 1000 and done.line_share == pytest.approx(1000 * 84 * 8 / 2e9)
    assert done.sound and done.balance == "sent 10000 = received 10000 + lost 0"


def test_losses_have_a_name_or_lie_between_the_hosts() -> None:
    way = Way(carries=900, named={"rx_discards": 300})
    with Fleet(plan(), FakeEngine(way)) as fleet:
        done = fleet.run()
    assert (done.loss, done.named, done.unnamed) == (1000, 300, 700)
    (reason,) = done.reasons
    assert "1000 of 10000 packets were lost (10.000%, at most 0.000%" in reason
    assert "east rx_discards 300" in reason and "between the hosts 700" in reason
    with Fleet(plan(goals=Goals(max_loss=(0.2,))), FakeEngine(way)) as fleet:
        done = fleet.run()
    assert done.sound and "between the hosts 700" in done.balance


def test_counters_that_tell_of_more_than_is_lost_are_told() -> None:
    with Fleet(plan(), FakeEngine(Way(named={"rx_discards": 5}))) as fleet:
        done = fleet.run()
    assert "counters tell of 5 more" in done.balance and done.sound


def test_what_came_twice_hides_no_loss_and_more_than_was_sent_is_told() -> None:
    with Fleet(plan(), FakeEngine(Way())) as fleet:
        done = fleet.run()
    again = replace(done.hosts["east"], duplicated=7)
    found = replace(done, hosts={**done.hosts, "east": again})
    assert (found.loss, found.duplicated, found.sound) == (7, 7, False)
    assert "7 of 10000 packets were lost" in found.reasons[0]
    more = replace(done.hosts["east"], received=10_007)
    found = replace(done, hosts={**done.hosts, "east": more})
    assert found.reasons == ("7 packets more arrived than all senders sent",)
    assert found.trial.wrong == found.reasons[0] and found.trial.loss == 0


def test_senders_begin_at_one_time_by_their_own_clocks() -> None:
    skew = {"west": 5_000_000_000, "north": -3_000_000_000}
    with Fleet(plan(), FakeEngine(Way(skew_ns=skew))) as fleet:
        done = fleet.run()
        for name, offset in fleet.clocks.items():
            assert abs(offset.ns - skew.get(name, 0)) <= offset.error_ns
    assert max(done.starts.values()) < 1_000_000
    assert done.remarks == ()


def test_the_quickest_exchange_bounds_the_error() -> None:
    times = iter([0, 900, 1000, 1100, 2000, 2500, *[3000, 5000] * 6])
    offset = compare(lambda: 1050 + 400, lambda: next(times))
    assert (offset.ns, offset.error_ns) == (1450 - 1050, 50)
    assert offset.there(100) == 500 and offset.here(500) == 100


GONE = (lost("north"), "its worker ended")
BROKEN = (Trouble("the device is gone", "its server ended"), "the device is gone: its server ended")
SILENT = ("silent", "it has not answered for")


@pytest.mark.parametrize(
    ("name", "method", "failure"),
    [
        ("north", "begin", GONE),
        ("north", "send", GONE),
        ("east", "moved", GONE),
        ("north", "end", GONE),
        ("north", "send", BROKEN),
        ("north", "end", BROKEN),
        ("north", "begin", SILENT),
        ("east", "moved", SILENT),
        ("north", "end", SILENT),
    ],
)
def test_a_host_that_fails_is_named_and_the_others_stop(
    name: str, method: str, failure: tuple[object, str]
) -> None:
    what, words = failure
    way = Way(script={f"{name} {method}": [what]})
    with Fleet(plan(), FakeEngine(way)) as fleet:
        done = fleet.run()
        assert words in done.failed[name] and fleet.lost.keys() == {name}
    assert not done.sound and f"host {name} failed" in done.reasons[0]
    assert done.trial.loss == 0 and f"host {name} failed" in done.trial.wrong
    assert f"{name} unknown" in done.balance
    assert ("west", "stop") in way.calls and ("west", "close") in way.calls


def test_a_host_that_cannot_open_its_port_ends_the_start() -> None:
    engine = FakeEngine(Way(script={"east open": [Trouble("there is no device", "", "look")]}))
    with pytest.raises(IavfioError, match="host east: there is no device"):
        Fleet(plan(), engine).__enter__()
    assert engine.closed and ("west", "close") in engine.way.calls


def test_the_check_before_the_run_names_who_hears_nothing() -> None:
    deaf = Fleet(plan(), FakeEngine(Way(carries=0)))
    with pytest.raises(IavfioError, match="none reached east"), deaf as fleet:
        fleet.preflight()
    with Fleet(plan(), FakeEngine(Way())) as fleet:
        fleet.preflight()
    receivers = [Host(name, "p", "receiver") for name in ("a", "b")]
    way = Way(script={"b end": [HostCounts()]})
    half = Fleet(plan(Host("west", "p", "sender", queues=2), *receivers), FakeEngine(way))
    with pytest.raises(IavfioError, match="none reached b"), half as fleet:
        fleet.preflight()


def test_ctrl_c_ends_the_run_with_its_counts() -> None:
    way = Way()
    with Fleet(plan(), FakeEngine(way)) as fleet:
        way.script["east moved"] = [KeyboardInterrupt()]
        done = fleet.run()
    assert done.interrupted is not None and done.sent == 10_000
    assert ("west", "stop") in way.calls


def searched(way: Way, **given: object) -> FleetSearch:
    goals = Goals(max_rate=8000, trials=1, precision=0.1)
    with Fleet(plan(goals=goals, **given), FakeEngine(way)) as fleet:
        search = FleetSearch(fleet)
        search.run()
    return search


def test_the_search_finds_the_rate_of_all_senders() -> None:
    search = searched(Way(carries=1000))
    (found,) = search.found[64]
    assert found.best is not None and 900 <= found.best.pps <= 1000
    assert search.failures == [] and search.lost is None


def test_a_trial_in_which_a_host_failed_is_made_again() -> None:
    way = Way(script={"north send": [None, lost("north")]})
    search = searched(way)
    assert [(each.host, each.back) for each in search.failures] == []
    way = Way(script={"north send": [lost("north")]})
    search = searched(way)
    assert [(each.host, each.back) for each in search.failures] == [("north", True)]
    (found,) = search.found[64]
    assert found.best is not None and found.best.asked == 8000 and search.lost is None


def test_a_host_that_stays_away_ends_the_search() -> None:
    def dies() -> IavfioError:
        way.gone.add("north")
        return lost("north")

    way = Way(script={"north send": [None, None, dies]}, carries=1000)
    search = searched(way, size=(128, 64))
    assert search.found == {} and search.lost is not None
    assert [(each.host, each.back) for each in search.failures] == [("north", False)]
    assert "not back: there is no such worker" in search.failures[0].why
    assert "north did not come back" in ndr_record(search).ended_early


def test_a_host_that_fails_each_time_ends_the_search() -> None:
    search = searched(Way(script={"north send": [lost("north") for _ in range(9)]}))
    assert search.lost is not None and len(search.failures) == 1 + AGAIN
    assert all(each.back for each in search.failures)


def test_an_engine_that_is_lost_ends_the_search_with_what_was_found() -> None:
    gone = IavfioError("the fleet's scheduler is lost", "its connection broke")
    way = Way(script={"west begin": [None, gone], "west close": [gone]})
    search = searched(way, size=(128, 64))
    assert search.lost is not None and "scheduler is lost" in search.lost.what
    assert search.found.keys() == {128} and ndr_record(search).ended_early == search.lost.what


def test_records_are_what_their_schemas_say() -> None:
    with Fleet(plan(verify=True), FakeEngine(Way(carries=900))) as fleet:
        done = fleet.run()
        record = bench_record(fleet, done)
        told = list(bench_lines(fleet, done, record))
    assert msgspec.json.decode(msgspec.json.encode(record), type=FleetBenchRecord) == record
    assert (record.lost, record.lost_named, record.lost_unnamed) == (1000, 0, 1000)
    assert told[0].startswith("sent 10000 = received 9000 + lost 1000 (between the hosts 1000")
    assert sum(line.startswith("clock of ") for line in told) == 3
    assert len(bench_table(record, 40).columns) == 3 and len(bench_table(record, 100).columns) == 6
    search = searched(Way(script={"north send": [lost("north")]}))
    ndr = ndr_record(search)
    assert msgspec.json.decode(msgspec.json.encode(ndr), type=FleetNdrRecord) == ndr
    assert "it came back" in next(failure_lines(ndr.failures))
    row = as_csv(ndr.report).splitlines()[1].split(",")
    assert row[0] == "64" and row[9:16] == [""] * 7  # no latency between hosts
    page = as_html(ndr.report)
    assert "west: 0000:3b:02.0 (sender)" in page and page.count("<svg") == 1


def test_a_fleet_in_which_all_send_and_receive() -> None:
    hosts = [Host(name, "p", "both") for name in ("a", "b")]
    with Fleet(plan(*hosts), FakeEngine(Way(carries=500))) as fleet:
        done = fleet.run()
    assert done.sent == 1000 * SECONDS and done.received == 2 * 500 * SECONDS
