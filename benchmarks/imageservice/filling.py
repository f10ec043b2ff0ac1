"""A catalog with many images, as a cloud has them: most are others' own, some public; a common and a rare property."""

from __future__ import annotations

import random
import uuid
from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, insert

from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import filter_index
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility, now

_BATCH = 5_000


def fill(database: Database, count: int) -> None:
    """Write ``count`` images: rows and filter terms as the service writes them, a batch in a transaction."""
    made = _images(count)
    left = count
    while left > 0:
        batch = [next(made) for _ in range(min(_BATCH, left))]
        database.write(lambda connection, rows=tuple(batch): _write(connection, rows))  # type: ignore[misc]
        left -= len(batch)


def _write(connection: Connection, batch: tuple[Image, ...]) -> None:
    connection.execute(insert(tables.images), [image_records.row_of(image) for image in batch])
    rows: list[dict[str, Any]] = [
        {"term": term, "created_at": image.created_at, "image_id": image.id}
        for image in batch
        for term in filter_index.of_image(image)
    ]
    connection.execute(insert(tables.terms), sorted(rows, key=lambda row: row["term"]))


def _images(count: int) -> Iterator[Image]:
    """Yield the same share of everything whatever the number, but 25 of what "few" has and 10 of rare ones."""
    choose = random.Random(count)
    start = now() - count * 1_000_000
    few, rare = set(choose.sample(range(count), 25)), set(choose.sample(range(count), 10))
    for number in range(count):
        public = number % 4 == 0
        properties = {"common": "yes" if number % 2 else "no", "os_distro": "debian"}
        if number in rare:
            properties["rare"] = "yes"
        yield Image(
            id=str(uuid.UUID(int=choose.getrandbits(128), version=4)),
            owner="few" if number in few else f"project-{choose.randrange(1000)}",
            created_at=start + number * 1_000_000,
            updated_at=start + number * 1_000_000,
            name=f"image {number}",
            status=ImageStatus.QUEUED,
            visibility=ImageVisibility.PUBLIC if public and number not in few else ImageVisibility.PRIVATE,
            disk_format="qcow2",
            container_format="bare",
            properties=properties,
            tags=("benchmark",),
        )
