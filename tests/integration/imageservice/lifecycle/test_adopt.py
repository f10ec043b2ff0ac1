"""Taking over a catalog that the reference service itself made."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from openstack.connection import Connection

from pipeline.base.errors import PipelineError
from pipeline.imageservice.catalog import quotas
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.images import members
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import Duplicate
from pipeline.imageservice.lifecycle import adopt
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility, MemberStatus
from pipeline.imageservice.stores.base import DriverContext
from pipeline.imageservice.stores.collection import Stores
from pipeline.imageservice.stores.file.options import FileDirectory, FileOptions
from tests.environments import glance as reference
from tests.environments.fixtures import installed
from tests.environments.glance import Glance
from tests.environments.keystone import Keystone

pytestmark = pytest.mark.server
DATA = b"some bytes of an image"


@pytest.fixture(scope="module")
def glance(keystone: Keystone) -> Iterator[Glance]:
    with installed(reference.glance(keystone)) as service:
        yield service


@pytest.fixture(scope="module")
def known(glance: Glance) -> dict[str, Any]:
    """Images of every kind in the reference service, as it shows them."""
    cloud = glance.keystone.connect("demo")
    other = glance.keystone.connect("alt")
    made: dict[str, Any] = {}

    def create(name: str, *, data: bytes | None = DATA, **fields: Any) -> str:
        formats = {"disk_format": "raw", "container_format": "bare"}
        image = cloud.image.post("/images", json={"name": name, **formats, **fields}).json()
        if data is not None:
            headers = {"Content-Type": "application/octet-stream"}
            assert cloud.image.put(f"/images/{image['id']}/file", data=data, headers=headers).status_code == 204
        made[name] = image["id"]
        return str(image["id"])

    create("active", os_distro="debian", empty="", tags=["a", "b"], min_ram=64, min_disk=1, protected=True)
    create("queued", data=None, visibility="private")
    create("community", visibility="community", os_hidden=True)
    shared = create("shared ü")
    project = other.current_project_id
    assert cloud.image.post(f"/images/{shared}/members", json={"member": project}).status_code == 200
    assert other.image.put(f"/images/{shared}/members/{project}", json={"status": "accepted"}).status_code == 200
    off = create("deactivated")
    assert cloud.image.post(f"/images/{off}/actions/deactivate").status_code == 204
    gone = create("deleted")
    assert cloud.image.delete(f"/images/{gone}").status_code == 204
    _import(cloud, create("imported", data=None))
    return made


def _import(cloud: Connection, image_id: str) -> None:
    headers = {"Content-Type": "application/octet-stream"}
    assert cloud.image.put(f"/images/{image_id}/stage", data=DATA, headers=headers).status_code == 204
    body = {"method": {"name": "glance-direct"}, "stores": ["main", "mirror"]}
    assert cloud.image.post(f"/images/{image_id}/import", json=body).status_code == 202
    cloud.image.wait_for_status(cloud.image.get_image(image_id), "active", failures=["killed"], interval=0.2, wait=60)


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/ours.db")
    migrate.upgrade(database)
    yield database
    database.close()


def stores(glance: Glance, *, second: str = "mirror") -> Stores:
    options = [
        FileOptions(id="main", directories=[FileDirectory(path=glance.folder / "main")]),
        FileOptions(id=second, directories=[FileDirectory(path=glance.folder / "mirror")]),
    ]
    return Stores.configured(options, "main", DriverContext())


def read(database: Database, image_id: str) -> Image:
    with database.read() as connection:
        return image_records.get(connection, image_id)


def test_a_dry_run_says_what_would_happen(glance: Glance, known: dict[str, Any], ours: Database) -> None:
    report = adopt.adopt(ours, stores(glance), glance.database, apply=False)
    assert report.statuses == {"active": 4, "queued": 1, "deactivated": 1, "deleted (the id stays taken)": 1}
    assert report.parts["members"] == 1
    assert report.stores == {"main": 5, "mirror": 1}
    assert report.problems == []
    with pytest.raises(Exception, match="No image found"):
        read(ours, known["active"])


def test_adoption(glance: Glance, known: dict[str, Any], ours: Database) -> None:
    locations = stores(glance)
    before = adopt.adopt(ours, locations, glance.database, apply=False)
    report = adopt.adopt(ours, locations, glance.database, apply=True)
    assert report == before
    demo = glance.keystone.connect("demo")
    for name in ("active", "queued", "community", "shared ü", "deactivated", "imported"):
        image, theirs = read(ours, known[name]), demo.image.get(f"/images/{known[name]}").json()
        assert image.name == theirs["name"] == name
        assert (image.status, image.visibility, image.owner) == (
            theirs["status"],
            theirs["visibility"],
            theirs["owner"],
        )
        assert (image.size, image.checksum) == (theirs["size"], theirs["checksum"])
        assert (image.hash_algo, image.hash_value) == (theirs["os_hash_algo"], theirs["os_hash_value"])
        assert sorted(image.tags) == sorted(theirs["tags"])
        assert (image.min_ram, image.protected, image.hidden) == (
            theirs["min_ram"],
            theirs["protected"],
            theirs["os_hidden"],
        )
        custom = {key: value for key, value in theirs.items() if key in ("os_distro", "empty")}
        assert image.properties == custom
    imported = read(ours, known["imported"])
    assert [location.store for location in imported.locations] == ["main", "mirror"]
    assert imported.service == {"importing_to_stores": "", "failed_import": ""}
    shared = read(ours, known["shared ü"])
    with ours.read() as connection:
        [member] = members.of_image(connection, shared.id)
        used = quotas.usage(connection, shared.owner)
    assert member.status is MemberStatus.ACCEPTED
    assert (used.images, used.stored) == (6, len(DATA) * 6)
    assert read(ours, known["community"]).visibility is ImageVisibility.COMMUNITY
    with pytest.raises(Duplicate):
        ours.write(lambda connection: image_records.insert_image(connection, Image(known["deleted"], "x", 1, 1)))


def test_the_data_can_be_read(glance: Glance, known: dict[str, Any], ours: Database) -> None:
    locations = stores(glance)
    adopt.adopt(ours, locations, glance.database, apply=True)
    image = read(ours, known["active"])
    [location] = image.readable_locations
    with locations[str(location.store)].reader(location.url) as reader:
        data = reader.read(1000)
    assert hashlib.sha512(data).hexdigest() == image.hash_value


def test_adopting_again_takes_what_is_new(glance: Glance, known: dict[str, Any], ours: Database) -> None:
    locations = stores(glance)
    first = adopt.adopt(ours, locations, glance.database, apply=True)
    again = adopt.adopt(ours, locations, glance.database, apply=True)
    assert (again.statuses.total(), again.known) == (0, first.statuses.total())


def test_stores_under_other_names(glance: Glance, known: dict[str, Any], ours: Database) -> None:
    renamed = adopt.adopt(
        ours, stores(glance, second="second"), glance.database, apply=False, renamed={"mirror": "second"}
    )
    assert renamed.stores == {"main": 5, "second": 1}
    assert renamed.problems == []


def test_a_store_that_is_missing(glance: Glance, known: dict[str, Any], ours: Database, tmp_path: Path) -> None:
    options = FileOptions(id="main", directories=[FileDirectory(path=tmp_path / "elsewhere")])
    report = adopt.adopt(ours, Stores.configured([options], "main", DriverContext()), glance.database, apply=False)
    assert any("store mirror (file:…), which is not configured here" in problem for problem in report.problems)
    assert any(f"{known['active']} is active but has no usable location" in problem for problem in report.problems)


def test_an_upload_that_was_going_on(glance: Glance, known: dict[str, Any], ours: Database, tmp_path: Path) -> None:
    copy = tmp_path / "glance.sqlite"
    source = sqlalchemy.create_engine(glance.database).raw_connection()
    source.driver_connection.execute(f"VACUUM INTO '{copy}'")  # type: ignore[union-attr]
    engine = sqlalchemy.create_engine(f"sqlite:///{copy}")
    with engine.begin() as connection:
        update = sqlalchemy.text("UPDATE images SET status = 'saving' WHERE id = :id")
        connection.execute(update, {"id": known["queued"]})
    report = adopt.adopt(ours, stores(glance), f"sqlite:///{copy}", apply=True)
    assert [problem for problem in report.problems if known["queued"] in problem and "was saving" in problem]
    assert read(ours, known["queued"]).status is ImageStatus.QUEUED


def test_what_is_no_such_database(ours: Database, tmp_path: Path, glance: Glance) -> None:
    empty = f"sqlite:///{tmp_path}/empty.db"
    with pytest.raises(PipelineError, match="not a database of the reference"):
        adopt.adopt(ours, stores(glance), empty, apply=False)
    with sqlalchemy.create_engine(empty).begin() as connection:
        for name in ("images", "image_properties", "image_tags", "image_members", "image_locations"):
            connection.execute(sqlalchemy.text(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, image_id TEXT)"))
    with pytest.raises(PipelineError, match="too old"):
        adopt.adopt(ours, stores(glance), empty, apply=False)
    with pytest.raises(PipelineError, match="cannot be read"):
        adopt.adopt(ours, stores(glance), "postgresql://nobody@127.0.0.1:1/x", apply=False)
