"""Our stores and the reference's library on the same back ends: what one writes, the other reads and deletes."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import sqlite3
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.handlers import catalog
from pipeline.host.system import process
from pipeline.imageservice.stores.base import DriverContext, Store
from pipeline.imageservice.stores.file.options import FileOptions
from pipeline.imageservice.stores.options import AnyStoreOptions
from pipeline.imageservice.stores.rbd.options import RbdOptions
from pipeline.imageservice.stores.registry import make_store
from pipeline.imageservice.stores.s3.options import S3Options
from pipeline.imageservice.stores.swift.options import SwiftOptions
from pipeline.imageservice.stores.swift.store import SwiftStore
from tests.environments import other_stores as other
from tests.environments.ceph import ACCESS_KEY, SECRET_KEY, Ceph
from tests.environments.daemon import scratch
from tests.environments.fixtures import needed
from tests.environments.imageservice import image_service
from tests.environments.keystone import Keystone
from tests.environments.other_stores import OtherStore, OtherStoreError
from tests.environments.swift import Swift
from tests.environments.venv import environment
from tests.unit.imageservice.stores.contract import pattern, read, write

pytestmark = pytest.mark.server

MIB = 1 << 20
KINDS = ["file", "s3", "swift", "rbd"]
# Of an image of several segments. Theirs count in units of 1,024,000 bytes, and take no known length but whole ones.
LARGE = 12 * 1_024_000
_serial = itertools.count(1)


@dataclass(frozen=True)
class Pair:
    """One back end, ours and theirs."""

    ours: Store
    theirs: OtherStore
    options: AnyStoreOptions


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Pair]:
    with opened(request, request.param, tmp_path) as made:
        yield made


@contextlib.contextmanager
def opened(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[Pair]:
    """A store of ``kind`` that nobody has used yet; for rbd, one whose images all go in the end."""
    options, theirs = _settings(request, kind, folder)
    ours = make_store(options, DriverContext())
    ours.check()
    with other.glance_store(kind, theirs) as running:
        try:
            yield Pair(ours, running, options)
        finally:
            for found in list(ours.objects()):
                ours.delete(found.stored.uri)
            ours.close()


def _settings(request: pytest.FixtureRequest, kind: str, folder: Path) -> tuple[AnyStoreOptions, dict[str, object]]:
    number = next(_serial)
    if kind == "file":
        files = FileOptions.model_validate({"id": kind, "directories": [folder / "f"]})
        return files, other.file_settings(folder / "f")
    if kind == "s3":
        url, bucket = request.getfixturevalue("gateway"), f"both-{number}"
        values = {"host": url, "bucket": bucket, "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
        s3 = S3Options.model_validate({"id": kind, "create_bucket": True, "part_size": 5 * MIB, **values})
        return s3, other.s3_settings(url, bucket)
    if kind == "swift":
        keystone: Keystone = request.getfixturevalue("keystone")
        request.getfixturevalue("swift")
        return _swift_options(folder, keystone, f"both-{number}"), other.swift_settings(
            folder, keystone, f"both-{number}"
        )
    ceph: Ceph = request.getfixturevalue("ceph")
    needed("rbd", "python3-rbd")
    return RbdOptions.model_validate({"id": kind, "ceph_conf": ceph.glance_conf}), other.rbd_settings(ceph)


def _swift_options(folder: Path, keystone: Keystone, container: str) -> SwiftOptions:
    reference = other.swift_reference(folder, keystone)
    values = {"id": "swift", "reference_file": str(reference), "container": container, "segment_size": MIB}
    return SwiftOptions.model_validate({**values, "create_container": True})


def test_what_we_write_they_read_and_delete(pair: Pair, tmp_path: Path) -> None:
    for size in (1, MIB - 1, LARGE + 17):
        data = pattern(size)
        stored = write(pair.ours, str(uuid.uuid4()), data)
        pair.theirs.get(stored.uri, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data
        pair.theirs.delete(stored.uri)
        assert not pair.ours.exists(stored.uri)
        assert left_in(pair) == []


def test_what_they_write_we_read_and_delete(pair: Pair, tmp_path: Path) -> None:
    for size, known in ((1, True), (5000, True), (LARGE, True), (LARGE + 17, False)):
        data, name = pattern(size), str(uuid.uuid4())
        (tmp_path / "image").write_bytes(data)
        added = pair.theirs.add(name, tmp_path / "image", size=size if known else None)
        assert added.size == size
        assert pair.ours.owns(added.uri)
        assert read(pair.ours, added.uri) == data
        assert read(pair.ours, added.uri, offset=size // 3, length=size // 2) == data[size // 3 :][: size // 2]
        assert pair.ours.size(added.uri) == size
        found = pair.ours.find(name)
        assert found is not None
        assert (found.uri, found.size) == (added.uri, size)
        assert [(one.name, one.stored.size) for one in pair.ours.objects()] == [(name, size)]
        assert list(pair.ours.incomplete()) == []
        pair.ours.delete(added.uri)
        with pytest.raises(OtherStoreError):
            pair.theirs.get(added.uri, tmp_path / "copy")
        assert left_in(pair) == []


def test_both_call_an_image_the_same(pair: Pair, tmp_path: Path) -> None:
    """Addresses, and what lies in the back end under which name."""
    name = str(uuid.uuid4())
    for size in (5000, LARGE):
        (tmp_path / "image").write_bytes(pattern(size))
        added = pair.theirs.add(name, tmp_path / "image", size=size)
        theirs = left_in(pair)
        pair.theirs.delete(added.uri)
        stored = write(pair.ours, name, pattern(size))
        ours = left_in(pair)
        pair.ours.delete(stored.uri)
        assert stored.uri == added.uri
        if pair.options.type == "swift" and size == LARGE:
            # Segments: of ours, the attempt is part of the name (docs/decisions.md says why).
            assert ours[0] == theirs[0] == name
            assert all(each.startswith(f"{name}-") for each in [*ours[1:], *theirs[1:]])
            assert [each[-5:] for each in ours[1:]] == [f"{number:05d}" for number in range(1, len(ours))]
        else:
            assert ours == theirs


def test_an_image_of_theirs_can_be_replaced(pair: Pair, tmp_path: Path) -> None:
    """With nothing of theirs left: what a failed upload of theirs has left must not stay for ever."""
    name = str(uuid.uuid4())
    (tmp_path / "image").write_bytes(pattern(LARGE))
    pair.theirs.add(name, tmp_path / "image", size=LARGE)
    with pair.ours.writer(name, size=None, attempt=uuid.uuid4().hex) as writer:
        writer.write(memoryview(b"ours"))
        stored = writer.commit(replace=True)
    pair.theirs.get(stored.uri, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b"ours"
    assert {each.partition("@")[0] for each in left_in(pair)} == {name}


def left_in(pair: Pair) -> list[str]:
    """Every name in the back end, sorted, as its own tools list them."""
    options = pair.options
    if isinstance(options, FileOptions):
        return sorted(path.name for path in options.directories[0].path.iterdir())
    if isinstance(options, S3Options):
        client: Any = pair.ours._client  # type: ignore[attr-defined]
        return sorted(item["Key"] for item in client.list_objects_v2(Bucket=options.bucket).get("Contents", ()))
    if isinstance(options, SwiftOptions):
        assert isinstance(pair.ours, SwiftStore)
        return [item["name"] for item in pair.ours._listing(options.container)]
    assert isinstance(options, RbdOptions)
    words: list[str | Path] = [
        "rbd",
        "-c",
        options.ceph_conf,
        "--id",
        "glance",
        "ls",
        "--long",
        "--format",
        "json",
        options.pool,
    ]
    rows = json.loads(process.run(words).stdout)
    return sorted(f"{row['image']}@{row['snapshot']}" if "snapshot" in row else row["image"] for row in rows)


def test_thousands_of_segments(swift: Swift, keystone: Keystone, tmp_path: Path) -> None:
    """A manifest names a thousand segments at the most; above, it names manifests."""
    options = _swift_options(tmp_path, keystone, f"both-{next(_serial)}")
    ours = SwiftStore(options.model_copy(update={"segment_size": 64, "segments_at_once": 8}))
    ours.check()
    data = pattern(64 * 1001 + 1)
    with other.glance_store("swift", other.swift_settings(tmp_path, keystone, options.container)) as theirs:
        stored = write(ours, str(uuid.uuid4()), data)
        assert ours.size(stored.uri) == len(data)
        assert read(ours, stored.uri) == data
        assert read(ours, stored.uri, offset=64 * 499 + 3, length=64 * 501) == data[64 * 499 + 3 :][: 64 * 501]
        assert list(ours.incomplete()) == []
        theirs.get(stored.uri, tmp_path / "copy")
        assert (tmp_path / "copy").read_bytes() == data
        ours.delete(stored.uri)
        assert list(ours._listing(options.container)) == []
    ours.close()


def test_adopted_images_are_served(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """A catalog of the reference with images in four kinds of stores, taken over and downloaded from our service."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(scratch("adopted"))
        database = other_catalog(tmp_path)
        stores, images = [], {}
        for kind in KINDS:
            pair = stack.enter_context(opened(request, kind, tmp_path))
            data, name = pattern(LARGE, len(kind)), str(uuid.uuid4())
            (tmp_path / "image").write_bytes(data)
            added = pair.theirs.add(name, tmp_path / "image", size=LARGE)
            add_row(database, name, added, {"store": kind})
            stores.append(settings_of(pair.options))
            images[name] = data
        # Once, so that there are settings and a catalog.
        with image_service(folder, stores=stores):
            pass
        catalog.adopt(str(folder / "settings.yaml"), f"sqlite:///{database}", apply=True, renamed=())
        with image_service(folder, stores=stores) as service:
            for name, data in images.items():
                answer = service.request("GET", f"/v2/images/{name}/file", "admin")
                assert answer.status_code == 200
                assert answer.content == data
                assert answer.headers["Content-MD5"] == hashlib.md5(data).hexdigest()


