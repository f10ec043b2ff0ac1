from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.image.definitions import patterns
from pipeline.image.definitions.patterns import PatternRefused, compiled


def test_patterns_are_found_anywhere_unless_they_say_otherwise() -> None:
    assert compiled("b+").found_in("abbc")
    assert not compiled("^b+$").found_in("abbc")
    assert compiled("^[a-f0-9]{8}$").found_in("0123abcd")
    assert compiled("ü").found_in("grün")


@pytest.mark.parametrize(
    "pattern",
    [r"(a)\1", "(?=a)", "(?<!b)a", "[", "(", "a{2000}", "((a{100}){100}){100}", "a" * (patterns.LONGEST + 1), "\ud800"],
)
def test_what_has_no_bound_is_refused(pattern: str) -> None:
    with pytest.raises(PatternRefused) as error:
        compiled(pattern)
    assert str(error.value)


def test_what_hangs_others_is_answered() -> None:
    """With backtracking, each further character doubles the steps: 65,535 of them would never end."""
    assert not compiled("^(a+)+$").found_in("a" * 65_534 + "!")
    assert not compiled("^(([a-z])+.)+[A-Z]([a-z])+$").found_in("a" * 65_535)


@given(st.text(max_size=40), st.text(max_size=200))
def test_any_pattern_is_taken_or_refused(pattern: str, text: str) -> None:
    try:
        usable = compiled(pattern)
    except PatternRefused:
        return
    assert usable.found_in(text) in (True, False)
