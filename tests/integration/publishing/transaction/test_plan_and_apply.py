"""``--plan`` is what apply does: on one state both have the same steps, and the journal names every change."""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import event as tally
from hypothesis import strategies as some

from pipeline.base.home import Home
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImagePart, ImageState
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.plan.plan import PublishOptions
from pipeline.publishing.plan.steps import Act, acts
from pipeline.publishing.publish_one import PublishResult, preview, publish_one
from pipeline.publishing.sources.build import PublishSource, of_build
from pipeline.publishing.transaction import known_project
from pipeline.publishing.transaction.journal import JournalEvent, PublishJournal, journal_file
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.nightly import Target
from tests.integration.publishing.conftest import STORES, Desk, write_clouds
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.world import Faults

pytestmark = pytest.mark.server

CONTENTS = {name: hashlib.sha256(name.encode()).digest() * 64 for name in "abc"}
_IMAGE = re.compile(r"/v2/images/([0-9a-f-]{36})")


@dataclass(frozen=True)
class Standing:
    """An image that stands in the cloud when a run begins."""

    state: ImageState
    content: str
    part: ImagePart = ImagePart.DISK
    is_active: bool = True
    is_shown: bool = False
    was_shown: bool = False
    runner: str = "me"
    visibility: str = "private"

    def create(self, desk: Desk, serial: int) -> None:
        """Have it stand there."""
        service, name = desk.services["here"], f"{desk.recipe.name}{self.part.suffix}"
        version = f"v{serial}"
        marks = {
            **Chain(desk.sender.publisher, desk.recipe.name, self.part).filters,
            ownership_marker.SERIAL: str(serial),
            ownership_marker.STATE: str(self.state),
            ownership_marker.SHA512: hashlib.sha512(CONTENTS[self.content]).hexdigest(),
            ownership_marker.VERSION: version,
            ownership_marker.RUNNER: desk.sender.runner if self.runner == "me" else self.runner,
            ownership_marker.PROPERTIES: "os_distro",
        }
        if self.was_shown:
            marks[ownership_marker.SWITCHED_AT] = "2026-11-01T00:00:00Z"
        image = service.create(
            "admin",
            name=name if self.is_shown else f"{name}-{version}",
            visibility=self.visibility,
            os_hidden=not self.is_shown,
            disk_format=_FORMATS[self.part],
            container_format="bare",
            os_distro="cirros",
            **marks,
        )
        if self.is_active:
            service.upload(image, CONTENTS[self.content], "admin")


_FORMATS = {ImagePart.DISK: "raw", ImagePart.KERNEL: "aki"}
_STANDING = some.builds(
    Standing,
    some.sampled_from(ImageState),
    some.sampled_from("abc"),
    some.sampled_from(list(_FORMATS)),
    is_active=some.sampled_from([True, True, False]),
    is_shown=some.booleans(),
    was_shown=some.booleans(),
    runner=some.sampled_from(["me", "they"]),
    visibility=some.sampled_from(["private", "shared"]),
)
_OPTIONS = some.builds(PublishOptions, some.booleans(), some.booleans(), some.booleans())
_FAULTS = some.dictionaries(
    some.integers(4, 60),
    some.sampled_from([each for each in Fault if each is not Fault.NONE and not each.kills]),
    max_size=1,
)


@dataclass(frozen=True)
class Wish:
    """What is to be published: the contents of the parts, with whom it is shared, what holds it back."""

    disk: str
    kernel: str
    members: frozenset[str]
    gates: tuple[str, ...]

    def source(self, desk: Desk, folder: Path) -> PublishSource:
        """It as an offer."""

        def desired(part: ImagePart, content: str) -> DesiredImage:
            path = folder / content
            path.write_bytes(CONTENTS[content])
            return DesiredImage(
                chain=Chain(desk.sender.publisher, desk.recipe.name, part),
                name=f"{desk.recipe.name}{part.suffix}",
                version=ownership_marker.version_stamp(desk.now),
                path=path,
                size=len(CONTENTS[content]),
                sha512=hashlib.sha512(CONTENTS[content]).hexdigest(),
                disk_format=_FORMATS[part],
                container_format="bare",
                visibility="shared" if self.members else "private",
                members=self.members,
                properties={"os_distro": "cirros"},
            )

        images = [desired(ImagePart.DISK, self.disk)]
        if self.kernel:
            images.insert(0, desired(ImagePart.KERNEL, self.kernel))
        return PublishSource(desk.recipe.name, lambda target, stores: images, gates=lambda disk, newest: self.gates)


_WISHES = some.builds(
    Wish,
    some.sampled_from("abc"),
    some.sampled_from(["", "a", "b"]),
    some.sampled_from([frozenset(), frozenset({"bob"})]),
    some.sampled_from([(), (), ("a gate",)]),
)


class Named:
    """Checks, at each request that changes the cloud, that the journal named it before."""

    def __init__(self, desk: Desk, run: str, faults: Faults) -> None:
        self.desk, self.run, self.faults = desk, run, faults
        self.unnamed: list[str] = []

    def __call__(self, method: str, path: str) -> Fault:
        if method != "GET" and not self._is_named(path):
            self.unnamed.append(f"{method} {path}")
        return self.faults(method, path)

    def _is_named(self, path: str) -> bool:
        last = next(iter(reversed(list(journaled(self.desk, self.run)))), None)
        found = _IMAGE.match(path)
        if found is None:  # a record is made: the lock's, or the one that the journal names
            return last is None or last.act in ("create", "plan") or "lock" in last.act
        image = found[1]
        if last is not None and image == last.image:
            return True
        document = self.desk.services["here"].request("GET", f"/v2/images/{image}", "admin")
        return document.status_code == 404 or document.json().get(ownership_marker.PART) == "lock"


