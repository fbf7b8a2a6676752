# SPDX-License-Identifier: BSD-3-Clause
"""The words of `iavfio vf PF set`: what each takes, and what is said of anything else."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iavfio.errors import ConfigError
from iavfio.vfs import WORDS, parse
from iavfio.vfs.words import LINKS, NO_MAC, shown

RIGHT = {
    "mac": st.binary(min_size=6, max_size=6)
    .filter(lambda raw: not raw[0] & 1 and any(raw))
    .map(lambda raw: raw.hex(":"))
    | st.just("none"),
    "vlan": st.integers(0, 4094).map(str),
    "qos": st.integers(0, 7).map(str),
    "trust": st.sampled_from(["on", "off"]),
    "spoofchk": st.sampled_from(["on", "off"]),
    "link": st.sampled_from(LINKS),
    "rate": st.integers(0, (1 << 32) - 1).map(str),
    "min-rate": st.integers(0, (1 << 32) - 1).map(str),
}

ANY = st.text(string.printable, max_size=12) | st.sampled_from(sorted(WORDS))


def test_every_word_has_a_strategy_and_an_example_that_it_takes() -> None:
    assert set(RIGHT) == set(WORDS)
    for word in WORDS.values():
        assert list(parse([word.name, word.example])) == [word.name]


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_what_is_read_is_shown_as_it_was_written(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(WORDS)), unique=True, min_size=1))
    values = [data.draw(RIGHT[name]) for name in names]
    words = [word for pair in zip(names, values, strict=True) for word in pair]
    asked = parse(words)
    assert [shown(name, value) for name, value in asked.items()] == values
    assert list(asked) == names


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.text(string.printable, max_size=12) | st.sampled_from(sorted(WORDS)), max_size=5)
)
def test_anything_else_is_wrong_use_with_three_parts(words: list[str]) -> None:
    try:
        asked = parse(words)
    except ConfigError as wrong:
        assert wrong.what
        assert wrong.cause
    else:
        assert len(asked) * 2 == len(words)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "no setting is named"),
        (["trst", "on"], "there is no setting of a VF 'trst'"),
        (["trust"], "trust has no value"),
        (["trust", "yes"], "trust 'yes' is not possible: it takes on or off"),
        (["trust", "on", "trust", "off"], "trust is named twice"),
        (["vlan", "4095"], "vlan '4095' is not possible: it takes 0 to 4094"),
        (["vlan", "-1"], "vlan '-1' is not possible"),
        (["vlan", "1" * 5000], "is not possible"),
        (["vlan", "٣"], "is not possible"),
        (["qos", "8"], "it takes 0 to 7"),
        (["rate", "4294967296"], "rate '4294967296' is not possible"),
        (["rate", "1.5"], "rate '1.5' is not possible"),
        (["link", "up"], "it takes auto, enable or disable"),
        (["mac", "01:00:00:00:00:01"], "it is a group address"),
        (["mac", "nonsense"], "mac 'nonsense' is not possible"),
    ],
)
def test_the_reason_is_named(words: list[str], what: str) -> None:
    with pytest.raises(ConfigError) as wrong:
        parse(words)
    assert what in str(wrong.value)


def test_no_address_is_the_kernel_s_zeros() -> None:
    assert parse(["mac", "none"]) == {"mac": NO_MAC}
