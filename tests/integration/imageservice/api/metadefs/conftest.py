"""Namespaces that do not outlast their test: public ones stand in everybody's lists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.connection import Database


@pytest.fixture(autouse=True)
def no_namespaces(database_url: str) -> Iterator[None]:
    yield
    database = Database(database_url)
    database.write(lambda connection: connection.execute(tables.metadef_namespaces.delete()))
    database.close()
