"""Our checker of schemas beside a full implementation."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.schema.image_schema import LOCATION, ImageSchema
from pipeline.imageservice.schema.schema_check import mistakes

IMAGE = ImageSchema(ApiOptions().disk_formats, ApiOptions().container_formats).document
SCHEMAS: list[dict[str, Any]] = [
    *IMAGE["properties"].values(),
    LOCATION,
    {"type": "array", "items": {"type": "string"}, "uniqueItems": True, "maxItems": 2, "minItems": 1},
    {"type": "number", "minimum": 1, "maximum": 5},
    {"type": ["integer", "null"], "minimum": 0},
    {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False, "required": ["a"]},
    {"type": "object", "additionalProperties": {"type": "integer"}},
    {"enum": [1, True, None, "x"]},
]
_texts = st.text(max_size=40) | st.sampled_from(
    ["raw", "public", "x" * 300, "11111111-2222-3333-4444-555555555555", "a" * 32]
)
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-10, 10) | st.floats(allow_nan=False, allow_infinity=False) | _texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "url", "metadata", "validation_data", "os_hash_algo", "os_hash_value"]), inner
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300)
@given(schema=st.sampled_from(SCHEMAS), value=_values)
def test_verdicts_agree(schema: dict[str, Any], value: Any) -> None:
    # A float without a fraction is an integer to newer drafts; the API takes only what is written as one.
    theirs = jsonschema.Draft4Validator(schema).is_valid(value)
    assert (not list(mistakes(value, schema, "it"))) is theirs


def test_every_mistake_is_named_with_its_place() -> None:
    value = {"url": "x" * 256, "validation_data": {"checksum": "short", "extra": "x"}}
    found = list(mistakes(value, LOCATION, "locations[0]"))
    assert len(found) == 6
    assert any(text.startswith("locations[0].validation_data.checksum: 'short' is shorter") for text in found)
    assert "locations[0].validation_data: os_hash_algo is missing" in found
    assert "locations[0].validation_data.extra: there is no such property" in found


@pytest.mark.parametrize("value", ["11111111-2222-3333-4444-555555555555\n", "x11111111-2222-3333-4444-555555555555"])
def test_patterns_fit_the_whole_text(value: str) -> None:
    assert list(mistakes(value, IMAGE["properties"]["id"], "id"))


def test_long_values_are_not_repeated() -> None:
    [text] = mistakes("x" * 10_000, {"type": "integer"}, "it")
    assert len(text) < 150
