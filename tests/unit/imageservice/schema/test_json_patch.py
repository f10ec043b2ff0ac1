"""Patches as text, with the reference implementation of pointers beside ours."""

from __future__ import annotations

import jsonpointer
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.schema.json_patch import Operation, parse, parse_pointer


@given(st.lists(st.text(min_size=1).filter(lambda token: token == token.strip()), min_size=1, max_size=3))
def test_pointers_are_read_as_others_write_them(tokens: list[str]) -> None:
    assert parse_pointer(jsonpointer.JsonPointer.from_parts(tokens).path) == tokens


@given(st.text())
def test_any_text_is_a_pointer_or_refused(text: str) -> None:
    try:
        tokens = parse_pointer(text)
    except Invalid:
        return
    assert tokens == [token.strip() for token in jsonpointer.JsonPointer(text).parts]


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["op", "path", "value", "add", "x"]), inner)
    ),
    max_leaves=8,
)


@given(json_values, st.booleans())
def test_any_document_is_a_patch_or_refused(document: object, old: bool) -> None:
    try:
        operations = parse(document, old_form=old, most=2000)
    except Invalid as error:
        assert error.message
        return
    assert all(isinstance(operation, Operation) for operation in operations)


def test_both_forms() -> None:
    assert parse([{"op": "add", "path": "/a~1b", "value": 1}], old_form=False, most=2000) == [
        Operation("add", "a/b", 1)
    ]
    assert parse([{"remove": "/a"}], old_form=True, most=2000) == [Operation("remove", "a", strict=True)]
    location = {"op": "add", "path": "/locations/-", "value": {}}
    assert parse([location], old_form=False, most=2000) == [Operation("add", "locations", {}, "-")]


@pytest.mark.parametrize("pointer", ["/locations/01", "/locations/5"])
def test_places_in_the_list_of_locations(pointer: str) -> None:
    [operation] = parse([{"op": "remove", "path": pointer}], old_form=False, most=2000)
    assert operation.index == pointer.rpartition("/")[2]
