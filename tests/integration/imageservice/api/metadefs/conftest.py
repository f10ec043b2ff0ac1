"""Namespaces that do not outlast their test: public ones stand in everybody's lists.

On SQLite everything runs always, on servers a sample: what orders, compares, cuts pages, locks or cascades in the
database. All of it runs there in the long tests.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.connection import Database

_HERE = Path(__file__).parent
SAMPLE = {
    "test_a_deleted_namespace_leaves_nothing",
    "test_a_list_costs_one_statement_whatever_is_in_it",
    "test_a_list_shows_whole_pages_and_next_only_where_more_follow",
    "test_a_namespace_comes_back_as_it_was_sent",
    "test_a_whole_walk_reaches_every_act",
    "test_filters_of_the_list",
    "test_names_are_unique_also_where_they_cannot_be_seen",
    "test_names_with_what_paths_are_made_of",
    "test_one_tag",
    "test_pages",
    "test_tags_are_set_or_appended",
    "test_two_who_make_one_namespace",
    "test_whose_definitions_bind_whom",
    "test_writers_at_once_pass_no_limit",
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not isinstance(item, pytest.Function) or item.path.parent != _HERE:
            continue
        kind = item.callspec.params.get("database_url", "sqlite") if hasattr(item, "callspec") else "sqlite"
        if kind != "sqlite" and item.originalname not in SAMPLE:
            item.add_marker(pytest.mark.long)


@pytest.fixture(autouse=True)
def no_namespaces(database_url: str) -> Iterator[None]:
    yield
    database = Database(database_url)
    database.write(lambda connection: connection.execute(tables.metadef_namespaces.delete()))
    database.close()
