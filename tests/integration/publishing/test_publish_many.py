"""Several recipes to several clouds at once; images made elsewhere; rotation and withdrawal through a real service."""

from __future__ import annotations

import json
import os
import uuid
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import Home
from pipeline.engine.record import events
from pipeline.publishing import publish_many
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.plan import PublishOptions
from pipeline.publishing.plan.steps import Act
from pipeline.publishing.publish_one import PublishResult, preview
from pipeline.publishing.report import images as report_images
from pipeline.publishing.retention.rotation import RotationOutcome
from pipeline.publishing.rotate import rotate
from pipeline.publishing.sources import build as build_source
from pipeline.publishing.sources.files import ReadyFiles
from pipeline.publishing.transaction import withdrawal
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.retention_fields import Retention
from pipeline.recipes.nightly import Target
from pipeline.signing.keys.keyring import Keyring
from tests.environments.imageservice import ImageService
from tests.integration.publishing import made
from tests.integration.publishing.conftest import STORES, Desk, write_clouds
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy

pytestmark = pytest.mark.server


class Seen:
    """A monitor that remembers."""

    def __init__(self) -> None:
        self.events: list[events.Event] = []

    def event(self, event: events.Event) -> None:
        self.events.append(event)

    def tick(self) -> None:
        """Nothing moves."""

    def close(self) -> None:
        """Nothing to put in order."""


def test_a_cloud_that_is_down_leaves_the_others_alone(desk: Desk, other_service: ImageService) -> None:
    desk.services["there"] = other_service
    addresses = {"here": desk.services["here"].url, "there": other_service.url, "down": "http://127.0.0.1:1"}
    write_clouds(desk.home.root.parent / "clouds.yaml", {name: (url, "admin-token") for name, url in addresses.items()})
    good = desk.build("a")
    broken = made.failed(made.recipe(f"{desk.recipe.name}-broken"))
    targets = [Target(cloud=name, stores=STORES) for name in ("here", "down", "there")]
    seen = Seen()
    found = publish_many.publish_all([broken, good], targets, desk.sender, monitors=[seen])
    assert [(each.recipe, each.cloud, each.outcome) for each in found] == [
        (broken.recipe.name, "here", PublishOutcome.NOT_BUILT),
        (broken.recipe.name, "down", PublishOutcome.NOT_BUILT),
        (broken.recipe.name, "there", PublishOutcome.NOT_BUILT),
        (desk.recipe.name, "here", PublishOutcome.PUBLISHED),
        (desk.recipe.name, "down", PublishOutcome.FAILED),
        (desk.recipe.name, "there", PublishOutcome.PUBLISHED),
    ]
    assert desk.newest("here").sha512 == desk.newest("there").sha512
    steps = {event.step for event in seen.events if isinstance(event, events.StepProgress)}
    assert {"publish to here", "publish to there"} <= steps


def ready(desk: Desk, folder: Path, **contents: bytes) -> ReadyFiles:
    """An image with kernel and ramdisk, as files."""
    files = {}
    for part, content in contents.items():
        files[ImagePart(part)] = folder / part
        files[ImagePart(part)].write_bytes(content)
    signer = Keyring(desk.home).signer("default")
    return ReadyFiles(desk.home, desk.recipe.name, files, {"os_distro": "centos"}, "public", signer=signer)


def publish_ready(desk: Desk, files: ReadyFiles, *, update: bool) -> PublishResult:
    desk.build("for the certificate")
    sender = desk.sender
    source = files.source(sender.publisher, sender.now)
    (publish_result,) = publish_many.publish_to_all(
        source, [Target(cloud="here", stores=STORES)], sender, options=PublishOptions(only_new=not update)
    )
    return publish_result


