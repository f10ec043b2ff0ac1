"""The catalog on each of the three databases: every test here runs on all of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.model.images import Image, now

KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.server),
    pytest.param("mariadb", marks=pytest.mark.server),
]


@pytest.fixture(params=KINDS)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/catalog.db"
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A database with the newest schema."""
    database = Database(database_url, connections=24, lock_timeout=60)
    migrate.upgrade(database)
    yield database
    database.close()


@pytest.fixture
def make(database: Database) -> Callable[..., Image]:
    """Write down an image."""

    def make(**fields: Any) -> Image:
        moment = fields.pop("created_at", None) or now()
        image = Image(
            **{"id": str(uuid.uuid4()), "owner": "ours", "created_at": moment, "updated_at": moment, **fields}
        )
        return database.write(lambda connection: image_records.insert_image(connection, image))

    return make
