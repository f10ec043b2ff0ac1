"""The views that reports written for the reference read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, text

from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import locations, members
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility

MOMENT = 1582001395_993652  # 2020-02-18 04:49:55.993652
_BASE = [
    "created_at",
    "updated_at",
    "deleted_at",
    "deleted",
    "id",
    "name",
    "disk_format",
    "container_format",
    "size",
    "virtual_size",
    "status",
    "visibility",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "min_disk",
    "min_ram",
    "owner",
    "protected",
    "os_hidden",
]
_PROPERTY = ["created_at", "updated_at", "deleted_at", "deleted", "id", "image_id", "name", "value"]
_LOCATION = ["created_at", "updated_at", "deleted_at", "deleted", "id", "image_id", "value", "meta_data", "status"]


def test_the_query_of_the_trace(database: Database, make: Callable[..., Image]) -> None:
    """The join over images, properties and locations, word for word but for its aliases' length."""
    image = make(
        name="overcloud-full-vmlinuz",
        created_at=MOMENT,
        disk_format="aki",
        container_format="bare",
        visibility=ImageVisibility.PUBLIC,
        properties={"hw_architecture": "x86_64"},
        tags=("t",),
    )

    def store(connection: Connection) -> None:
        before = image_records.lock(connection, image.id)
        locations.add(connection, image.id, f"file:///{image.id}", store="main")
        image_records.change(connection, before, status=ImageStatus.ACTIVE, size=8106848, updated_at=MOMENT + 1)
        members.add(connection, before, "somebody")

    database.write(store)
    columns = [
        *(f"images.{name} AS images_{name}" for name in _BASE),
        *(f"image_properties_1.{name} AS image_properties_1_{name}" for name in _PROPERTY),
        *(f"image_locations_1.{name} AS image_locations_1_{name}" for name in _LOCATION),
    ]
    query = (
        f"SELECT {', '.join(columns)} FROM images "
        "LEFT OUTER JOIN image_properties AS image_properties_1 ON images.id = image_properties_1.image_id "
        "LEFT OUTER JOIN image_locations AS image_locations_1 ON images.id = image_locations_1.image_id "
        "WHERE images.id = :id"
    )
    with database.read() as connection:
        rows = connection.execute(text(query), {"id": image.id}).mappings().all()
        tags = connection.execute(text("SELECT image_id, value FROM image_tags")).all()
        shared = connection.execute(text("SELECT image_id, member, status FROM image_members")).all()
    assert len(rows) == 1
    row = dict(rows[0])
    assert str(row["images_created_at"]) == "2020-02-18 04:49:55.993652"
    assert str(row["images_updated_at"]) == "2020-02-18 04:49:55.993653"
    assert row["images_deleted_at"] is None
    expected: dict[str, Any] = {
        "images_deleted": 0,
        "images_status": "active",
        "images_size": 8106848,
        "images_disk_format": "aki",
        "images_visibility": "public",
        "images_protected": 0,
        "image_properties_1_image_id": image.id,
        "image_properties_1_name": "hw_architecture",
        "image_properties_1_value": "x86_64",
        "image_properties_1_deleted": 0,
        "image_locations_1_value": f"file:///{image.id}",
        "image_locations_1_status": "active",
    }
    assert {name: row[name] for name in expected} == expected
    assert row["image_locations_1_meta_data"].replace(" ", "") == '{"store":"main"}'
    assert [tuple(one) for one in tags] == [(image.id, "t")]
    assert [tuple(one) for one in shared] == [(image.id, "somebody", "pending")]


def test_properties_with_odd_names(database: Database, make: Callable[..., Image]) -> None:
    odd = {'a"b': "1", "a.b": "2", "$": "3", "ü 😀": 'x"y', "leer": "", "nichts": None, "a'b\\c": "\\n"}
    image = make(properties=odd)
    query = "SELECT name, value FROM image_properties WHERE image_id = :id"
    with database.read() as connection:
        found = {row.name: row.value for row in connection.execute(text(query), {"id": image.id})}
    assert found == odd
