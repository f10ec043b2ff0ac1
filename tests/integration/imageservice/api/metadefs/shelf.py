"""Namespaces to test with, and the rules the operators' guide writes down."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import event

from pipeline.imageservice.catalog.database.connection import Database
from tests.integration.imageservice.api.world import Api, Person

BASE = "/v2/metadefs/namespaces"
FULL: dict[str, Any] = {
    "display_name": "Shown",
    "description": "What it is about",
    "visibility": "public",
    "properties": {
        "cores": {"title": "Cores", "type": "integer", "minimum": 1, "maximum": 64, "default": 2},
        "mode": {"title": "Mode", "type": "string", "enum": ["a", "b"], "operators": ["<in>"]},
    },
    "objects": [
        {
            "name": "pair",
            "description": "Two of them",
            "required": ["one"],
            "properties": {"one": {"title": "One", "type": "string"}, "two": {"title": "Two", "type": "boolean"}},
        }
    ],
    "tags": [{"name": "first"}, {"name": "second"}],
    "resource_type_associations": [
        {"name": "OS::Glance::Image", "prefix": "hw_"},
        {"name": "OS::Nova::Flavor", "prefix": "hw:", "properties_target": "extra"},
    ],
}
# The operators' guide's own files, as they stand there: writes for administrators only, and for everybody.
LOCK_DOWN, OPEN_UP = (
    Path(__file__).parent / "policies" / name
    for name in ("lock-down-glance-metadef-api.yaml", "open-up-glance-api-metadef.yaml")
)


def made(person: Person, name: str = "Our::Names", **fields: Any) -> str:
    """Make a namespace; returns its path."""
    answer = person.post(BASE, {"namespace": name, **fields})
    assert answer.status_code == 201, answer.text
    return str(answer.json["self"])


def listed(person: Person, query: str = "") -> list[str]:
    """The names a list shows, over all pages."""
    found: list[str] = []
    path = f"{BASE}?{query}"
    while path:
        answer = person.get(path)
        assert answer.status_code == 200, answer.text
        found += [one["namespace"] for one in answer.json["namespaces"]]
        path = answer.json.get("next", "")
    return found


@contextmanager
def statements(database: Database) -> Iterator[list[str]]:
    """What the database is asked meanwhile, without what begins and ends transactions."""
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith(("SELECT", "INSERT", "UPDATE", "DELETE")):
            said.append(statement)

    event.listen(database.engine, "before_cursor_execute", note)
    yield said
    event.remove(database.engine, "before_cursor_execute", note)


MakeApi = Callable[..., Api]
