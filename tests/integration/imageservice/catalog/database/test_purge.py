"""Deleted images go some day; their ids never come back."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from sqlalchemy import Connection, func, select

from pipeline.imageservice.catalog.database import purge, tables
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import locations, members, service_notes
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import Duplicate
from pipeline.imageservice.model.images import Image, ImageStatus, LocationState

ENDED = {"expected": {ImageStatus.QUEUED}, "to": ImageStatus.DELETED}


def test_purge(database: Database, make: Callable[..., Image]) -> None:
    old, with_data, alive = make(), make(), make()

    def end(connection: Connection) -> None:
        members.add(connection, old, "somebody")
        service_notes.put(connection, old.id, "failed_import", "")
        locations.add(connection, with_data.id, "rbd://x", store=None, state=LocationState.DELETING)
        for image in (old, with_data):
            image_records.change_status(connection, image.id, **ENDED)  # type: ignore[arg-type]

    database.write(end)
    assert database.write(lambda connection: purge.purge(connection, days=1)) == 0
    assert database.write(lambda connection: purge.purge(connection, days=0)) == 1
    with database.read() as connection:
        assert image_records.find(connection, old.id, gone=True) is None
        assert image_records.find(connection, with_data.id, gone=True) is not None
        assert image_records.find(connection, alive.id) is not None
        for table in (tables.members, tables.service_notes):
            assert connection.execute(select(func.count()).select_from(table)).scalar() == 0
    with pytest.raises(Duplicate):
        make(id=old.id)