def journaled(desk: Desk, run: str) -> Iterator[JournalEvent]:
    """What the journal tells of a run."""
    journal = PublishJournal(journal_file(desk.home, "here", desk.recipe.name), run)
    return (event for event in journal.events() if event.run == run)


def done(found: Sequence[JournalEvent]) -> list[list[str]]:
    """The acts of each plan that the journal has, as it was carried out; what undid them is not among them."""
    plans: list[list[str]] = []
    steps: set[int] = set()
    for event in found:
        if event.act == "plan":
            plans.append([])
            steps = set()
        elif "step" in event.detail and event.detail["step"] not in steps:
            steps.add(event.detail["step"])
            plans[-1].append(event.act)
    return plans


def compare(
    desk: Desk, folder: Path, standing: list[Standing], wish: Wish, options: PublishOptions, faults: dict[int, Fault]
) -> PublishResult:
    """Plan, apply with ``faults``, and hold one against the other."""
    desk = replace(desk, recipe=desk.recipe.model_copy(update={"name": f"tiny-{uuid.uuid4().hex[:8]}"}))
    for serial, image in enumerate(standing, 1):
        image.create(desk, serial)
    service, sender = desk.services["here"], desk.sender
    clouds = desk.home.root.parent / "clouds.yaml"
    source, target = wish.source(desk, folder), Target(cloud="here", stores=STORES)
    write_clouds(clouds, {"here": (service.url, "admin-token")})
    known_project.remember(desk.home, desk.api())  # as after any run of this machine
    planned = preview(source, target, sender, options)
    assert [each.image for each in planned.steps if each.act is Act.DELETE] == []
    named = Named(desk, sender.run, Faults(faults))
    with FaultyProxy(service.url, choose=named).running() as proxy:
        write_clouds(clouds, {"here": (proxy.url, "admin-token")})
        publish_result = publish_one(source, target, sender, options)
    assert named.unnamed == []
    found = list(journaled(desk, sender.run))
    plans = [event.detail["steps"] for event in found if event.act == "plan"]
    carried_out = done(found)
    wholly = [step.as_data() for step in acts(planned.steps)]
    if planned.error is not None:
        assert plans == [] and publish_result.error is not None
        return publish_result
    assert publish_result.deviations == () or faults, "apply planned otherwise on the same state"
    if plans:
        assert plans[0] == wholly
    for steps, ran in zip(plans, carried_out, strict=True):
        assert ran == [step["act"] for step in steps][: len(ran)]
    if publish_result.error is None:
        assert (carried_out[-1] if carried_out else []) == [step["act"] for step in (plans[-1] if plans else [])]
        assert bool(plans) == bool(wholly)
    return publish_result


@pytest.fixture
def comparing(desk: Desk, tmp_path: Path) -> Any:
    """The comparison, and how many runs came to their end."""

    def run(*arguments: Any) -> PublishResult:
        return compare(desk, tmp_path, *arguments)

    return run


_CASES = (some.lists(_STANDING, max_size=4), _WISHES, _OPTIONS, _FAULTS)
_SETTINGS = settings(deadline=None, suppress_health_check=list(HealthCheck))


@settings(_SETTINGS, max_examples=10)
@given(*_CASES)
def test_a_plan_is_what_apply_does(
    comparing: Any, standing: list[Standing], wish: Wish, options: PublishOptions, faults: dict[int, Fault]
) -> None:
    tally(str(comparing(standing, wish, options, faults).outcome))


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(_SETTINGS, max_examples=200)
@given(*_CASES)
def test_a_plan_is_what_apply_does_in_many_states(
    comparing: Any, standing: list[Standing], wish: Wish, options: PublishOptions, faults: dict[int, Fault]
) -> None:
    tally(str(comparing(standing, wish, options, faults).outcome))


def test_what_broke_off_is_planned_too(desk: Desk, tmp_path: Path) -> None:
    """A dead run's record, and a withdrawal that was not finished: both were done by apply without being planned."""
    standing = [
        Standing(ImageState.SUPERSEDED, "a", was_shown=True),
        Standing(ImageState.WITHDRAWN, "b", is_shown=True, was_shown=True),
        Standing(ImageState.UPLOADING, "a", is_active=False),
    ]
    wish = Wish("c", "", frozenset(), ())
    publish_result = compare(desk, tmp_path, standing, wish, PublishOptions(), {})
    assert publish_result.error is None


def test_what_differs_from_the_plan_shown_before_is_said_before_it_is_done(desk: Desk) -> None:
    sender, target = desk.sender, Target(cloud="here", stores=STORES)
    desk.publish(desk.build("a", signed=False))
    source = of_build(desk.build("b", signed=False), desk.home, sender.publisher, sender.now)
    shown = preview(source, target, sender)
    other = replace(desk, home=Home(desk.home.root.with_name("other"), desk.home.root.with_name("other") / "cache"))
    assert other.publish(other.build("c", signed=False)).outcome is PublishOutcome.PUBLISHED
    newest = desk.newest()
    publish_result = publish_one(source, target, sender)
    assert publish_result.outcome is PublishOutcome.PUBLISHED
    gone, *new = publish_result.deviations
    assert gone.startswith("no longer planned: create") and "planned now: retire" in new[-1] and newest.id in new[-1]
    assert shown.steps[-1].act is Act.RETIRE and shown.steps[-1].image != newest.id
    assert publish_one(source, target, sender).deviations == (), "what was shown is forgotten once it is carried out"
