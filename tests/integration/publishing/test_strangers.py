"""Another project's member writes our marks and names on its images: they are left alone, named, and hinder nothing."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.terminal import SafeConsole
from pipeline.cli.handlers import images as images_handler
from pipeline.cli.handlers import publish as publish_handler
from pipeline.cli.handlers import verify as verify_handler
from pipeline.publishing.cloud.ownership_marker import Chain, ImagePart, ImageState
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.publish_one import Preview, preview, publish_one
from pipeline.publishing.report import terminal
from pipeline.publishing.rotate import rotate
from pipeline.publishing.sources.build import of_build
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.retention_fields import Retention
from pipeline.recipes.nightly import Target
from tests.integration.publishing import made
from tests.integration.publishing.conftest import STORES, Desk, write_clouds
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.stranger import Stranger, some_bytes

pytestmark = pytest.mark.server


@pytest.fixture
def stranger(desk: Desk) -> Iterator[Stranger]:
    """Whatever it made is as it made it when the test ends."""
    bob = Stranger(desk.services["here"])
    yield bob
    bob.check()
    bob.clear()


@pytest.fixture
def chain(desk: Desk) -> Chain:
    return Chain(desk.sender.publisher, desk.recipe.name)


def elsewhere(desk: Desk) -> Desk:
    """The same recipe from another machine's home."""
    root = desk.home.root.with_name("elsewhere")
    return replace(desk, home=Home(root, root / "cache"))


def planned(desk: Desk, content: str, **target: object) -> Preview:
    sender = desk.sender
    source = of_build(desk.build(content, signed=False), desk.home, sender.publisher, sender.now)
    return preview(source, Target.model_validate({"cloud": "here", "stores": STORES, **target}), sender)


@pytest.mark.parametrize("data", [b"", some_bytes()])
def test_an_image_with_the_marks_of_the_newest_takes_no_place(
    desk: Desk, stranger: Stranger, chain: Chain, data: bytes
) -> None:
    desk.publish(desk.build("a", signed=False))
    newest = desk.newest()
    forged = stranger.forge(chain, of=newest, data=data)
    again = desk.publish(desk.build("a", signed=False))
    assert (again.outcome, again.error) == (PublishOutcome.UNCHANGED, None)
    assert [each.id for each in desk.images()] == [newest.id] and desk.images()[0].name == newest.name
    assert [each.id for each in again.strangers] == [forged]
    shown = io.StringIO()
    terminal.show([again], SafeConsole(file=shown, width=200))
    assert f"({forged}) of project bob has our marks or name: left alone" in " ".join(shown.getvalue().split())
    assert desk.publish(desk.build("b", signed=False)).outcome is PublishOutcome.PUBLISHED
    assert [each.state for each in desk.images()] == [ImageState.SUPERSEDED, ImageState.NEWEST]


def test_the_same_bytes_of_somebody_else_are_not_ours(desk: Desk, stranger: Stranger, chain: Chain) -> None:
    build = desk.build("a", signed=False)
    stranger.forge(chain, data=build.products[0].path.read_bytes())
    for state in (ImageState.VERIFIED, ImageState.WITHDRAWN, ImageState.UPLOADING, ImageState.HELD):
        stranger.forge(chain, state)
    assert desk.publish(build).outcome is PublishOutcome.PUBLISHED
    assert [each.owner for each in desk.images()] == ["admin"]


def test_a_member_who_publishes_is_as_safe(desk: Desk, stranger: Stranger, chain: Chain) -> None:
    desk.recipe = made.recipe(desk.recipe.name, visibility="private")
    desk.publish(desk.build("a", signed=False), "as-alice")
    (ours,) = desk.images("as-alice")
    forged = stranger.forge(chain, of=ours)
    stranger.service.request("POST", f"/v2/images/{forged}/members", "bob", json={"member": "alice"})
    stranger.service.request("PUT", f"/v2/images/{forged}/members/alice", "alice", json={"status": "accepted"})
    stranger.forge(chain, of=ours, visibility="community")
    again = desk.publish(desk.build("a", signed=False), "as-alice")
    assert again.outcome is PublishOutcome.UNCHANGED and forged in {each.id for each in again.strangers}
    assert desk.publish(desk.build("b", signed=False), "as-alice").outcome is PublishOutcome.PUBLISHED


def test_a_lock_that_is_not_ours_locks_nothing(desk: Desk, stranger: Stranger, chain: Chain) -> None:
    squatted = stranger.squat(chain)
    # Whoever waited for that lock to die would wait for ever.
    patient = replace(desk.retry_policy, lease=replace(desk.retry_policy.lease, lasts=10.0**6))
    sender = replace(desk.sender, retry_policy=patient)
    source = of_build(desk.build("a", signed=False), desk.home, sender.publisher, sender.now)
    delivery = publish_one(source, Target(cloud="here", stores=STORES), sender)
    assert delivery.outcome is PublishOutcome.PUBLISHED and squatted in {each.id for each in delivery.strangers}