def settings_of(options: AnyStoreOptions) -> dict[str, Any]:
    """Options as a settings file has them, which is not how they are printed: secrets are to be in it."""
    values: dict[str, Any] = options.model_dump(mode="json", exclude_unset=True) | {"type": options.type}
    if isinstance(options, S3Options):
        values |= {"access_key": ACCESS_KEY, "secret_key": SECRET_KEY}
    if isinstance(options, SwiftOptions):
        return {name: value for name, value in values.items() if name not in ("user", "key", "auth_url")}
    return values


def other_catalog(folder: Path) -> Path:
    """The reference's own tables, without a row."""
    manage = environment("glance").program("glance-manage")
    database = folder / "glance.sqlite"
    (folder / "glance.conf").write_text(f"[database]\nconnection = sqlite:///{database}\n")
    process.run([manage, "--config-file", folder / "glance.conf", "db_sync"], env={"PYTHONWARNINGS": "ignore"})
    return database


def add_row(database: Path, name: str, added: other.Added, metadata: dict[str, str]) -> None:
    """An active image as the reference writes it down."""
    now = "2026-01-01 00:00:00"
    image = {
        "id": name, "name": name, "size": added.size, "status": "active", "created_at": now, "updated_at": now,
        "deleted": 0, "disk_format": "raw", "container_format": "bare", "checksum": added.checksum, "owner": "admin",
        "min_disk": 0, "min_ram": 0, "protected": 0, "visibility": "private", "os_hidden": 0,
        "os_hash_algo": "sha512", "os_hash_value": added.digest,
    }  # fmt: skip
    location = {
        "image_id": name, "value": added.uri, "created_at": now, "updated_at": now, "deleted": 0,
        "meta_data": json.dumps(metadata), "status": "active",
    }  # fmt: skip
    with contextlib.closing(sqlite3.connect(database)) as connection, connection:
        for table, row in (("images", image), ("image_locations", location)):
            marks = ", ".join("?" * len(row))
            connection.execute(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks})", list(row.values()))
