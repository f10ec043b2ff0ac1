"""Publishing to the reference image service behind a real Keystone, by a user who is no administrator.

Nothing of ours is on the other side: what works here works through openstacksdk and the Image API alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
import requests
import yaml

from pipeline.base.home import Home
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from pipeline.publishing.report import images as report_images
from pipeline.publishing.retention.rotation import RotationOutcome
from pipeline.publishing.rotate import rotate
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.retention_fields import Retention
from tests.environments import glance as reference
from tests.environments import keystone as identity
from tests.environments.fixtures import installed
from tests.environments.glance import STORES, Glance
from tests.environments.keystone import PASSWORD, REGION, Keystone
from tests.environments.relay import relay
from tests.integration.publishing import made
from tests.integration.publishing.conftest import Desk
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy

pytestmark = pytest.mark.server

LIFE = 6  # seconds that a token lives, where tokens are to end


@pytest.fixture(scope="module")
def glance(keystone: Keystone) -> Iterator[Glance]:
    with installed(reference.glance(keystone)) as running:
        yield running


@pytest.fixture(scope="module")
def hasty_glance() -> Iterator[Glance]:
    """One behind a Keystone whose tokens end soon."""
    with installed(identity.keystone(token_seconds=LIFE)) as keystone, installed(reference.glance(keystone)) as running:
        yield running


def entry(glance: Glance, user: str) -> dict[str, Any]:
    """A cloud as operators write it down."""
    return {
        "auth": {
            "auth_url": glance.keystone.url,
            "username": user,
            "password": PASSWORD,
            "project_name": user,
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        "region_name": REGION,
        "identity_api_version": "3",
    }


def office_at(glance: Glance, home: Home, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """demo and alt are members of projects of their own. Patience is that of every day: the service is no quick one."""
    file = home.root.parent / "clouds.yaml"
    file.write_text(yaml.safe_dump({"clouds": {"here": entry(glance, "demo"), "as-alt": entry(glance, "alt")}}))
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    recipe = made.recipe(f"tiny-{uuid.uuid4().hex[:8]}", visibility="private")
    return Desk(home, {}, recipe, datetime.now(UTC), retry_policy=CloudRetryPolicy(poll=0.2))


@pytest.fixture
def office(home: Home, glance: Glance, monkeypatch: pytest.MonkeyPatch) -> Desk:
    return office_at(glance, home, monkeypatch)


def test_nights_of_a_member_leave_the_newest_and_what_retention_keeps(office: Desk) -> None:
    office.recipe = made.recipe(office.recipe.name, visibility="private", retention=Retention(keep=1, keep_days=0))
    for content, outcome in (("a", "published"), ("a", "unchanged"), ("b", "published"), ("c", "published")):
        publish_result = office.publish(office.build(content, signed=False), stores=STORES)
        assert (publish_result.error, str(publish_result.outcome)) == (None, outcome)
    (read,) = publish_result.disk.read  # type: ignore[union-attr]
    # It does not say which store its bytes are from: one reading is one reading.
    assert (read.store, set(read.listed)) == (None, set(STORES))
    newest = office.newest()
    assert set(newest.stores) == set(STORES)
    assert newest.sha512 == office.build("c", signed=False).products[0].digests["sha512"]
    found = rotate(office.recipe, "here", office.sender, delete=True)
    assert (found.error, [each.outcome for each in found.rotated]) == (
        None,
        [RotationOutcome.KEPT, RotationOutcome.DELETED],
    )
    assert [each.state for each in office.images()] == [ImageState.SUPERSEDED, ImageState.NEWEST]
    history = report_images.history(office.api(), office.sender, office.recipe.image_name, [office.recipe])
    assert history is not None and history.record.id == newest.id


def test_a_linked_triple_is_published_by_a_member(office: Desk) -> None:
    build = office.build("disk", signed=False, kernel="kernel", ramdisk="ramdisk")
    assert office.publish(build, stores=STORES).outcome is PublishOutcome.PUBLISHED
    disk = office.newest()
    for name, part in (("kernel_id", ImagePart.KERNEL), ("ramdisk_id", ImagePart.RAMDISK)):
        assert disk.properties[name] == office.images(part=part)[0].id


def test_members_are_invited_and_told_of_until_they_accept(office: Desk, glance: Glance) -> None:
    with glance.keystone.connect("alt") as alt:
        project = alt.current_project_id
    office.recipe = made.recipe(office.recipe.name, visibility="shared", members=(project,))
    build = office.build("a", signed=False)
    publish_result = office.publish(build, stores=STORES[:1])
    assert publish_result.disk is not None
    assert (publish_result.outcome, publish_result.disk.waiting) == (PublishOutcome.PUBLISHED, (project,))
    assert not list(office.api("as-alt").visible(name=office.recipe.image_name))
    assert office.api("as-alt").accept_member(office.newest().id, project)
    assert list(office.api("as-alt").visible(name=office.recipe.image_name))
    again = office.publish(build, stores=STORES[:1])
    assert again.disk is not None
    assert (again.outcome, again.disk.waiting) == (PublishOutcome.UNCHANGED, ())


def test_a_visibility_that_policy_refuses_is_told_before_a_byte_is_sent(office: Desk, glance: Glance) -> None:
    office.recipe = made.recipe(office.recipe.name, visibility="public")
    with FaultyProxy(glance.url).running() as proxy, glance.keystone.endpoint("image", proxy.url):
        refused = office.publish(office.build("a", signed=False), stores=STORES)
    assert refused.error is not None
    assert "does not let this user show" in refused.error.message and "public" in refused.error.message
    assert not [line for line in proxy.log if line.startswith("PUT")]
    assert office.images() == []


@pytest.mark.long
def test_an_upload_outlives_its_token(hasty_glance: Glance, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    office = office_at(hasty_glance, home, monkeypatch)
    build = office.build("long", signed=False, blocks=32768)
    seconds = 2 * LIFE
    rate = build.products[0].size / seconds
    token = hasty_glance.keystone.token()
    with relay(hasty_glance.url, rate=rate) as slow, hasty_glance.keystone.endpoint("image", slow.url):
        publish_result = office.publish(build, stores=STORES[:1])
    assert (publish_result.error, publish_result.outcome) == (None, PublishOutcome.PUBLISHED)
    listed = requests.get(f"{hasty_glance.url}/v2/images", headers={"X-Auth-Token": token}, timeout=30)
    assert listed.status_code == 401, "a token would have lived as long"


def test_a_token_that_is_refused_when_the_bytes_are_sent_is_renewed_and_all_are_sent_again(
    office: Desk, glance: Glance
) -> None:
    refusals = iter([Fault.UNAUTHORIZED])

    def choose(method: str, path: str) -> Fault:
        return next(refusals, Fault.NONE) if method == "PUT" else Fault.NONE

    with FaultyProxy(glance.url, choose=choose).running() as proxy, glance.keystone.endpoint("image", proxy.url):
        publish_result = office.publish(office.build("a", signed=False), stores=STORES[:1])
    assert (publish_result.error, publish_result.outcome) == (None, PublishOutcome.PUBLISHED)
    puts = [line for line in proxy.log if line.startswith("PUT")]
    assert [line.rpartition(": ")[2] for line in puts] == ["401", "none"]
