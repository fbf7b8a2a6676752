# SPDX-License-Identifier: BSD-3-Clause
"""The pytest plugin as a user's own tests see it: pytest runs them in a folder of their own."""

from __future__ import annotations

import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from iavfio.testing import VfPair, receive, until

pytest_plugins = ["pytester"]
pytestmark = pytest.mark.usefixtures("alone")
PLUGIN = "iavfio.testing.plugin"
PROJECT = Path(__file__).parents[2] / "pyproject.toml"
FRAME = "first.mac + second.mac + bytes.fromhex('88b5') + bytes(46)"


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the plugins of this environment, whose loading takes most of the time."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")


def run(pytester: pytest.Pytester, test: str, *arguments: str) -> pytest.RunResult:
    """Runs a test file by a pytest of its own, which loads the plugin once and nothing else."""
    pytester.makepyfile(test)
    pytester.makeini("[pytest]\naddopts = --strict-markers\n")
    return pytester.runpytest_subprocess("-p", PLUGIN, *arguments, timeout=100)


def test_the_entry_point_names_the_plugin() -> None:
    project = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"iavfio": PLUGIN}
    module = import_module(PLUGIN)
    assert module.softvf and module.vf_pair


def test_both_fixtures_with_their_markers(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        f"""
        import pytest
        from iavfio.testing import receive

        def test_default(softvf, vf_pair):
            first, second = vf_pair
            assert len(softvf.sockets) == 2
            assert second.tx[0].send([{FRAME}] * 3) == 3
            assert receive(first, 3) == [{FRAME}] * 3
            assert first.link.up and second.state == "running"

        @pytest.mark.softvf(vfs=3, personality="x710", uplink="loopback")
        @pytest.mark.vf_pair(queues=2, metadata={{"rss"}})
        def test_marked(softvf, vf_pair):
            assert len(softvf.sockets) == 3
            assert vf_pair.first.identity.family.startswith("X7")
            assert len(vf_pair.second.rx) == 2

        @pytest.mark.softvf(vfs=1, personality="e810")
        class TestNearest:
            @pytest.mark.softvf(vfs=4)
            def test_the_nearest_marker_wins(self, softvf):
                assert len(softvf.sockets) == 4
        """,
    )
    result.assert_outcomes(passed=3)


def test_everything_ends_with_the_test(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        kept = []

        def test_uses_them(softvf, vf_pair):
            kept.extend([softvf, *vf_pair])

        def test_they_are_closed():
            pf, first, second = kept
            assert pf.closed and not pf.running
            assert first.state == second.state == "closed"
        """,
    )
    result.assert_outcomes(passed=2)


def test_a_failed_test_shows_what_drivers_did_wrong(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        from iavfio import pyvfio

        def test_breaks_a_rule(softvf):
            with pyvfio.open(softvf.sockets[0]) as device:
                device.write(0, 0x8800, bytes(8))  # registers have 4 bytes
            assert not softvf.violations()
        """,
    )
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*- software VF -*", "*vf0 *"])


def test_wrong_markers_are_told(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import pytest

        @pytest.mark.softvf(3)
        def test_positional(softvf):
            pass

        @pytest.mark.softvf(vfs=0)
        def test_impossible(softvf):
            pass

        @pytest.mark.vf_pair(queues=99)
        def test_settings(vf_pair):
            pass
        """,
    )
    result.assert_outcomes(errors=3)
    result.stdout.fnmatch_lines(
        ["*named arguments only*", "*vfs can be 1 to 64*", "*iavfio drives at most 16*"]
    )


def test_markers_and_fixtures_explain_themselves(pytester: pytest.Pytester) -> None:
    result = run(pytester, "", "--markers")
    result.stdout.fnmatch_lines(["@pytest.mark.softvf(?*options):*"])
    result = run(pytester, "", "--fixtures")
    result.stdout.fnmatch_lines(["softvf -- *", "    A software PF with two VFs*", "vf_pair -- *"])


def test_other_tests_pay_nothing(pytester: pytest.Pytester) -> None:
    result = run(
        pytester,
        """
        import sys

        def test_nothing_is_loaded():
            assert "numpy" not in sys.modules and "iavfio._driver" not in sys.modules
        """,
    )
    result.assert_outcomes(passed=1)


def test_receive_says_what_came(vf_pair: VfPair) -> None:
    first, second = vf_pair
    frames = [second.mac + first.mac + bytes.fromhex("88b5") + bytes([k]) * 46 for k in range(5)]
    assert first.tx[0].send(frames) == 5
    assert receive(second, 2) == frames[:2]
    assert receive(second.rx[0], 3) == frames[2:]
    assert receive(second.rx, 0) == []
    assert receive(second, 1, seconds=0.01) == []
    assert not until(lambda: False, 0.01) and until(lambda: 1)
