"""Lists compared with a plain model of what a caller may see, over random images and random queries."""

from __future__ import annotations

import operator
import random
import uuid
from collections.abc import Callable, Sequence
from typing import Any, Literal

import pytest
from sqlalchemy import Connection

from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import listing, members
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility, MemberStatus, now
from pipeline.imageservice.model.queries import SORT_KEYS, Condition, Query, Sort

PROJECTS = ["p1", "p2", "p3"]
Memberships = dict[tuple[str, str], MemberStatus]


@pytest.fixture
def world(database: Database) -> tuple[list[Image], Memberships]:
    """Some 160 images of three projects, some of them shared."""
    choose = random.Random(20261121)
    start = now()
    made = [_random_image(choose, start) for _ in range(160)]
    shared: Memberships = {}

    def work(connection: Connection) -> None:
        for image in made:
            image_records.insert_image(connection, image)
            for project in PROJECTS:
                if image.visibility is ImageVisibility.SHARED and project != image.owner and choose.random() < 0.5:
                    member = members.add(connection, image, project)
                    status = choose.choice(list(MemberStatus))
                    members.set_status(connection, member, status)
                    shared[image.id, project] = status

    database.write(work)
    return made, shared


def _random_image(choose: random.Random, start: int) -> Image:
    moment = start + choose.randrange(60) * 1_000_000  # many at the same time, so that ties matter
    gone = choose.random() < 0.1
    return Image(
        id=str(uuid.UUID(int=choose.getrandbits(128))),
        owner=choose.choice(PROJECTS),
        created_at=moment,
        updated_at=moment + choose.randrange(5),
        name=choose.choice([None, "", "a", "B", "b", "ä", "z"]),
        status=ImageStatus.DELETED if gone else choose.choice([ImageStatus.QUEUED, ImageStatus.ACTIVE]),
        visibility=choose.choice(list(ImageVisibility)),
        hidden=choose.random() < 0.1,
        protected=choose.random() < 0.5,
        size=choose.choice([None, 0, 1, 5, 10]),
        disk_format=choose.choice([None, "raw", "qcow2"]),
        container_format=choose.choice([None, "bare"]),
        min_ram=choose.choice([0, 512]),
        properties={name: choose.choice(["1", "2"]) for name in ("x", "y") if choose.random() < 0.6},
        tags=tuple(tag for tag in ("t", "u") if choose.random() < 0.4),
    )


def _visible(image: Image, query: Query, shared: Memberships) -> bool:
    own = image.owner == query.project
    wanted = query.visibility
    if isinstance(wanted, ImageVisibility) and image.visibility is not wanted:
        return False
    if query.is_admin:
        return wanted is not None or own or image.visibility is not ImageVisibility.COMMUNITY
    if image.visibility is ImageVisibility.PUBLIC or own:
        return not (own and wanted in (ImageVisibility.PUBLIC, ImageVisibility.COMMUNITY)) or image.visibility is wanted
    if image.visibility is ImageVisibility.COMMUNITY:
        return wanted in ("all", ImageVisibility.COMMUNITY)
    status = shared.get((image.id, str(query.project)))
    return image.visibility is ImageVisibility.SHARED and status is not None and query.member_status in (None, status)


def _matches(image: Image, query: Query) -> bool:
    checks = [
        not image.status.is_gone,
        image.hidden == query.hidden,
        query.owner in (None, image.owner),
        all(image.properties.get(name) == value for name, value in query.properties),
        set(query.tags) <= set(image.tags),
        *(_holds(image, condition) for condition in query.conditions),
    ]
    return all(checks)


def _holds(image: Image, condition: Condition) -> bool:
    value: Any = getattr(image, condition.column)
    if condition.column == "name":
        value = value or ""
    wanted: Any = condition.value
    if value is None:
        return False
    if condition.operator == "within":
        return bool(wanted[0] <= value < wanted[1])
    if condition.operator == "outside":
        return not wanted[0] <= value < wanted[1]
    return bool(_OPERATORS[condition.operator](value, wanted))


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "eq": operator.eq,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
    "in": lambda value, wanted: value in wanted,
}


