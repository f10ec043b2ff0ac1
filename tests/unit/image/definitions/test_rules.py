from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.image.definitions.rules import read_rule


def rule(**document: Any) -> Any:
    return read_rule(document)


@pytest.mark.parametrize(
    ("document", "right", "wrong"),
    [
        ({"type": "integer"}, ["0", "-7", "12"], ["", "1.0", "1e3", " 1", "1 ", "x", "+1", "٣", "9" * 5000]),
        ({"type": "integer", "minimum": 1, "maximum": 64}, ["1", "64"], ["0", "65", "-1"]),
        ({"type": "integer", "enum": [1, 2, "4"]}, ["1", "4"], ["3"]),
        ({"type": "number", "minimum": 0.5}, ["0.5", "1e3", "7"], ["0.4", "nan", "inf", "1e999", "1,5", ".5"]),
        ({"type": "boolean"}, ["true", "false"], ["yes", "True", "1", ""]),
        ({"type": "boolean", "enum": [True]}, ["true"], ["false"]),
        ({"type": "integer", "enum": [True]}, [], ["1"]),
        ({"type": "string", "enum": ["a", "b"]}, ["a"], ["A", "c", ""]),
        ({"type": "string", "minLength": 2, "maxLength": 3}, ["ab", "üüü"], ["a", "abcd"]),
        ({"type": "string", "pattern": "^a+$"}, ["aa"], ["ab", ""]),
        ({"type": "string", "enum": ["a"], "operators": ["<or>"]}, ["a", "<or> a <or> b"], ["<and> a"]),
    ],
)
def test_values_are_read_as_their_type(document: dict[str, Any], right: list[str], wrong: list[str]) -> None:
    one = read_rule(document)
    assert one is not None
    assert [value for value in right if not one.accepts(value)] == []
    assert [value for value in wrong if one.accepts(value)] == []


@pytest.mark.parametrize("kind", ["array", "object", None, "colour", ["string"]])
def test_what_text_cannot_be_is_not_judged(kind: Any) -> None:
    assert rule(type=kind, enum=["a"]) is None


def test_a_pattern_that_cannot_be_used_says_nothing() -> None:
    one = rule(type="string", pattern="(?=a)", minLength=2)
    assert one.accepts("xy") and not one.accepts("x")
    assert "matches" not in one.expected


def test_what_would_be_right_is_said() -> None:
    assert rule(type="string", enum=["a", "b"]).expected == "one of a, b"
    assert rule(type="integer", minimum=1, maximum=64).expected == "a whole number from 1 to 64"
    assert rule(type="boolean").expected == "one of true, false"
    assert rule(type="string", maxLength=3, pattern="^a").expected == "text of at most 3 characters that matches ^a"
    many = rule(type="string", enum=[str(number) for number in range(1000)]).expected
    assert many.endswith("and 940 more") and len(many) < 500


_JSON = st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20)
_FIELDS = ("minimum", "maximum", "minLength", "maxLength", "pattern", "enum", "operators", "items", "default")


@given(
    st.sampled_from(["string", "integer", "number", "boolean"]),
    st.dictionaries(st.sampled_from(_FIELDS), _JSON | st.lists(_JSON, max_size=3)),
    st.text(),
)
def test_no_definition_and_no_value_breaks_it(kind: str, document: dict[str, Any], value: str) -> None:
    """Definitions come from other clouds, too."""
    one = rule(**document, type=kind)
    assert one.accepts(value) in (True, False)
    assert one.expected


@given(st.integers(), st.integers(-100, 100), st.integers(-100, 100))
def test_bounds_hold_for_what_is_read(value: int, low: int, high: int) -> None:
    assert rule(type="integer", minimum=low, maximum=high).accepts(str(value)) == (low <= value <= high)
