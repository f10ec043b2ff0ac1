"""The records publishing writes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from pipeline.publishing import marks
from pipeline.publishing.change import Change
from pipeline.publishing.marks import State
from pipeline.publishing.wanted import dated_name, restored, retired
from tests.unit.publishing.builders import record, wanted


def test_a_new_record_is_hidden_and_private_whatever_the_recipe_says() -> None:
    document = wanted(visibility="public", protected=True, tags=frozenset({"golden"})).record(7, "run", "runner")
    assert (document["visibility"], document["os_hidden"], document["protected"]) == ("private", True, False)
    assert document["name"] == "tiny-20261121T031500Z"
    assert document[marks.STATE] == "uploading"
    assert "tags" not in document


def test_a_recipe_cannot_forge_marks() -> None:
    document = wanted(properties={marks.STATE: "newest", marks.PUBLISHER: "x"}).record(1, "run", "runner")
    assert (document[marks.STATE], document[marks.PUBLISHER]) == ("uploading", "golden-image-pipeline")


def test_retiring_takes_the_stable_name_once_and_keeps_visibility() -> None:
    newest = record(State.NEWEST, serial=4)
    change = retired(newest, State.SUPERSEDED, "2026-11-21T00:00:00Z", drop_protection=False)
    assert change.fields == {"name": "tiny-v4", "os_hidden": True}
    again = retired(record(State.SUPERSEDED, serial=4), State.SUPERSEDED, "later", drop_protection=False)
    assert again.fields["name"] == "tiny-v4"


def test_protection_is_dropped_only_when_it_is_ours() -> None:
    newest = record(State.NEWEST, protected=True)
    assert "protected" not in retired(newest, State.SUPERSEDED, "t", drop_protection=False).fields
    assert retired(newest, State.SUPERSEDED, "t", drop_protection=True).fields["protected"] is False


def test_restoring_undoes_retiring() -> None:
    newest = record(State.NEWEST, tags=["golden"], protected=True)
    away = retired(newest, State.SUPERSEDED, "t", drop_protection=True)
    gone = record(State.SUPERSEDED, tags=["golden"], name="tiny-v1", pipeline_superseded_at="t")
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
    operations = Change(properties={"a/b~c": "1"}).operations(record(State.NEWEST))
    assert operations == [{"op": "add", "path": "/a~1b~0c", "value": "1"}]


def test_nothing_is_sent_for_what_is_so_already() -> None:
    newest = record(State.NEWEST, tags=["a", "b"])
    change = Change({"tags": ["b", "a"], "name": "tiny"}, {"os_distro": "cirros"}, frozenset({"absent"}))
    assert change.operations(newest) == []