def test_ids_that_somebody_used_up_hinder_nothing(desk: Desk, stranger: Stranger, chain: Chain) -> None:
    stranger.use_up(chain, range(1, 25))
    stranger.made[chain.image_id(25)] = stranger.service.show(
        stranger.service.create("bob", id=chain.image_id(25)), "bob"
    )
    for content in "ab":
        delivery = desk.publish(desk.build(content, signed=False))
        assert (delivery.outcome, delivery.error) == (PublishOutcome.PUBLISHED, None)
    assert [each.state for each in desk.images()] == [ImageState.SUPERSEDED, ImageState.NEWEST]


def test_rotation_counts_and_deletes_ours_only(desk: Desk, stranger: Stranger, chain: Chain) -> None:
    desk.recipe = made.recipe(desk.recipe.name, retention=Retention(keep=1, keep_days=7))
    for content in "abc":
        desk.publish(desk.build(content, signed=False))
    first, second, _ = desk.images()
    for _ in range(3):
        stranger.forge(chain, ImageState.SUPERSEDED, of=second)
        # As if it started with ours, so that ours had to stay.
        stranger.forge(chain, of=second, kernel_id=first.id)
    later = replace(desk.sender, clock=Clock(desk.now + timedelta(days=99)))
    for delete in (False, True):
        rotated = rotate(desk.recipe, "here", later, delete=delete)
        assert rotated.error is None
        assert [each.record.id for each in rotated.rotated] == [second.id, first.id]
    assert [each.id for each in desk.images()] == [second.id, desk.newest().id]


