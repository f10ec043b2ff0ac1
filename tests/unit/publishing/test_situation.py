"""What publishing makes of what it finds in a cloud."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from pipeline.publishing.clock import Clock
from pipeline.publishing.marks import State
from pipeline.publishing.situation import Course, Viewpoint, look
from tests.unit.publishing.builders import CHAIN, NOW, digest, record, wanted

VIEW = Viewpoint("me", Clock(NOW))


def test_an_empty_cloud_asks_for_a_new_image() -> None:
    situation = look(CHAIN, [], VIEW, wanted())
    assert situation.course is Course.CREATE
    assert situation.newest is None


def test_the_same_bytes_are_not_sent_again() -> None:
    newest = record(State.NEWEST, "new", serial=3)
    situation = look(CHAIN, [record(State.SUPERSEDED, serial=2, age=20), newest], VIEW, wanted("new"))
    assert situation.course is Course.REFRESH
    assert situation.candidate == newest


def test_the_same_bytes_in_another_format_are_a_new_image() -> None:
    newest = record(State.NEWEST, "new", disk_format="raw")
    assert look(CHAIN, [newest], VIEW, wanted("new")).course is Course.CREATE


def test_of_two_newest_the_later_one_counts_and_the_other_is_to_be_retired() -> None:
    older, later = record(State.NEWEST, serial=1, age=9), record(State.NEWEST, serial=2, age=1)
    situation = look(CHAIN, [later, older], VIEW, wanted())
    assert situation.newest == later
    assert situation.stale_newest == (older,)


def test_an_upload_that_broke_off_goes_on_when_it_is_of_these_bytes() -> None:
    begun = record(State.UPLOADING, "new", serial=2, age=0, status="queued", os_hash_algo=None, os_hash_value=None)
    situation = look(CHAIN, [record(State.NEWEST, serial=1), begun], VIEW, wanted("new"))
    assert situation.course is Course.RESUME
    assert situation.candidate == begun
    assert situation.leftovers == ()


def test_an_upload_that_broke_off_is_a_leftover_when_it_cannot_go_on() -> None:
    newest = record(State.NEWEST, serial=1)
    other_bytes = record(State.UPLOADING, "other", serial=2, age=0, status="queued")
    still_saving = record(State.UPLOADING, "new", serial=3, age=0, status="saving")
    too_old = record(State.UPLOADING, "new", serial=4, age=11, status="queued")
    signed_otherwise = record(State.UPLOADING, "new", serial=5, age=0, status="queued", img_signature="x")
    found = [newest, other_bytes, still_saving, too_old, signed_otherwise]
    situation = look(CHAIN, found, VIEW, wanted("new"))
    assert situation.course is Course.CREATE
    assert list(situation.leftovers) == [too_old, other_bytes, still_saving, signed_otherwise]


def test_what_another_machine_uploads_is_left_alone_unless_we_have_the_lock() -> None:
    theirs = record(State.UPLOADING, "new", serial=2, age=0, pipeline_runner="they")
    situation = look(CHAIN, [theirs], VIEW, wanted("new"))
    assert situation.others_at_work == (theirs,)
    assert situation.course is Course.CREATE
    locked = look(CHAIN, [theirs], replace(VIEW, alone=True), wanted("new"))
    assert locked.others_at_work == ()
    assert locked.candidate == theirs


def test_a_verified_image_is_shown_without_another_upload() -> None:
    verified = record(State.VERIFIED, "new", serial=2, age=0)
    situation = look(CHAIN, [record(State.NEWEST, serial=1), verified], VIEW, wanted("new"))
    assert (situation.course, situation.candidate) == (Course.RESUME, verified)


def test_what_waits_and_is_overtaken_never_gets_shown() -> None:
    held = record(State.HELD, "held", serial=2, age=5)
    verified = record(State.VERIFIED, "verified", serial=3, age=4)
    newest = record(State.NEWEST, "old", serial=1)
    assert look(CHAIN, [newest, held, verified], VIEW, wanted("new")).outdated == (held, verified)
    overtaking = record(State.NEWEST, "old", serial=4, age=1)
    assert look(CHAIN, [overtaking, held, verified], VIEW).outdated == (held, verified)


def test_bytes_that_a_person_took_back_are_not_published_again() -> None:
    withdrawn = record(State.WITHDRAWN, "new", serial=2, age=1)
    newest = record(State.NEWEST, "old", serial=1)
    assert look(CHAIN, [newest, withdrawn], VIEW, wanted("new")).course is Course.WITHDRAWN
    assert look(CHAIN, [newest, withdrawn], VIEW, wanted("newer")).course is Course.CREATE


def test_images_without_our_mark_are_nothing_to_us() -> None:
    foreign = record(State.NEWEST, "new", pipeline_publisher="somebody")
    without_state = record(None, "new")
    assert look(CHAIN, [foreign, without_state], VIEW, wanted("new")).all == ()


_RECORDS = some.lists(
    some.builds(
        record,
        some.sampled_from(State),
        some.sampled_from(["old", "new", "other"]),
        serial=some.integers(1, 30),
        age=some.integers(0, 30),
        status=some.sampled_from(["active", "queued", "saving", "deactivated"]),
        pipeline_runner=some.sampled_from(["me", "they"]),
    ),
    max_size=12,
    unique_by=lambda each: each.id,
)


@given(_RECORDS)
def test_every_image_gets_exactly_one_place_and_nothing_verified_is_a_leftover(records: list) -> None:  # type: ignore[type-arg]
    situation = look(CHAIN, records, VIEW, wanted("new"))
    assert sorted(each.id for each in situation.all) == sorted(each.id for each in records)
    assert all(not each.state.was_verified for each in situation.leftovers if each.state)
    if situation.newest is not None:
        assert all(each.age_key <= situation.newest.age_key for each in records if each.state is State.NEWEST)
    if situation.course is Course.REFRESH:
        assert situation.newest is not None and situation.newest.sha512 == digest("new")
