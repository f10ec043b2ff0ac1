"""Catalog and stores that differ, staged data that nobody waits for, nodes that are gone, deleted images."""

from __future__ import annotations

import json
import os
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.imageservice.importing.maintenance import housekeeping
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings
from tests.environments.daemon import scratch
from tests.environments.imageservice import ImageService, image_service
from tests.integration.imageservice.importing.conftest import ask, assert_clean, ended, settings, stage
from tests.integration.imageservice.importing.test_import import DATA

pytestmark = pytest.mark.server
DAY = 86_400


@pytest.fixture(scope="module")
def kept() -> Iterator[ImageService]:
    with (
        scratch("housekeeping") as folder,
        image_service(folder, **settings(folder), database={"delayed_delete": True, "scrub_after": 3600}) as running,
    ):
        yield running


def inside(service: ImageService) -> Service:
    """The same service, seen from this process."""
    return Service.from_settings(Settings.load(service.folder / "settings.yaml"))


def impatient(service: ImageService) -> Service:
    """As ``inside``, but a node that was not seen for a second is lost."""
    told = yaml.safe_load((service.folder / "settings.yaml").read_text())
    told["imports"]["staging"] = {"lost_node_seconds": 1}
    settings = service.folder / "impatient.yaml"
    settings.write_text(yaml.safe_dump(told))
    return Service.from_settings(Settings.load(settings))


def face(service: ImageService, task: str, *words: str) -> process.Finished:
    command: list[str | Path] = [sys.executable, "-m", "pipeline.cli", task]
    command += ["--settings", service.folder / "settings.yaml", *words]
    return process.run(command, cwd=CHECKOUT, env={"PIPELINE_HOME": str(service.folder)}, check=False)


def differences(service: ImageService, *words: str) -> list[dict[str, Any]]:
    said = face(service, "service.reconcile", "--json", *words)
    assert "Traceback" not in said.stderr, said.stderr
    return [json.loads(line) for line in said.stdout.splitlines()]


def aged(path: Path) -> Path:
    os.utime(path, (time.time() - DAY, time.time() - DAY))
    return path


def in_all_stores(service: ImageService) -> str:
    image_id = service.create()
    assert stage(service, image_id, DATA).status_code == 204
    assert ask(service, image_id, "glance-direct", all_stores=True).status_code == 202
    assert ended(service, image_id)["status"] == "success"
    return image_id


def test_catalog_and_stores_agree(kept: ImageService) -> None:
    in_all_stores(kept)
    said = face(kept, "service.reconcile", "--digests")
    assert (said.status, said.stdout.strip()) == (0, "the catalog and the stores agree")


def test_orphans_are_found_and_only_deleted_when_asked(kept: ImageService) -> None:
    stores = kept.folder / "stores"
    old, young = stores / "two" / str(uuid.uuid4()), stores / "two" / str(uuid.uuid4())
    foreign = stores / "two" / "lost+found.txt"
    for path in (old, young, foreign):
        path.write_bytes(b"data")
    half = stores / "one" / f".partial.1-2-00000000.{'a' * 32}.{uuid.uuid4()}"
    half.write_bytes(b"half")
    for path in (old, foreign, half):
        aged(path)
    found = differences(kept)
    assert {(one["kind"], one["store"]) for one in found} == {("orphan", "two"), ("unfinished", "one")}
    assert old.exists()
    assert half.exists()
    mended = differences(kept, "--mend")
    assert {one["mended"] for one in mended} == {"deleted", "discarded"}
    assert not old.exists()
    assert not half.exists()
    assert young.exists(), "it may belong to an upload that is just ending"
    assert foreign.exists(), "it is not an image of ours"
    young.unlink()
    foreign.unlink()
    assert differences(kept) == []


