"""Images as rows: made, changed by one at a time, ended for ever."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import Connection

from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import locations, service_notes
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import Conflict, Duplicate, Invalid, NotFound
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility, LocationState

Make = Callable[..., Image]


def read(database: Database, image_id: str) -> Image:
    with database.read() as connection:
        return image_records.get(connection, image_id)


def test_an_image_comes_back_as_it_was_written(database: Database, make: Make) -> None:
    image = make(
        name="Ein Bild 😀",
        visibility=ImageVisibility.COMMUNITY,
        protected=True,
        hidden=True,
        container_format="bare",
        disk_format="raw",
        min_ram=512,
        min_disk=2147483647,
        properties={"os_distro": "debian", "leer": "", "nichts": None, "lang": "x" * 70_000},
        tags=("b", "a"),
    )
    assert read(database, image.id) == image


def test_an_id_is_taken_once(database: Database, make: Make) -> None:
    image = make()
    with pytest.raises(Duplicate):
        make(id=image.id)
    database.write(
        lambda connection: image_records.change_status(
            connection, image.id, expected={ImageStatus.QUEUED}, to=ImageStatus.DELETED
        )
    )
    with pytest.raises(NotFound):
        read(database, image.id)
    with pytest.raises(Duplicate):
        make(id=image.id)


def test_a_change_shows_parts_as_they_are_now(database: Database, make: Make) -> None:
    image = make()

    def work(connection: Connection) -> Image:
        before = image_records.lock(connection, image.id)
        locations.add(connection, image.id, "file:///a", store="main", metadata={"k": 1})
        service_notes.change_list(connection, image.id, "importing_to_stores", add=["main", "mirror"], drop=["x"])
        return image_records.change(connection, before, size=7)

    after = database.write(work)
    assert after == read(database, image.id)
    assert (after.version, after.size) == (2, 7)
    assert [(location.url, location.store, location.metadata, location.state) for location in after.locations] == [
        ("file:///a", "main", {"k": 1}, LocationState.ACTIVE)
    ]
    assert after.service == {"importing_to_stores": "main,mirror"}


def test_the_status_machine_has_no_other_arrows(database: Database, make: Make) -> None:
    image = make()
    for status in (ImageStatus.DEACTIVATED, ImageStatus.PENDING_DELETE, ImageStatus.KILLED):
        with pytest.raises(Conflict):
            database.write(
                lambda connection, to=status: image_records.change_status(  # type: ignore[misc]
                    connection, image.id, expected={ImageStatus.QUEUED}, to=to
                )
            )
    assert read(database, image.id) == image


def test_of_many_uploads_one_wins(database: Database, make: Make) -> None:
    image = make()
    start = threading.Barrier(8)

    def upload(_number: int) -> bool:
        start.wait()
        try:
            database.write(
                lambda connection: image_records.change_status(
                    connection, image.id, expected={ImageStatus.QUEUED}, to=ImageStatus.SAVING
                )
            )
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(upload, range(8))) == 1
    assert read(database, image.id).status is ImageStatus.SAVING


def test_no_update_is_lost(database: Database, make: Make) -> None:
    """Every one of many concurrent changes of one document is in it at the end."""
    image = make()

    def change(number: int) -> None:
        def work(connection: Connection) -> None:
            before = image_records.lock(connection, image.id)
            properties = {**before.properties, f"p{number}": str(number)}
            image_records.save(connection, before, dataclasses.replace(before, properties=properties))

        database.write(work)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(change, range(120)))
    after = read(database, image.id)
    assert after.properties == {f"p{number}": str(number) for number in range(120)}
    assert after.version == 121


def test_a_stale_version_is_refused(database: Database, make: Make) -> None:
    image = make()
    database.write(lambda connection: image_records.save(connection, image, dataclasses.replace(image, name="first")))
    with pytest.raises(Conflict, match="changed by somebody else"):
        database.write(
            lambda connection: image_records.save(connection, image, dataclasses.replace(image, name="second"))
        )
    assert read(database, image.id).name == "first"


def test_a_failed_transaction_leaves_nothing(database: Database, make: Make) -> None:
    image = make()

    def work(connection: Connection) -> None:
        image_records.change(connection, image_records.lock(connection, image.id), name="half")
        raise Conflict("no")

    with pytest.raises(Conflict):
        database.write(work)
    assert read(database, image.id) == image


@pytest.mark.parametrize("field", ["name", "owner"])
def test_what_cannot_be_stored_is_the_clients_mistake(database: Database, make: Make, field: str) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite stores anything; the API refuses it before")
    with pytest.raises(Invalid):
        make(**{field: "x" * 256})
    if database.dialect == "postgresql":
        with pytest.raises(Invalid):
            make(**{field: "a\0b"})