def test_kernel_ramdisk_and_disk_are_linked_and_change_places_together(desk: Desk, tmp_path: Path) -> None:
    contents = {"disk": b"d" * 4096, "kernel": b"k" * 999, "ramdisk": b"r" * 999}
    first = publish_ready(desk, ready(desk, tmp_path, **contents), update=False)
    assert [each.outcome for each in first.parts] == [PublishOutcome.PUBLISHED] * 3
    (kernel,), (ramdisk,), (disk,) = (
        desk.images(part=part) for part in (ImagePart.KERNEL, ImagePart.RAMDISK, ImagePart.DISK)
    )
    assert (disk.properties["kernel_id"], disk.properties["ramdisk_id"]) == (kernel.id, ramdisk.id)
    assert [each.name.removeprefix(disk.name) for each in (kernel, ramdisk)] == ["-vmlinuz", "-initrd"]
    assert (kernel.disk_format, ramdisk.disk_format) == ("aki", "ari")

    same = publish_ready(desk, ready(desk, tmp_path, **contents), update=False)
    assert same.outcome is PublishOutcome.UNCHANGED
    newer = ready(desk, tmp_path, **{**contents, "disk": b"D" * 4096, "kernel": b"K" * 999})
    assert publish_ready(desk, newer, update=False).outcome is PublishOutcome.LEFT_ALONE
    assert len(desk.images()) == 1
    changed = publish_ready(desk, newer, update=True)
    assert [each.outcome for each in changed.parts] == [
        PublishOutcome.PUBLISHED,
        PublishOutcome.UNCHANGED,
        PublishOutcome.PUBLISHED,
    ]
    assert desk.newest().properties["kernel_id"] == desk.images(part=ImagePart.KERNEL)[-1].id != kernel.id
    assert [each.state for each in desk.images(part=ImagePart.KERNEL)] == [ImageState.SUPERSEDED, ImageState.NEWEST]


def test_a_failing_disk_leaves_the_kernel_it_had(desk: Desk, tmp_path: Path) -> None:
    publish_ready(desk, ready(desk, tmp_path, disk=b"d" * 4096, kernel=b"k" * 999), update=True)
    before = desk.newest()
    puts = iter(range(100))

    def choose(method: str, path: str) -> Fault:
        # The kernel's upload goes well, the disk's never does.
        return Fault.TROUBLE if method == "PUT" and path.endswith("/file") and next(puts) > 0 else Fault.NONE

    with FaultyProxy(desk.services["here"].url, choose=choose).running() as proxy:
        write_clouds(desk.home.root.parent / "clouds.yaml", {"here": (proxy.url, "admin-token")})
        failed = publish_ready(desk, ready(desk, tmp_path, disk=b"D" * 4096, kernel=b"K" * 999), update=True)
    write_clouds(desk.home.root.parent / "clouds.yaml", {"here": (desk.services["here"].url, "admin-token")})
    assert failed.outcome is PublishOutcome.FAILED
    assert desk.newest() == before
    shown = [each for each in desk.images(part=ImagePart.KERNEL) if not each.is_hidden]
    assert [each.id for each in shown] == [before.properties["kernel_id"]]


def rotated(desk: Desk, *, delete: bool = True) -> dict[str, RotationOutcome]:
    """Serial → fate, at a time when every previous image is old."""
    sender = replace(desk.sender, clock=Clock(desk.now + timedelta(days=99)))
    found = rotate(desk.recipe, "here", sender, delete=delete)
    assert found.error is None
    return {each.record.properties["pipeline_serial"]: each.outcome for each in found.rotated}


def test_rotation_deletes_what_is_over_and_respects_protection_use_and_plan(desk: Desk) -> None:
    desk.recipe = made.recipe(desk.recipe.name, retention=Retention(keep=1, keep_days=7))
    for content in "abcd":
        desk.publish(desk.build(content, signed=False))
    oldest, *_ = desk.images()
    service = desk.services["here"]
    protect = [{"op": "replace", "path": "/protected", "value": True}]
    headers = {"Content-Type": "application/openstack-images-v2.1-json-patch"}
    service.request("PATCH", f"/v2/images/{oldest.id}", "admin", data=json.dumps(protect), headers=headers)
    assert set(rotated(desk, delete=False).values()) == {RotationOutcome.KEPT, RotationOutcome.TO_DELETE}
    assert len(desk.images()) == 4
    with FaultyProxy(
        service.url, choose=lambda method, path: Fault.CONFLICT if method == "DELETE" else Fault.NONE
    ).running() as proxy:
        write_clouds(desk.home.root.parent / "clouds.yaml", {"here": (proxy.url, "admin-token")})
        assert RotationOutcome.IN_USE in rotated(desk).values()
    write_clouds(desk.home.root.parent / "clouds.yaml", {"here": (service.url, "admin-token")})
    assert len(desk.images()) == 4
    assert list(rotated(desk).values()) == [RotationOutcome.KEPT, RotationOutcome.DELETED, RotationOutcome.KEPT]
    left = desk.images()
    assert (len(left), left[0].id) == (3, oldest.id)


