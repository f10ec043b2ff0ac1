"""Which images stay and which may go."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as some

from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.chain_state import RunnerContext, observe
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.retention.policy import decide, links
from pipeline.recipes.model.retention_fields import Retention
from tests.unit.publishing.builders import CHAIN, NOW, record

CONTEXT = RunnerContext("me", Clock(NOW))
LIMITS = Retention(keep=2, keep_days=7)


def retired(serial: int, days: int, **more: Any) -> ImageRecord:
    """An image that was the newest until ``days`` days ago."""
    gone = ownership_marker.time_text(NOW - timedelta(days=days))
    given = {"pipeline_superseded_at": gone, "pipeline_switched_at": gone, **more}
    return record(given.pop("state", ImageState.SUPERSEDED), f"bytes {serial}", serial=serial, age=days + 1, **given)


def fates(*records: ImageRecord, limits: Retention = LIMITS, needed: frozenset[str] = frozenset()) -> dict[int, str]:
    """Serial → why it stays, or ``gone``."""
    observed = observe(CHAIN, records, CONTEXT)
    return {each.record.serial: each.why if each.stays else "gone" for each in decide(observed, limits, NOW, needed)}


def newest(serial: int = 99, **more: Any) -> ImageRecord:
    return record(ImageState.NEWEST, "newest", serial=serial, age=0, **more)


def test_an_image_goes_only_when_number_and_age_allow_it() -> None:
    found = fates(newest(), retired(4, 20), retired(3, 30), retired(2, 40), retired(5, 2), retired(6, 1))
    assert found[6] == "it is number 1 of the 2 previous ones to keep"
    assert found[5] == "it is number 2 of the 2 previous ones to keep"
    assert {serial for serial, why in found.items() if why == "gone"} == {2, 3, 4}


def test_days_keep_more_than_the_number_says() -> None:
    found = fates(newest(), *(retired(serial, 10 - serial) for serial in range(4, 9)))
    assert "gone" not in found.values()
    assert "7 days are to be kept" in found[4]


def test_nothing_goes_without_a_healthy_newest_image() -> None:
    old = retired(1, 100)
    limits = Retention(keep=0, keep_days=0)
    assert fates(newest(), old, limits=limits) == {1: "gone"}
    assert fates(old, limits=limits) == {1: "there is no healthy newest image"}
    assert fates(newest(status="deactivated"), old, limits=limits) == {1: "there is no healthy newest image"}
    assert fates(newest(pipeline_verified_at=None), old, limits=limits) == {1: "there is no healthy newest image"}


def test_what_somebody_protects_or_marks_stays() -> None:
    limits = Retention(keep=0, keep_days=0)
    found = fates(
        newest(),
        retired(1, 50, protected=True),
        retired(2, 50, pipeline_keep="yes"),
        retired(3, 50, os_hidden=False),
        retired(4, 50, pipeline_verified_at=None),
        retired(5, 50),
        limits=limits,
        needed=frozenset({CHAIN.image_id(5)}),
    )
    assert found == {
        1: "it is protected",
        2: "it carries the mark pipeline_keep",
        3: "it is not hidden",
        4: "it was never verified",
        5: "another image starts with it",
    }


def test_what_was_never_shown_takes_no_place_among_those_to_keep() -> None:
    found = fates(newest(), retired(1, 20), retired(2, 19), retired(3, 18, pipeline_switched_at=None))
    assert found[3] == "gone"
    assert found[1] == "it is number 2 of the 2 previous ones to keep"


def test_a_withdrawn_image_stays_until_a_later_build_is_the_newest() -> None:
    limits = Retention(keep=0, keep_days=0)
    withdrawn = retired(5, 1, state=ImageState.WITHDRAWN)
    back = record(ImageState.NEWEST, "older", serial=4, age=30)
    assert "taken back" in fates(back, withdrawn, limits=limits)[5]
    assert fates(newest(), withdrawn, limits=limits)[5] == "gone"


def test_links_name_kernel_and_ramdisk() -> None:
    disks = [newest(kernel_id="k1", ramdisk_id="r1"), newest(kernel_id="k2")]
    assert links(disks) == {"k1", "k2", "r1"}


_RETIRED = some.builds(
    retired,
    some.integers(1, 60),
    some.integers(0, 60),
    protected=some.booleans(),
    os_hidden=some.sampled_from([True, True, False]),
    pipeline_keep=some.sampled_from([None, None, "yes"]),
    state=some.sampled_from([ImageState.SUPERSEDED, ImageState.SUPERSEDED, ImageState.WITHDRAWN]),
)


@given(
    some.lists(_RETIRED, max_size=12, unique_by=lambda each: each.serial),
    some.sampled_from([None, "active", "deactivated"]),
    some.integers(0, 5),
    some.integers(0, 30),
)
def test_whatever_is_there_the_limits_hold(
    records: list[ImageRecord], status: str | None, keep: int, days: int
) -> None:
    there = [*records, *([newest(status=status)] if status else [])]
    observed = observe(CHAIN, there, CONTEXT)
    decisions = decide(observed, Retention(keep=keep, keep_days=days), NOW)
    gone = [each.record for each in decisions if not each.stays]
    assert not gone or status == "active"
    assert all(
        not each.is_protected and each.is_hidden and ownership_marker.KEEP not in each.properties for each in gone
    )
    assert all(NOW - each.retired_at >= timedelta(days=days) for each in gone)
    assert {each.record.id for each in decisions} == {each.id for each in records}
    stay = [each for each in decisions if each.stays and each.record.state is ImageState.SUPERSEDED]
    before = [each for each in records if each.state is ImageState.SUPERSEDED]
    assert len(stay) >= min(keep, len(before))
