"""JSON of other people."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import json_text

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_what_is_json_is_read(data: object) -> None:
    assert json_text.loads(json.dumps(data)) == data


@pytest.mark.parametrize(
    "text",
    [
        *("[" * 100_000, '{"a":' * 100_000, "NaN", "[-Infinity]", "1e999", '{"a": [-1E+400]}'),
        *("", "{", b"\xff", "1" * 5_000, '"\x00"'),
    ],
)
def test_what_is_none_is_one_kind_of_error(text: str | bytes) -> None:
    with pytest.raises(ValueError):
        json_text.loads(text)


@given(st.binary())
def test_no_bytes_do_anything_else(data: bytes) -> None:
    try:
        json_text.loads(data)
    except ValueError:
        pass
