"""What publishing makes of what it finds in a cloud."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as some

from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.plan.chain_state import ReconcileAction, RunnerContext, observe
from pipeline.publishing.plan.clock import Clock
from tests.unit.publishing.builders import CHAIN, NOW, desired, digest, record

CONTEXT = RunnerContext("me", Clock(NOW))


def test_an_empty_cloud_asks_for_a_new_image() -> None:
    observed = observe(CHAIN, [], CONTEXT, desired())
    assert observed.action is ReconcileAction.CREATE
    assert observed.newest is None


def test_the_same_bytes_are_not_sent_again() -> None:
    newest = record(ImageState.NEWEST, "new", serial=3)
    observed = observe(CHAIN, [record(ImageState.SUPERSEDED, serial=2, age=20), newest], CONTEXT, desired("new"))
    assert observed.action is ReconcileAction.REFRESH
    assert observed.candidate == newest


def test_the_same_bytes_in_another_format_are_a_new_image() -> None:
    newest = record(ImageState.NEWEST, "new", disk_format="raw")
    assert observe(CHAIN, [newest], CONTEXT, desired("new")).action is ReconcileAction.CREATE


def test_of_two_newest_the_later_one_counts_and_the_other_is_to_be_retired() -> None:
    older, later = record(ImageState.NEWEST, serial=1, age=9), record(ImageState.NEWEST, serial=2, age=1)
    observed = observe(CHAIN, [later, older], CONTEXT, desired())
    assert observed.newest == later
    assert observed.stale_newest == (older,)


def test_what_is_not_active_or_has_no_digest_of_the_services_is_not_the_newest() -> None:
    off = record(ImageState.NEWEST, "new", serial=2, age=1, status="deactivated")
    marked = record(ImageState.NEWEST, "new", serial=3, age=0, os_hash_algo=None, os_hash_value=None)
    alone = observe(CHAIN, [off, marked], CONTEXT, desired("new"))
    assert (alone.newest, alone.action, alone.displaced) == (None, ReconcileAction.CREATE, (off, marked))
    older = record(ImageState.NEWEST, "old", serial=1)
    assert observe(CHAIN, [older, off], CONTEXT, desired("new")).stale_newest == (off,)


def test_an_upload_that_broke_off_goes_on_when_it_is_of_these_bytes() -> None:
    begun = record(ImageState.UPLOADING, "new", serial=2, age=0, status="queued", os_hash_algo=None, os_hash_value=None)
    observed = observe(CHAIN, [record(ImageState.NEWEST, serial=1), begun], CONTEXT, desired("new"))
    assert observed.action is ReconcileAction.RESUME
    assert observed.candidate == begun
    assert observed.leftovers == ()


def test_an_upload_that_broke_off_is_a_leftover_when_it_cannot_go_on() -> None:
    newest = record(ImageState.NEWEST, serial=1)
    other_bytes = record(ImageState.UPLOADING, "other", serial=2, age=0, status="queued")
    still_saving = record(ImageState.UPLOADING, "new", serial=3, age=0, status="saving")
    too_old = record(ImageState.UPLOADING, "new", serial=4, age=11, status="queued")
    signed_otherwise = record(ImageState.UPLOADING, "new", serial=5, age=0, status="queued", img_signature="x")
    found = [newest, other_bytes, still_saving, too_old, signed_otherwise]
    observed = observe(CHAIN, found, CONTEXT, desired("new"))
    assert observed.action is ReconcileAction.CREATE
    assert list(observed.leftovers) == [too_old, other_bytes, still_saving, signed_otherwise]


def test_what_another_machine_uploads_is_left_alone_unless_we_have_the_lock() -> None:
    theirs = record(ImageState.UPLOADING, "new", serial=2, age=0, pipeline_runner="they")
    observed = observe(CHAIN, [theirs], CONTEXT, desired("new"))
    assert observed.others_at_work == (theirs,)
    assert observed.action is ReconcileAction.CREATE
    locked = observe(CHAIN, [theirs], replace(CONTEXT, exclusive=True), desired("new"))
    assert locked.others_at_work == ()
    assert locked.candidate == theirs


def test_a_verified_image_is_shown_without_another_upload() -> None:
    verified = record(ImageState.VERIFIED, "new", serial=2, age=0)
    observed = observe(CHAIN, [record(ImageState.NEWEST, serial=1), verified], CONTEXT, desired("new"))
    assert (observed.action, observed.candidate) == (ReconcileAction.RESUME, verified)


def test_what_waits_and_is_overtaken_never_gets_shown() -> None:
    held = record(ImageState.HELD, "held", serial=2, age=5)
    verified = record(ImageState.VERIFIED, "verified", serial=3, age=4)
    newest = record(ImageState.NEWEST, "old", serial=1)
    assert observe(CHAIN, [newest, held, verified], CONTEXT, desired("new")).outdated == (held, verified)
    overtaking = record(ImageState.NEWEST, "old", serial=4, age=1)
    assert observe(CHAIN, [overtaking, held, verified], CONTEXT).outdated == (held, verified)


def test_bytes_that_a_person_took_back_are_not_published_again() -> None:
    withdrawn = record(ImageState.WITHDRAWN, "new", serial=2, age=1)
    newest = record(ImageState.NEWEST, "old", serial=1)
    assert observe(CHAIN, [newest, withdrawn], CONTEXT, desired("new")).action is ReconcileAction.WITHDRAWN
    assert observe(CHAIN, [newest, withdrawn], CONTEXT, desired("newer")).action is ReconcileAction.CREATE


def test_images_without_our_mark_are_nothing_to_us() -> None:
    foreign = record(ImageState.NEWEST, "new", pipeline_publisher="somebody")
    without_state = record(None, "new")
    assert observe(CHAIN, [foreign, without_state], CONTEXT, desired("new")).all == ()


_RECORDS = some.lists(
    some.builds(
        record,
        some.sampled_from(ImageState),
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
    observed = observe(CHAIN, records, CONTEXT, desired("new"))
    assert sorted(each.id for each in observed.all) == sorted(each.id for each in records)
    assert all(not each.state.was_verified for each in observed.leftovers if each.state)
    if observed.newest is not None:
        fit = [each for each in records if each.state is ImageState.NEWEST and each.is_active]
        assert observed.newest in fit
        assert all(each.age_key <= observed.newest.age_key for each in fit)
    if observed.action is ReconcileAction.REFRESH:
        assert observed.newest is not None and observed.newest.sha512 == digest("new")
