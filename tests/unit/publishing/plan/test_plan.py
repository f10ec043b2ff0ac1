"""What ``--plan`` says, which is what apply does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import RunnerContext, observe
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.observe import ObservedImage, ObservedPart
from pipeline.publishing.plan.plan import PublishOptions, plan
from pipeline.publishing.plan.steps import Act
from tests.unit.publishing.builders import CHAIN, NOW, desired, record

CONTEXT = RunnerContext("me", Clock(NOW))


def acts(records: list, content: str = "new", gates: tuple[str, ...] = (), **more: object) -> list[tuple[Act, str]]:  # type: ignore[type-arg]
    return planned([seen(records, content, **more)], gates=gates)


def seen(records: list, content: str = "new", **more: object) -> ObservedPart:  # type: ignore[type-arg]
    image = desired(content, **more)
    return ObservedPart(image, tuple(records), CONTEXT, observe(CHAIN, records, CONTEXT, image))


def planned(
    parts: list[ObservedPart], gates: tuple[str, ...] = (), others: tuple[ImageRecord, ...] = (), **options: Any
) -> list[tuple[Act, str]]:
    observed = ObservedImage(tuple(parts), "test", gates=lambda newest: gates, same_name=others)
    return [(step.act, step.why) for step in plan(observed, PublishOptions(**options)).steps]


def test_a_first_publication() -> None:
    found = acts([], visibility="public")
    assert [act for act, _ in found] == [Act.CREATE, Act.UPLOAD, Act.CHECK, Act.SWITCH]
    assert found[0][1] == "nothing of this recipe is published there yet"
    assert found[3][1] == "becomes the newest, public"


def test_changed_bytes_take_the_place_of_the_previous_image() -> None:
    found = acts([record(ImageState.NEWEST, "old")])
    assert [act for act, _ in found] == [Act.CREATE, Act.UPLOAD, Act.CHECK, Act.SWITCH, Act.RETIRE]
    assert "sha512" in found[0][1]


def test_a_changed_property_is_only_patched() -> None:
    found = acts([record(ImageState.NEWEST, "new", visibility="private")], properties={"os_distro": "debian"})
    assert found == [(Act.CHANGE, "the same bytes, but these changed: os_distro")]


def test_a_property_that_the_recipe_drops_is_removed_and_foreign_ones_stay() -> None:
    newest = record(
        ImageState.NEWEST, "new", visibility="private", pipeline_properties="gone,os_distro", gone="1", theirs="2"
    )
    found = acts([newest])
    assert found == [(Act.CHANGE, "the same bytes, but these changed: pipeline_properties, gone")]


def test_nothing_changed_is_said() -> None:
    found = acts([record(ImageState.NEWEST, "new", visibility="private")])
    assert found == [(Act.NOTHING, "the same bytes and properties are published already")]


def test_protection_given_by_hand_stays() -> None:
    assert acts([record(ImageState.NEWEST, "new", visibility="private", protected=True)])[0][0] is Act.NOTHING


def test_a_tripped_gate_holds_the_image_and_leaves_the_previous_one() -> None:
    found = acts([record(ImageState.NEWEST, "old")], gates=("grew by 40 %",))
    assert [act for act, _ in found] == [Act.CREATE, Act.UPLOAD, Act.CHECK, Act.HOLD]
    assert found[-1][1] == "grew by 40 %"


def test_leftovers_are_cleared_first() -> None:
    left = record(ImageState.UPLOADING, "other", serial=2, age=0)
    assert acts([left])[0] == (Act.DISCARD, "its run broke off before it was verified")


def test_withdrawn_bytes_are_left_and_the_way_out_is_named() -> None:
    found = acts([record(ImageState.NEWEST, "old", serial=1), record(ImageState.WITHDRAWN, "new", serial=2)])
    assert found[0][0] is Act.NOTHING
    assert "--again" in found[0][1]


def whole(*looked: tuple[list, str], **options: Any) -> list[tuple[Act, str]]:  # type: ignore[type-arg]
    return planned([seen(records, content) for records, content in looked], **options)


def test_bytes_that_were_taken_back_are_published_when_a_person_says_so() -> None:
    records = [record(ImageState.NEWEST, "old", serial=1), record(ImageState.WITHDRAWN, "new", serial=2)]
    assert [act for act, _ in whole((records, "new"))] == [Act.NOTHING]
    assert next(act for act, _ in whole((records, "new"), again=True)) is Act.CREATE


def test_of_files_made_elsewhere_existing_names_are_left_alone() -> None:
    newest = record(ImageState.NEWEST, "old")
    assert whole(([newest], "new"), only_new=True) == [
        (Act.NOTHING, "exists with other bytes and is left alone; --update-existing takes its place")
    ]
    assert whole(([], "new"), only_new=True, others=(record(None),))[0][0] is Act.NOTHING
    assert whole(([], "new"), only_new=True)[0][0] is Act.CREATE
    assert whole(([newest], "new"))[-1] == (Act.RETIRE, "hidden, as tiny-v1: no longer the newest")


def test_a_copy_that_is_missing_is_made_again() -> None:
    newest = record(ImageState.NEWEST, "new", visibility="private", stores="one")
    observed = ObservedImage((seen([newest]),), "test", ("one", "two"), frozenset({"copy-image", "glance-direct"}))
    copy, check = plan(observed, PublishOptions()).steps
    assert (copy.act, copy.stores, copy.why) == (Act.COPY, ("two",), "to two, where it is missing")
    assert (check.act, check.stores) == (Act.CHECK, ("two",))


def test_a_copy_that_was_not_read_back_is_read() -> None:
    newest = record(ImageState.NEWEST, "new", visibility="private", stores="one,two")

    def steps(*unread: str) -> list[tuple[Act, tuple[str, ...]]]:
        observed = ObservedImage((seen([newest]),), "test", ("one", "two", "three"), frozenset({"copy-image"}))
        found = plan(replace(observed, unread=lambda image: unread if image == newest.id else ()), PublishOptions())
        return [(step.act, step.stores) for step in found.steps]

    assert steps() == [(Act.COPY, ("three",)), (Act.CHECK, ("three",))]
    assert steps("two", "three", "other") == [(Act.COPY, ("three",)), (Act.CHECK, ("two", "three"))]


@pytest.mark.parametrize("stores", ["one,two,three", ""])
def test_stores_that_are_not_wanted_and_stores_that_no_record_names_change_nothing(stores: str) -> None:
    newest = record(ImageState.NEWEST, "new", visibility="private", stores=stores)
    observed = ObservedImage((seen([newest]),), "test", ("one", "two"))
    assert [step.act for step in plan(observed, PublishOptions()).steps] == [Act.NOTHING]


@pytest.mark.parametrize("only_new", [False, True])
def test_a_missing_copy_that_nobody_makes_for_us_is_sent_anew(only_new: bool) -> None:
    newest = record(ImageState.NEWEST, "new", visibility="private", stores="one")
    observed = ObservedImage(
        (seen([newest]),), "test", ("one", "two"), frozenset({"copy-image", "glance-direct"}), True
    )
    steps = plan(observed, PublishOptions(only_new=only_new)).steps
    assert [step.act for step in steps] == [Act.CREATE, Act.IMPORT, Act.CHECK, Act.SWITCH, Act.RETIRE]
    assert steps[0].why.startswith("it is missing in a store")


def test_one_that_waits_in_another_store_than_the_one_that_is_wanted_is_copied_there() -> None:
    waiting = record(ImageState.HELD, "new", visibility="private", stores="two")
    observed = ObservedImage((seen([waiting]),), "test", ("one",), frozenset({"copy-image"}))
    steps = plan(observed, PublishOptions()).steps
    assert [step.act for step in steps] == [Act.GO_ON, Act.COPY, Act.CHECK, Act.SWITCH]
    assert [steps[number].stores for number in (1, 2)] == [("one",), ("one",)]


def test_one_that_was_sent_anew_and_waits_is_gone_on_with() -> None:
    newest = record(ImageState.NEWEST, "new", visibility="private", stores="one", age=3)
    waiting = record(ImageState.VERIFIED, "new", serial=2, age=1, visibility="private", stores="one,two")
    observed = ObservedImage((seen([newest, waiting]),), "test", ("one", "two"), frozenset(), True)
    steps = plan(observed, PublishOptions()).steps
    assert [step.act for step in steps] == [Act.GO_ON, Act.CHECK, Act.SWITCH, Act.RETIRE]