def _sorted(found: Sequence[Image], query: Query) -> list[Image]:
    result = list(found)
    for sort in reversed(query.sort):
        result.sort(key=lambda image, key=sort.key: _key(image, key), reverse=sort.descending)  # type: ignore[misc]
    return result


def _key(image: Image, name: str) -> Any:
    value = getattr(image, name)
    if isinstance(value, str):
        return value.encode()
    return value if value is not None else (0 if name == "size" else b"")


def _random_query(choose: random.Random, made: Sequence[Image]) -> dict[str, Any]:
    keys = choose.sample(SORT_KEYS, choose.choice([0, 0, 1, 1, 2]))
    same: bool | None = choose.choice([True, False, None])
    sort = [Sort(key, choose.random() < 0.5 if same is None else same) for key in keys]
    sort += [Sort(key, True if same is None else same) for key in ("created_at", "id") if key not in keys]
    moment = choose.choice(made).created_at
    conditions = [
        Condition("status", "eq", "active"),
        Condition("name", "in", ("a", "ä", "")),
        Condition("name", "eq", "b"),
        Condition("size", "gte", 1),
        Condition("min_ram", "lte", 100),
        Condition("protected", "eq", True),
        Condition("disk_format", "eq", "raw"),
        Condition("created_at", "within", (moment, moment + 1_000_000)),
        Condition("created_at", "outside", (moment, moment + 1_000_000)),
        Condition("created_at", "gte", moment),
    ]
    visibility: ImageVisibility | Literal["all"] | None = choose.choice([None, None, "all", *ImageVisibility])
    return {
        "project": choose.choice(PROJECTS),
        "is_admin": choose.random() < 0.3,
        "sort": tuple(sort),
        "visibility": visibility,
        "member_status": choose.choice([MemberStatus.ACCEPTED, MemberStatus.ACCEPTED, MemberStatus.PENDING, None]),
        "hidden": choose.random() < 0.1,
        "owner": choose.choice([None, None, None, *PROJECTS]),
        "conditions": tuple(choose.sample(conditions, choose.choice([0, 0, 1, 2]))),
        "properties": tuple(choose.sample([("x", "1"), ("y", "2"), ("z", "1")], choose.choice([0, 0, 1, 2]))),
        "tags": tuple(choose.sample(["t", "u"], choose.choice([0, 0, 1, 2]))),
    }


@pytest.mark.parametrize("rare", [2000, 0], ids=["rare filters lead", "every filter counts as common"])
def test_pages_hold_what_the_model_says(
    database: Database, world: tuple[list[Image], Memberships], monkeypatch: pytest.MonkeyPatch, rare: int
) -> None:
    monkeypatch.setattr(listing, "RARE", rare)
    made, shared = world
    choose = random.Random(rare)
    seen = 0
    for _ in range(150 if database.is_sqlite else 50):
        limit = choose.choice([1, 3, 7, 50])
        query = Query(limit=limit, **_random_query(choose, made))
        expected = _sorted([one for one in made if _matches(one, query) and _visible(one, query, shared)], query)
        assert [one.id for one in _walk(database, query)] == [one.id for one in expected], query
        seen += len(expected)
    assert seen > 200


def _walk(database: Database, query: Query) -> list[Image]:
    """All pages, one after the other."""
    found: list[Image] = []
    marker: Image | None = None
    while True:
        with database.read() as connection:
            page = listing.page(connection, Query(**{**_fields(query), "marker": marker})).images
        found += page
        if len(page) < query.limit:
            return found
        marker = page[-1]


def _fields(query: Query) -> dict[str, Any]:
    return {name: getattr(query, name) for name in Query.__slots__}


def test_a_page_of_nothing_asks_nothing(database: Database) -> None:
    with database.read() as connection:
        assert listing.page(connection, Query(project="p", is_admin=True, limit=0)).images == []


def test_nobody_sees_public_images_only(database: Database, world: tuple[list[Image], Memberships]) -> None:
    made, _shared = world
    with database.read() as connection:
        page = listing.page(connection, Query(project=None, is_admin=False, limit=1000)).images
    public = {
        one.id for one in made if one.visibility is ImageVisibility.PUBLIC and not one.hidden and not one.status.is_gone
    }
    assert {one.id for one in page} == public
