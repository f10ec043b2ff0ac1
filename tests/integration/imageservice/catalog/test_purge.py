"""Deleted images go some day; their ids never come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, func, select

from pipeline.imageservice.catalog import images, locations, members, purge, service_notes, tables
from pipeline.imageservice.catalog.database import Database
from pipeline.imageservice.catalog.model import Image, ImageStatus, LocationState
from pipeline.imageservice.errors import Duplicate

ENDED = {"expected": {ImageStatus.QUEUED}, "to": ImageStatus.DELETED}


def test_purge(database: Database, make: Callable[..., Image]) -> None:
    old, with_data, alive = make(), make(), make()

    def end(connection: Connection) -> None:
        members.add(connection, old, "somebody")
        service_notes.put(connection, old.id, "failed_import", "")
        locations.add(connection, with_data.id, "rbd://x", store=None, state=LocationState.DELETING)
        for image in (old, with_data):
            images.change_status(connection, image.id, **ENDED)  # type: ignore[arg-type]

    database.write(end)
    assert database.write(lambda connection: purge.purge(connection, days=1)) == 0
    assert database.write(lambda connection: purge.purge(connection, days=0)) == 1
    with database.read() as connection:
        assert images.find(connection, old.id, gone=True) is None
        assert images.find(connection, with_data.id, gone=True) is not None
        assert images.find(connection, alive.id) is not None
        for table in (tables.members, tables.service_notes):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0
    with pytest.raises(Duplicate):
        make(id=old.id)
