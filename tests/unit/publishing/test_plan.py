"""What ``--plan`` says, which is what apply does."""

from __future__ import annotations

from pipeline.publishing import plan
from pipeline.publishing.clock import Clock
from pipeline.publishing.marks import State
from pipeline.publishing.plan import Act
from pipeline.publishing.situation import Viewpoint, look
from tests.unit.publishing.builders import CHAIN, NOW, record, wanted

VIEW = Viewpoint("me", Clock(NOW))


def acts(records: list, content: str = "new", gates: tuple[str, ...] = (), **more: object) -> list[tuple[Act, str]]:  # type: ignore[type-arg]
    image = wanted(content, **more)
    return [(step.act, step.why) for step in plan.steps(look(CHAIN, records, VIEW, image), image, gates)]


def test_a_first_publication() -> None:
    found = acts([], visibility="public")
    assert [act for act, _ in found] == [Act.CREATE, Act.CHECK, Act.SWITCH]
    assert found[0][1] == "nothing of this recipe is published there yet"
    assert found[2][1] == "becomes the newest, public"


def test_changed_bytes_take_the_place_of_the_previous_image() -> None:
    found = acts([record(State.NEWEST, "old")])
    assert [act for act, _ in found] == [Act.CREATE, Act.CHECK, Act.SWITCH, Act.RETIRE]
    assert "sha512" in found[0][1]


def test_a_changed_property_is_only_patched() -> None:
    found = acts([record(State.NEWEST, "new", visibility="private")], properties={"os_distro": "debian"})
    assert found == [(Act.CHANGE, "the same bytes, but these changed: os_distro")]


def test_a_property_that_the_recipe_drops_is_removed_and_foreign_ones_stay() -> None:
    newest = record(
        State.NEWEST, "new", visibility="private", pipeline_properties="gone,os_distro", gone="1", theirs="2"
    )
    found = acts([newest])
    assert found == [(Act.CHANGE, "the same bytes, but these changed: pipeline_properties, gone")]


def test_nothing_changed_is_said() -> None:
    found = acts([record(State.NEWEST, "new", visibility="private")])
    assert found == [(Act.NOTHING, "the same bytes and properties are published already")]


def test_protection_given_by_hand_stays() -> None:
    assert acts([record(State.NEWEST, "new", visibility="private", protected=True)])[0][0] is Act.NOTHING


def test_a_tripped_gate_holds_the_image_and_leaves_the_previous_one() -> None:
    found = acts([record(State.NEWEST, "old")], gates=("grew by 40 %",))
    assert [act for act, _ in found] == [Act.CREATE, Act.CHECK, Act.HOLD]
    assert found[-1][1] == "grew by 40 %"


def test_leftovers_are_cleared_first() -> None:
    left = record(State.UPLOADING, "other", serial=2, age=0)
    assert acts([left])[0] == (Act.DISCARD, "its run broke off before it was verified")


def test_withdrawn_bytes_are_left_and_the_way_out_is_named() -> None:
    found = acts([record(State.NEWEST, "old", serial=1), record(State.WITHDRAWN, "new", serial=2)])
    assert found[0][0] is Act.NOTHING
    assert "--again" in found[0][1]


def whole(*looked: tuple[list, str], **limits: object) -> list[tuple[Act, str]]:  # type: ignore[type-arg]
    images = [wanted(content) for _, content in looked]
    chosen = [(look(CHAIN, records, VIEW, image), image) for (records, _), image in zip(looked, images, strict=True)]
    return [(step.act, step.why) for step in plan.publication(chosen, plan.Limits(**limits))]  # type: ignore[arg-type]


def test_bytes_that_were_taken_back_are_published_when_a_person_says_so() -> None:
    records = [record(State.NEWEST, "old", serial=1), record(State.WITHDRAWN, "new", serial=2)]
    assert [act for act, _ in whole((records, "new"))] == [Act.NOTHING]
    assert next(act for act, _ in whole((records, "new"), again=True)) is Act.CREATE


def test_of_files_made_elsewhere_existing_names_are_left_alone() -> None:
    newest = record(State.NEWEST, "old")
    assert whole(([newest], "new"), only_new=True) == [
        (Act.NOTHING, "exists with other bytes and is left alone; --update-existing takes its place")
    ]
    assert whole(([], "new"), only_new=True, others=[record(None)])[0][0] is Act.NOTHING
    assert whole(([], "new"), only_new=True)[0][0] is Act.CREATE
    assert whole(([newest], "new"))[-1] == (Act.RETIRE, "hidden, as tiny-v1: no longer the newest")