def test_every_image_has_a_story(desk: Desk) -> None:
    desk.publish(desk.build("small", blocks=1024))
    held = desk.publish(desk.build("big"))
    sender = desk.sender
    listed = [each for each in report_images.managed(desk.api(), sender.publisher) if each.recipe == desk.recipe.name]
    assert [each.state for each in listed] == [ImageState.NEWEST, ImageState.HELD]
    assert held.disk is not None and held.disk.record is not None
    history = report_images.history(desk.api(), sender, held.disk.record.id, [desk.recipe])
    assert history is not None
    sentences = " / ".join(history.sentences)
    assert "a gate holds it back: it grew by 300 %" in sentences and "--let-through" in sentences
    assert [event.act for event in history.events][:2] == ["create", "upload"]
    by_name = report_images.history(desk.api(), sender, desk.recipe.image_name, [desk.recipe])
    assert by_name is not None and by_name.sentences[0] == "it is what consumers get"
    assert report_images.history(desk.api(), sender, "no-such-image", [desk.recipe]) is None


def test_two_homes_on_two_machines_take_turns(desk: Desk) -> None:
    desk.publish(desk.build("a", signed=False))
    other = replace(desk, home=Home(desk.home.root.with_name("other"), desk.home.root.with_name("other") / "cache"))
    assert other.publish(other.build("a", signed=False)).outcome is PublishOutcome.UNCHANGED
    assert other.publish(other.build("b", signed=False)).outcome is PublishOutcome.PUBLISHED
    assert desk.publish(desk.build("b", signed=False)).outcome is PublishOutcome.UNCHANGED
    assert desk.publish(desk.build("c", signed=False)).outcome is PublishOutcome.PUBLISHED
    serials = [each.serial for each in desk.images()]
    # A number is skipped when an image was made in the same second as the newest one.
    assert serials == sorted(set(serials)) and len(serials) == 3


def test_clouds_are_found_where_the_operator_has_them(desk: Desk) -> None:
    assert Path(os.environ["OS_CLIENT_CONFIG_FILE"]).is_file()
    found: dict[str, Any] = {store.id: store for store in desk.api().stores()}
    assert set(STORES) <= set(found)


def test_a_recipe_that_makes_kernel_and_ramdisk_publishes_all_three_linked(desk: Desk) -> None:
    first = desk.publish(desk.build("disk 1", kernel="kernel 1", ramdisk="ramdisk 1"))
    assert (first.error, [each.outcome for each in first.parts]) == (None, [PublishOutcome.PUBLISHED] * 3)
    (kernel,), (ramdisk,), (disk,) = (
        desk.images(part=part) for part in (ImagePart.KERNEL, ImagePart.RAMDISK, ImagePart.DISK)
    )
    assert (disk.properties["kernel_id"], disk.properties["ramdisk_id"]) == (kernel.id, ramdisk.id)
    assert [each.name.removeprefix(disk.name) for each in (kernel, ramdisk)] == ["-vmlinuz", "-initrd"]
    assert [(each.disk_format, set(each.stores)) for each in (kernel, ramdisk)] == [
        ("aki", set(STORES)),
        ("ari", set(STORES)),
    ]

    kernel_only = desk.build("disk 1", kernel="kernel 2", ramdisk="ramdisk 1")
    source = build_source.of_build(kernel_only, desk.home, desk.sender.publisher, desk.now)
    planned = preview(source, Target(cloud="here", stores=STORES), desk.sender)
    assert [(step.name.rpartition("-")[2], str(step.act)) for step in planned.steps if step.act is Act.CHANGE] == [
        (disk.name.rpartition("-")[2], "change")
    ]
    second = desk.publish(kernel_only)
    assert [each.outcome for each in second.parts] == [
        PublishOutcome.PUBLISHED,
        PublishOutcome.UNCHANGED,
        PublishOutcome.CHANGED,
    ]
    assert desk.newest().id == disk.id
    assert desk.newest().properties["kernel_id"] == desk.images(part=ImagePart.KERNEL)[-1].id != kernel.id

    assert desk.publish(desk.build("disk 2")).outcome is PublishOutcome.PUBLISHED
    assert "kernel_id" not in desk.newest().properties


