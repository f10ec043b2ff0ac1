"""What a metadata definition may be, beside a full implementation of JSON Schema."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.schema import metadef_schema as schemas
from pipeline.imageservice.schema.metadef_reader import read_namespace
from pipeline.imageservice.schema.metadef_schema import check_document, check_name

_EVERY = [schemas.NAMESPACE, schemas.OBJECT, schemas.PROPERTY, schemas.TAG, schemas.TAGS, schemas.ASSOCIATION]
_KEYS = sorted({key for schema in _EVERY for key in schema["properties"]} | {"odd"})
_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab.", max_size=3) | st.sampled_from(["string", "public"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(_KEYS), inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200)
@given(st.sampled_from(_EVERY), st.dictionaries(st.sampled_from(_KEYS), _values, max_size=5))
def test_what_is_taken_is_what_is_described(schema: dict[str, Any], body: dict[str, Any]) -> None:
    try:
        check_document(body, schema)
    except Exception as error:
        # Names have rules that a schema does not say, and only the service writes what is read-only.
        assert (
            not jsonschema.Draft4Validator(schema).is_valid(body) or "name" in str(error) or "read-only" in str(error)
        )
    else:
        assert jsonschema.Draft4Validator(schema).is_valid(body)


@pytest.mark.parametrize("name", ["OS::Compute::Libvirt", "ü 😀", "a/b?c#d%", "x" * 80, "...", "<script>"])
def test_names_that_are_taken(name: str) -> None:
    assert check_name(name, "name") == name


@pytest.mark.parametrize(
    ("body", "place"),
    [
        ({"namespace": "n", "objects": [{"name": "a"}, {"name": " "}]}, r"objects\[1\]\.name"),
        ({"namespace": "n", "properties": {"..": {"title": "", "type": "string"}}}, "properties: a name"),
        ({"namespace": "n", "tags": [{"name": "a\n"}]}, r"tags\[0\]\.name"),
        ({"namespace": "n", "objects": [{"name": "a", "properties": {"p": {}}}]}, r"objects\[0\]\.properties\.p"),
    ],
)
def test_a_mistake_is_named_with_its_place(body: Any, place: str) -> None:
    with pytest.raises(Invalid, match=place):
        read_namespace(body)


def test_what_only_the_service_says_of_an_object_is_not_kept() -> None:
    shown = {"name": "o", "self": "/here", "schema": "/s", "created_at": "x", "updated_at": "y", "required": ["p"]}
    _fields, _associations, [one] = read_namespace({"namespace": "n", "objects": [shown]})
    assert one.document == {"required": ["p"]}
