"""A catalog saved from each kind of database, and restored into each."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.database import backup, migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import listing, locations, members
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.catalog.metadefs import definitions, namespaces, resource_types
from pipeline.imageservice.catalog.tasks import leases
from pipeline.imageservice.catalog.tasks import queue as task_queue
from pipeline.imageservice.model.images import Image, ImageStatus, MemberStatus
from pipeline.imageservice.model.metadefs import (
    Association,
    Definition,
    DefinitionKind,
    MetadefNamespace,
    NamespaceFields,
    NamespaceQuery,
)
from pipeline.imageservice.model.queries import Query


@pytest.fixture
def filled(database: Database, make: Callable[..., Image]) -> Database:
    """Something in every table."""
    image = make(name="ü 😀", properties={"x": "1", "n": None}, tags=("t",))
    gone = make()

    def more(connection: Connection) -> None:
        before = image_records.lock(connection, image.id)
        locations.add(connection, image.id, "s3://x", store="main", metadata={"k": 1})
        image_records.change(connection, before, status=ImageStatus.ACTIVE, size=5, hash_value="00")
        members.set_status(connection, members.add(connection, image, "b"), MemberStatus.ACCEPTED)
        task_queue.create(connection, "import", owner="ours", input_={"a": [1]}, image_id=image.id)
        leases.acquire(connection, "upload:x", "somebody", 60, {"store": "main"})
        quotas.reserve(connection, "ours", image.id, stored=7)
        namespace = namespaces.add(connection, NamespaceFields("Our::Names", description="ü"), "ours", "ours")
        resource_types.associate(connection, namespace.id, [Association("OS::New::Type", "p:")])
        required = {"required": ["a"], "description": "ü"}
        definitions.add(connection, namespace.id, [Definition(DefinitionKind.OBJECT, "o", required)])
        ended = {ImageStatus.QUEUED}
        image_records.change_status(connection, gone.id, expected=ended, to=ImageStatus.DELETED, deleted_at=1)

    database.write(more)
    return database


def everything(database: Database) -> dict[str, Any]:
    with database.read() as connection:
        every = Query(project="ours", is_admin=True, limit=100, properties=(("x", "1"),), tags=("t",))
        found = listing.page(connection, every).images
        return {
            "images": found,
            "members": [members.of_image(connection, image.id) for image in found],
            "tasks": [task_queue.of_image(connection, image.id) for image in found],
            "usage": quotas.usage(connection, "ours"),
            "lease": leases.find(connection, "upload:x"),
            "namespaces": namespaces.page(connection, NamespaceQuery(project=None, sees_all=True, limit=9)),
            "definitions": [definitions.of_namespace(connection, one.id) for one in _namespaces(connection)],
            "resource types": resource_types.all_types(connection),
        }


def _namespaces(connection: Connection) -> list[MetadefNamespace]:
    found = namespaces.find(connection, "Our::Names")
    return [found] if found else []


def test_what_is_restored_is_what_was_saved(filled: Database, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    file = tmp_path / "backup.jsonl.gz"
    saved = backup.backup(filled, file)
    assert saved["catalog_images"] == 2
    assert file.stat().st_mode & 0o777 == 0o600
    for target in _targets(filled, tmp_path, request):
        assert backup.restore(target, file) == saved
        assert everything(target) == everything(filled)
        # Numbers go on where they stopped.
        target.write(lambda connection: locations.add(connection, everything(filled)["images"][0].id, "x", store=None))
        assert target.write(lambda connection: leases.next_number(connection, "fence")) == 2
        with pytest.raises(PipelineError, match="not empty"):
            backup.restore(target, file)
        target.close()


def _targets(filled: Database, tmp_path: Path, request: pytest.FixtureRequest) -> list[Database]:
    """SQLite always; another database of the same kind too."""
    targets = [Database(f"sqlite:///{tmp_path}/restored.db")]
    if not filled.is_sqlite:
        server = request.getfixturevalue(f"{filled.dialect}_server").database()
        request.addfinalizer(lambda: server.__exit__(None, None, None))
        targets.append(Database(server.__enter__()))
    return targets


def test_damaged_files_change_nothing(filled: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup.jsonl.gz"
    backup.backup(filled, file)
    lines = gzip.decompress(file.read_bytes()).splitlines(keepends=True)
    target = Database(f"sqlite:///{tmp_path}/restored.db")
    for name, content in {
        "cut off": gzip.compress(b"".join(lines[:-1])),
        "a row is missing": gzip.compress(b"".join([lines[0], *lines[2:]])),
        "cut off within": file.read_bytes()[:-20],
        "something else": gzip.compress(b'{"format": "x"}\n'),
        "not packed": b"".join(lines),
        "empty": gzip.compress(b""),
    }.items():
        file.write_bytes(content)
        with pytest.raises(PipelineError, match=r"backup"):
            backup.restore(target, file)
        assert not target.file.exists(), name
    with pytest.raises(PipelineError, match="no file"):
        backup.restore(target, tmp_path / "missing")


def test_a_backup_of_another_revision(filled: Database, tmp_path: Path) -> None:
    file = tmp_path / "backup.jsonl.gz"
    backup.backup(filled, file)
    newest = migrate.revisions()[-1].revision
    text = gzip.decompress(file.read_bytes()).replace(f'"revision":"{newest}"'.encode(), b'"revision":"0000"')
    file.write_bytes(gzip.compress(text))
    with pytest.raises(PipelineError, match="made at revision 0000"):
        backup.restore(Database(f"sqlite:///{tmp_path}/restored.db"), file)