def test_bad_copies_are_struck_out_but_never_the_last_one(kept: ImageService) -> None:
    image_id = in_all_stores(kept)
    stores = kept.folder / "stores"
    (stores / "one" / image_id).unlink()
    (stores / "two" / image_id).write_bytes(b"short")
    (stores / "three" / image_id).write_bytes(bytes(len(DATA)))
    assert {one["kind"] for one in differences(kept)} == {"missing", "wrong size"}
    found = differences(kept, "--digests", "--mend")
    assert {one["kind"] for one in found} == {"missing", "wrong size", "wrong digest"}
    assert [one["mended"] for one in found].count("left as it is: it is the last copy") == 1
    shown = kept.show(image_id)
    assert shown["status"] == "active"
    assert len(shown["stores"].split(",")) == 1
    assert kept.request("DELETE", f"/v2/images/{image_id}").status_code == 204


def test_an_unknown_store_is_said(kept: ImageService) -> None:
    said = face(kept, "service.reconcile", "--store", "nowhere")
    assert said.status == 1
    assert "one, two, three" in said.stderr


def test_staged_data_nobody_waits_for_goes(kept: ImageService) -> None:
    staging = kept.folder / "staging"
    waiting = kept.create()
    assert stage(kept, waiting, DATA).status_code == 204
    orphan = staging / str(uuid.uuid4())
    orphan.write_bytes(b"data")
    young = staging / f"{uuid.uuid4()}.plain"
    young.write_bytes(b"data")
    aged(orphan)
    aged(staging / waiting)
    assert housekeeping.sweep_staging(inside(kept)) == 1
    assert not orphan.exists()
    assert young.exists()
    assert (staging / waiting).exists()
    young.unlink()
    assert kept.request("DELETE", f"/v2/images/{waiting}").status_code == 204


def test_half_of_an_import_that_ended_elsewhere_is_swept(kept: ImageService) -> None:
    done, waiting = in_all_stores(kept), kept.create()
    assert stage(kept, waiting, DATA).status_code == 204
    service = inside(kept)
    for image_id in (done, waiting):
        service.staging.writer(image_id, size=None, attempt=uuid.uuid4().hex).write(memoryview(DATA))
    assert housekeeping.sweep_staging(service) == 1
    assert [left.name for left in service.staging.incomplete()] == [waiting]
    assert kept.request("DELETE", f"/v2/images/{waiting}").status_code == 204
    assert housekeeping.sweep_staging(service) == 1


def test_an_import_on_a_node_that_is_gone_is_given_up(kept: ImageService) -> None:
    from sqlalchemy import Connection

    from pipeline.imageservice.catalog.images import records as image_records
    from pipeline.imageservice.catalog.images import service_notes

    image_id = kept.create()
    assert stage(kept, image_id, DATA).status_code == 204

    def elsewhere(connection: Connection) -> None:
        before = image_records.lock(connection, image_id)
        service_notes.put(connection, image_id, service_notes.STAGE_HOST, "a-node-that-burnt-down")
        image_records.change(connection, before)

    service = inside(kept)
    service.database.write(elsewhere)
    assert ask(kept, image_id, "glance-direct").status_code == 202
    time.sleep(1.5)
    assert kept.show(image_id)["status"] == "importing", "only the node that has the bytes may take it"
    assert housekeeping.give_up_lost(service) == 0, "it may come back within an hour"
    assert housekeeping.give_up_lost(impatient(kept)) == 1
    task = ended(kept, image_id)
    assert task["status"] == "failure"
    assert "a-node-that-burnt-down" in task["message"]
    assert_clean(kept, image_id)


def test_a_deleted_image_can_be_brought_back(kept: ImageService) -> None:
    image_id = in_all_stores(kept)
    assert kept.request("DELETE", f"/v2/images/{image_id}").status_code == 204
    assert kept.request("GET", f"/v2/images/{image_id}").status_code == 404
    assert "0 deleted images" in face(kept, "service.scrub").stdout
    assert face(kept, "service.scrub", "--restore", image_id).status == 0
    assert kept.request("GET", f"/v2/images/{image_id}/file").content == DATA
    assert face(kept, "service.scrub", "--restore", str(uuid.uuid4())).status == 1
