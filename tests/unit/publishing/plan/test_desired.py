"""The records publishing writes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.patch import RecordPatch
from pipeline.publishing.plan.desired import dated_name, restored, retired
from tests.unit.publishing.builders import desired, digest, record


def test_a_new_record_is_hidden_and_private_whatever_the_recipe_says() -> None:
    document = desired(visibility="public", protected=True, tags=frozenset({"golden"})).record(
        "an-id", 7, "run", "runner"
    )
    assert (document["visibility"], document["os_hidden"], document["protected"]) == ("private", True, False)
    assert document["name"] == "tiny-20261121T031500Z"
    assert document[ownership_marker.STATE] == "uploading"
    assert "tags" not in document


def test_a_recipe_cannot_forge_marks() -> None:
    document = desired(properties={ownership_marker.STATE: "newest", ownership_marker.PUBLISHER: "x"}).record(
        "an-id", 1, "run", "runner"
    )
    assert (document[ownership_marker.STATE], document[ownership_marker.PUBLISHER]) == (
        "uploading",
        "golden-image-pipeline",
    )


def test_retiring_takes_the_stable_name_once_and_keeps_visibility() -> None:
    newest = record(ImageState.NEWEST, serial=4)
    patch = retired(newest, ImageState.SUPERSEDED, "2026-11-21T00:00:00Z", drop_protection=False)
    assert patch.fields == {"name": "tiny-v4", "os_hidden": True}
    again = retired(record(ImageState.SUPERSEDED, serial=4), ImageState.SUPERSEDED, "later", drop_protection=False)
    assert again.fields["name"] == "tiny-v4"


def test_protection_is_dropped_only_when_it_is_ours() -> None:
    newest = record(ImageState.NEWEST, protected=True)
    assert "protected" not in retired(newest, ImageState.SUPERSEDED, "t", drop_protection=False).fields
    assert retired(newest, ImageState.SUPERSEDED, "t", drop_protection=True).fields["protected"] is False


def test_restoring_undoes_retiring() -> None:
    newest = record(ImageState.NEWEST, tags=["golden"], protected=True)
    away = retired(newest, ImageState.SUPERSEDED, "t", drop_protection=True)
    gone = record(ImageState.SUPERSEDED, tags=["golden"], name="tiny-v1", pipeline_superseded_at="t")
    assert away.operations(newest)
    paths = {each["path"]: each.get("value") for each in restored(newest).operations(gone)}
    assert paths == {
        "/name": "tiny",
        "/os_hidden": False,
        "/protected": True,
        "/pipeline_state": "newest",
        "/pipeline_superseded_at": None,
    }


@given(some.text(min_size=1, max_size=400), some.text("0123456789TZ", max_size=16))
def test_dated_names_fit(name: str, version: str) -> None:
    assert len(dated_name(name, version)) <= 255
    assert dated_name(name, version).endswith(f"-{version}")


def test_property_names_become_json_pointers() -> None:
    operations = RecordPatch(properties={"a/b~c": "1"}).operations(record(ImageState.NEWEST))
    assert operations == [{"op": "add", "path": "/a~1b~0c", "value": "1"}]


def test_nothing_is_sent_for_what_is_so_already() -> None:
    newest = record(ImageState.NEWEST, tags=["a", "b"])
    change = RecordPatch({"tags": ["b", "a"], "name": "tiny"}, {"os_distro": "cirros"}, frozenset({"absent"}))
    assert change.operations(newest) == []


def test_a_mark_never_stands_for_a_digest() -> None:
    image = desired("new")
    assert image.matches(record(ImageState.NEWEST, "new"))
    assert not image.matches(record(ImageState.NEWEST, "new", os_hash_algo=None, os_hash_value=None))
    assert not image.matches(record(ImageState.NEWEST, "old", pipeline_sha512=digest("new")))
    off = record(ImageState.NEWEST, "new", status="deactivated")
    assert not image.matches(off) and image.is_held_by(off)


def test_services_that_compute_another_digest_are_held_to_that_one(tmp_path: Path) -> None:
    path = tmp_path / "disk"
    path.write_bytes(b"new")
    image = desired("new", path=path)
    for algorithm in ("sha256", "sha3_512", "blake2b"):
        value = hashlib.new(algorithm, b"new").hexdigest()
        assert image.matches(record(ImageState.NEWEST, os_hash_algo=algorithm, os_hash_value=value))
        assert not image.matches(record(ImageState.NEWEST, os_hash_algo=algorithm, os_hash_value=value[:-1] + "x"))
    # Anybody can make two contents with one of these.
    value = hashlib.md5(b"new", usedforsecurity=False).hexdigest()
    assert not image.matches(record(ImageState.NEWEST, os_hash_algo="md5", os_hash_value=value))
