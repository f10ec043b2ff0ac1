"""The format that each target gets: RAW where a real Ceph keeps it, QCOW2 elsewhere, each with its own signature."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.base.home import Home
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.publish_one import preview
from pipeline.publishing.sources.build import of_build
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.product import ProductFormat
from pipeline.recipes.nightly import Target
from tests.environments.ceph import POOL, Ceph
from tests.environments.imageservice import ImageService, image_service
from tests.integration.publishing import made
from tests.integration.publishing.conftest import Desk, write_clouds

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def service(ceph: Ceph, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageService]:
    """A service with a file store and one in Ceph."""
    pytest.importorskip("rbd", reason="python3-rbd is not installed")
    folder = tmp_path_factory.mktemp("formats")
    stores = [
        {"id": "main", "type": "file", "directories": [str(folder / "main")]},
        {"id": "ceph", "type": "rbd", "pool": POOL, "ceph_conf": str(ceph.glance_conf)},
    ]
    with image_service(stores=stores) as running:
        yield running


@pytest.fixture
def office(home: Home, service: ImageService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    file = tmp_path / "clouds.yaml"
    write_clouds(file, {"here": (service.url, "admin-token"), "as-alice": (service.url, "alice-token")})
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    recipe = made.recipe(f"tiny-{uuid.uuid4().hex[:8]}", visibility="private")
    return Desk(home, {"here": service}, recipe, datetime.now(UTC))


def test_an_image_goes_raw_to_ceph_and_qcow2_elsewhere(office: Desk, ceph: Ceph) -> None:
    build = office.build("a", qcow2=True)
    raw, qcow2 = build.products
    to_ceph = office.publish(build, stores=("ceph",))
    assert (to_ceph.error, to_ceph.outcome) == (None, PublishOutcome.PUBLISHED)
    image = office.newest()
    assert (image.disk_format, image.sha512, image.stores) == ("raw", raw.digests["sha512"], ("ceph",))
    assert image.signature == dict(raw.signature)
    assert to_ceph.disk is not None and "ECC_SECP384R1" in to_ceph.disk.read[0].signature
    assert image.id in ceph.command("rbd", "ls", POOL).split()

    source = of_build(build, office.home, office.sender.publisher, office.now)
    planned = preview(source, Target(cloud="here", stores=("main",)), office.sender)
    assert "the format changes from raw to qcow2" in planned.steps[0].why
    assert office.publish(build, stores=("main",)).outcome is PublishOutcome.PUBLISHED
    image = office.newest()
    assert (image.disk_format, image.sha512, image.stores) == ("qcow2", qcow2.digests["sha512"], ("main",))
    assert image.signature == dict(qcow2.signature)
    assert [each.state for each in office.images()] == [ImageState.SUPERSEDED, ImageState.NEWEST]

    assert office.publish(build, stores=("main", "ceph")).outcome is PublishOutcome.PUBLISHED
    assert (office.newest().disk_format, set(office.newest().stores)) == ("raw", {"main", "ceph"})


def test_who_may_not_see_what_stores_are_says_it_in_the_settings(office: Desk) -> None:
    build = office.build("b", qcow2=True)
    assert {store.type for store in office.api("as-alice").stores()} == {None}
    assert office.publish(build, "as-alice", stores=("ceph",)).outcome is PublishOutcome.PUBLISHED
    assert office.newest("as-alice").disk_format == "qcow2"
    assert (
        office.publish(build, "as-alice", stores=("ceph",), format=ProductFormat.RAW).outcome
        is PublishOutcome.PUBLISHED
    )
    assert office.newest("as-alice").disk_format == "raw"
