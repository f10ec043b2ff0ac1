"""``./inv images``, ``why`` and ``withdraw`` over several clouds: one that fails is told of and stops no other."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import yaml

from pipeline.base.errors import PipelineError
from pipeline.cli.handlers import build as build_handler
from pipeline.cli.handlers import images
from pipeline.cli.handlers import publish as publish_handler
from pipeline.publishing.cloud.ownership_marker import ImagePart, ImageState
from tests.integration.publishing import made
from tests.integration.publishing.conftest import Desk, write_clouds

pytestmark = pytest.mark.server

WHY = "it does not boot"


@pytest.fixture
def two_clouds(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """Two builds of a recipe of this checkout on ``here``; on ``shut``, which comes first, the token is not valid."""
    write_clouds(
        tmp_path / "clouds.yaml",
        {"here": (desk.services["here"].url, "admin-token"), "shut": (desk.services["here"].url, "no-such-token")},
    )
    settings = tmp_path / "nightly.yaml"
    targets = [{"cloud": "shut"}, {"cloud": "here", "stores": ["one", "two"]}]
    settings.write_text(yaml.safe_dump({"recipes": ["tiny"], "targets": targets}))
    monkeypatch.setattr(publish_handler, "SETTINGS", settings)
    monkeypatch.setenv("PIPELINE_HOME", str(desk.home.root))
    desk.recipe = made.recipe("tiny", visibility="private")
    for image in desk.images():
        desk.api().delete(image.id)
    for content in ("first", "second"):
        assert desk.publish(desk.build(content, signed=False)).error is None
    return desk


def test_images_are_listed_where_a_cloud_answers(two_clouds: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        images.images()
    output = capsys.readouterr()
    assert ended.value.code == 1
    assert "cloud shut answered 401" in output.err and two_clouds.newest().id in output.out
    with pytest.raises(SystemExit):
        images.images(as_json=True)
    listed = json.loads(capsys.readouterr().out)
    assert two_clouds.newest().id in {each["id"] for each in listed}


def test_an_image_is_found_behind_a_cloud_that_fails(two_clouds: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    images.why(two_clouds.newest().id)
    output = capsys.readouterr()
    assert "cloud shut answered 401" in output.err
    assert output.out.index("it is what consumers get") < output.out.index("create") < output.out.index("switch")
    with pytest.raises(PipelineError, match="no image nothing of ours was found"):
        images.why("nothing")


def test_a_bad_image_is_taken_back_wherever_a_cloud_answers(
    two_clouds: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        images.withdraw("tiny", WHY)
    output = capsys.readouterr()
    assert ended.value.code == 1
    assert "cloud shut answered 401" in output.err and "here: tiny" in output.out
    assert [image.state for image in two_clouds.images()] == [ImageState.NEWEST, ImageState.WITHDRAWN]
    with pytest.raises(SystemExit):
        images.withdraw("tiny", WHY)
    assert "here: there is no image of tiny before" in capsys.readouterr().err


def test_an_image_that_has_no_recipe_here_is_taken_back_too(
    two_clouds: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    two_clouds.recipe = made.recipe(f"elsewhere-{two_clouds.recipe.name}", visibility="private")
    for content in ("first", "second"):
        assert two_clouds.publish(two_clouds.build(content, signed=False)).error is None
    images.withdraw(two_clouds.recipe.name, WHY, "here")
    assert "is the newest again" in capsys.readouterr().out
    assert [image.state for image in two_clouds.images()] == [ImageState.NEWEST, ImageState.WITHDRAWN]
    with pytest.raises(SystemExit):
        images.withdraw("no-such-image", WHY, "here")
    output = capsys.readouterr().err
    assert "nothing of no-such-image is published there" in output and "./inv images" in output


def test_an_upload_that_was_taken_back_comes_again_only_when_asked_for(
    two_clouds: Desk, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "by-hand"
    files = {content: tmp_path / f"{content}.raw" for content in ("first", "second")}
    for content, file in files.items():
        file.write_bytes(content.encode() * 8192)
        publish_handler.upload(name, {ImagePart.DISK: file}, cloud="here", unsigned=True, update_existing=True)
    images.withdraw(name, WHY, "here")
    before = next(two_clouds.api().visible(name=name))
    capsys.readouterr()
    with pytest.raises(SystemExit):
        publish_handler.upload(
            name, {ImagePart.DISK: files["second"]}, cloud="here", unsigned=True, update_existing=True
        )
    assert "say --again" in capsys.readouterr().out
    assert next(two_clouds.api().visible(name=name)) == before
    publish_handler.upload(name, {ImagePart.DISK: files["second"]}, cloud="here", unsigned=True, again=True)
    (shown,) = two_clouds.api().visible(name=name)
    assert shown.sha512 == hashlib.sha512(files["second"].read_bytes()).hexdigest()


def test_a_plan_says_what_a_cloud_does_not_know(
    desk: Desk, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(desk.home.root))
    build_handler.plan(["tiny"], cloud="here", as_json=True)
    (planned,) = json.loads(capsys.readouterr().out)
    assert (planned["cloud"], planned["remarks"]) == ("here", [])
    service, namespace = desk.services["here"], "/v2/metadefs/namespaces/OS::Glance::CommonImageProperties"
    whole = service.request("GET", namespace, "admin").json()
    fields = {name: whole[name] for name in ("namespace", "display_name", "description", "visibility")}
    assert service.request("PUT", namespace, "admin", json={**fields, "protected": False}).status_code == 200
    known = service.request("GET", f"{namespace}/properties/architecture", "admin").json()
    assert service.request("DELETE", f"{namespace}/properties/architecture", "admin").status_code == 204
    try:
        build_handler.plan(["tiny"], cloud="here")
        assert "here: the cloud's definitions do not know architecture" in capsys.readouterr().out
        assert desk.images() == []
    finally:
        service.request("POST", f"{namespace}/properties", "admin", json=known)
        service.request("PUT", namespace, "admin", json={**fields, "protected": True})