def test_what_comes_back_when_ours_is_withdrawn_is_ours(
    desk: Desk, stranger: Stranger, chain: Chain, command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for content in "ab":
        desk.publish(desk.build(content, signed=False))
    first, second = desk.images()
    stranger.forge(chain, ImageState.SUPERSEDED, of=first, data=some_bytes())
    stranger.forge(chain, ImageState.WITHDRAWN, of=second, data=some_bytes())
    images_handler.withdraw(desk.recipe.name, "it does not boot", "here")
    assert first.id in capsys.readouterr().out
    assert [(each.id, each.state) for each in desk.images()] == [
        (first.id, ImageState.NEWEST),
        (second.id, ImageState.WITHDRAWN),
    ]


def test_a_name_that_others_show_is_no_conflict(desk: Desk, stranger: Stranger, tmp_path: Path, command: Path) -> None:
    uploaded = f"{desk.recipe.name}-files"
    for name in (desk.recipe.name, uploaded):
        stranger.forge(Chain("somebody", name), visibility="community")
        theirs = stranger.service.create("bob", name=name, visibility="shared")
        stranger.made[theirs] = stranger.service.show(theirs, "bob")
    assert desk.publish(desk.build("a", signed=False)).outcome is PublishOutcome.PUBLISHED
    file = tmp_path / "disk.raw"
    file.write_bytes(b"d" * 4096)
    publish_handler.upload(uploaded, {ImagePart.DISK: file}, cloud="here", unsigned=True)
    assert [each.owner for each in desk.api().shown(name=uploaded)] == ["admin"]


@pytest.fixture
def command(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What the commands read: targets and home; the recipe need not be known."""
    settings = tmp_path / "nightly.yaml"
    targets = [{"cloud": "here", "stores": list(STORES)}]
    settings.write_text(yaml.safe_dump({"recipes": ["tiny"], "targets": targets}))
    monkeypatch.setattr(publish_handler, "SETTINGS", settings)
    monkeypatch.setattr(images_handler, "SETTINGS", settings)
    monkeypatch.setenv("PIPELINE_HOME", str(desk.home.root))
    return settings


def test_lists_and_stories_tell_them_apart(
    desk: Desk, stranger: Stranger, chain: Chain, command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.publish(desk.build("a", signed=False))
    newest = desk.newest()
    forged = stranger.forge(chain, of=newest, data=some_bytes())
    images_handler.images("here", as_json=True)
    output = capsys.readouterr()
    listed = {each["id"] for each in json.loads(output.out)}
    assert newest.id in listed and forged not in listed
    assert f"({forged}) of project bob has our marks or name: left alone" in output.err
    images_handler.why(newest.id, "here")
    assert "it is what consumers get" in capsys.readouterr().out
    images_handler.why(desk.recipe.image_name, "here")
    assert newest.id in capsys.readouterr().out
    with pytest.raises(PipelineError, match="no image"):
        images_handler.why(forged, "here")
    assert "belongs to project bob: it is not ours, and left alone" in capsys.readouterr().err


def test_a_list_says_when_it_cannot_tell_whose_images_are_ours(
    desk: Desk, command: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.publish(desk.build("a", signed=False))
    monkeypatch.setenv("PIPELINE_HOME", str(elsewhere(desk).home.root))
    images_handler.images("here")
    output = capsys.readouterr().err
    assert f"({desk.newest().id}) of project admin has our marks" in output and "does not tell whether" in output
    with pytest.raises(PipelineError, match="no image"):
        images_handler.why(desk.newest().id, "here")
    assert "does not tell which project" in capsys.readouterr().err


def test_verifying_by_name_reads_ours(
    desk: Desk, stranger: Stranger, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.publish(desk.build("a"))
    newest = desk.newest()
    stranger.forge(chain, of=newest, data=some_bytes())
    with pytest.raises(SystemExit):
        verify_handler.run(desk.home, desk.recipe.image_name, cloud="here", policy="", trust="", as_json=True)
    (verdict,) = json.loads(capsys.readouterr().out)
    assert newest.id in json.dumps(verdict)


def test_a_plan_says_when_it_cannot_tell_whose_images_are_ours(desk: Desk, stranger: Stranger, chain: Chain) -> None:
    assert planned(desk, "a").error is None, "nothing bears our marks: whoever we are, that is the plan"
    desk.publish(desk.build("a", signed=False))
    known = planned(desk, "a")
    assert (known.error, known.project) == (None, "admin")
    shown = io.StringIO()
    terminal.show_previews([known], SafeConsole(file=shown, width=200))
    assert "the token does not tell whose images are ours; this is the plan for project admin" in shown.getvalue()
    stranger.forge(chain, of=desk.newest())
    fresh = planned(elsewhere(desk), "a")
    assert fresh.error is not None and "the token does not tell which project it is for" in fresh.error.message
    assert "of project bob" in fresh.error.message
    sender = elsewhere(desk).sender
    refused = rotate(desk.recipe, "here", sender, delete=False)
    assert refused.error is not None and "cannot be told" in refused.error.message


def test_images_of_a_former_project_count_when_the_operator_names_it(
    desk: Desk, command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.recipe = made.recipe(desk.recipe.name, visibility="private")
    desk.publish(desk.build("a", signed=False), "as-alice")
    (before,) = desk.images("as-alice")
    plan = planned(elsewhere(desk), "a")
    assert plan.error is not None
    assert desk.publish(desk.build("a", signed=False), owners=("alice",)).outcome is PublishOutcome.UNCHANGED
    assert desk.publish(desk.build("b", signed=False), owners=("alice",)).outcome is PublishOutcome.PUBLISHED
    (ours,) = desk.images()
    (theirs,) = desk.images("as-alice")
    assert (theirs.id, theirs.state, ours.owner) == (before.id, ImageState.SUPERSEDED, "admin")

    images_handler.takeover("alice", "here")
    assert f"({before.id}), superseded, belongs to project alice" in capsys.readouterr().out
    assert len(desk.images("as-alice")) == 1
    images_handler.takeover("alice", "here", yes=True)
    assert f"({before.id}) is ours now" in capsys.readouterr().out
    assert [(each.id, each.state) for each in desk.images()] == [
        (before.id, ImageState.SUPERSEDED),
        (ours.id, ImageState.NEWEST),
    ]
    with pytest.raises(PipelineError, match="--owner"):
        images_handler.takeover("", "here", yes=True)


def test_who_may_not_take_over_is_told_how_else(
    desk: Desk, chain: Chain, command: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    desk.recipe = made.recipe(desk.recipe.name, visibility="shared", members=("alice",))
    desk.publish(desk.build("a", signed=False))
    with pytest.raises(SystemExit):
        images_handler.takeover("admin", "as-alice", yes=True)
    assert "owners: [PROJECT]" in capsys.readouterr().err
    assert desk.images()[0].owner == "admin"


def test_the_marks_of_others_cost_nothing(desk: Desk, stranger: Stranger, chain: Chain) -> None:
    """Lists that a run asks for are of our own project, or a page at most: a hundred thousand others change nothing."""
    desk.publish(desk.build("a", signed=False))
    service = desk.services["here"]
    stranger.forge(chain, of=desk.newest())
    with FaultyProxy(service.url, choose=lambda method, path: Fault.NONE).running() as proxy:
        write_clouds(desk.home.root.parent / "clouds.yaml", {"here": (proxy.url, "admin-token")})
        desk.publish(desk.build("b", signed=False))
        rotate(desk.recipe, "here", desk.sender, delete=True)
    write_clouds(desk.home.root.parent / "clouds.yaml", {"here": (service.url, "admin-token")})
    lists = [line for line in proxy.log if line.startswith("GET /v2/images?")]
    pages = [line for line in lists if "owner=admin" not in line]
    assert lists and all("limit=100&" in f"{line.partition(':')[0]}&" for line in pages)
    assert len(pages) == len(set(pages)) == 4