def test_taking_a_triple_back_leaves_the_parts_that_the_one_before_names(desk: Desk) -> None:
    builds = [desk.build(f"disk {n}", kernel="kernel", ramdisk=f"ramdisk {n}", signed=False) for n in (1, 2)]
    for build in builds:
        assert desk.publish(build).outcome is PublishOutcome.PUBLISHED
    (first, _), (kernel,), (ramdisk, _) = (
        desk.images(part=part) for part in (ImagePart.DISK, ImagePart.KERNEL, ImagePart.RAMDISK)
    )
    sender = desk.sender
    with sender.locked(desk.api(), desk.recipe.name, "withdrawing") as api:
        journal = PublishJournal(journal_file(desk.home, "here", desk.recipe.name), sender.run)
        context = sender.runner_context(exclusive=True)
        done = withdrawal.withdraw_all(
            api, sender.publisher, desk.recipe.name, context, journal, why="it is bad", protected=False
        )
    assert [(each.part, each.back.id) for each in done] == [(ImagePart.DISK, first.id), (ImagePart.RAMDISK, ramdisk.id)]
    newest = desk.newest()
    assert (newest.id, newest.properties["kernel_id"], newest.properties["ramdisk_id"]) == (
        first.id,
        kernel.id,
        ramdisk.id,
    )
    assert [each.state for each in desk.images(part=ImagePart.KERNEL)] == [ImageState.NEWEST]
    assert desk.publish(builds[0]).outcome is PublishOutcome.UNCHANGED
    assert desk.publish(builds[1]).outcome is PublishOutcome.WITHDRAWN


def test_images_that_consumers_would_confuse_are_refused(desk: Desk) -> None:
    service = desk.services["here"]
    theirs = service.create("admin", name=desk.recipe.image_name, visibility="public")
    service.upload(theirs, b"theirs", "admin")
    refused = desk.publish(desk.build("a"))
    assert refused.error is not None and "bears the name" in refused.error.message and theirs in refused.error.message
    assert desk.images() == []
    service.request("DELETE", f"/v2/images/{theirs}", "admin")
    version = {"os_version": uuid.uuid4().hex[:8]}
    build = replace(desk.build("a"), properties={**desk.recipe.image_properties, **version})
    assert desk.publish(build).outcome is PublishOutcome.PUBLISHED
    other = replace(desk, recipe=made.recipe(f"{desk.recipe.name}-renamed"))
    rival = replace(other.build("b"), properties={**other.recipe.image_properties, **version})
    rivalled = other.publish(rival)
    assert rivalled.error is not None and f"newest of recipe {desk.recipe.name}" in rivalled.error.message


def test_an_upload_leaves_an_image_of_that_name_alone_whoever_made_it(desk: Desk, tmp_path: Path) -> None:
    service = desk.services["here"]
    theirs = service.create("admin", name=desk.recipe.name)
    found = publish_ready(desk, ready(desk, tmp_path, disk=b"d" * 4096), update=False)
    assert (found.outcome, desk.images()) == (PublishOutcome.LEFT_ALONE, [])
    assert publish_ready(desk, ready(desk, tmp_path, disk=b"d" * 4096), update=True).outcome is PublishOutcome.PUBLISHED
    assert service.show(theirs, "admin")["name"] == desk.recipe.name
