"""Marks on images tell the moments at which things were done, not when the run began."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest

from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.publishing import nightly
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.nightly import Night
from pipeline.publishing.report import images as report_images
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from pipeline.recipes.nightly import Nightly, Target
from tests.integration.publishing.conftest import STORES, Desk
from tests.integration.publishing.world import hurried

pytestmark = pytest.mark.server


def night(desk: Desk, content: str, now: datetime | None = None) -> Night:
    """A nightly run whose build takes more than a second, which is what marks can tell apart."""

    def built(recipes: object, options: BuildOptions) -> list[BuildResult]:
        time.sleep(1.1)
        return [desk.build(content, signed=False)]

    settings = Nightly(recipes=(desk.recipe.name,), targets=(Target(cloud="here", stores=STORES),))
    return nightly.run(
        [desk.recipe], settings, BuildOptions(home=desk.home), builder=built, retry_policy=hurried(), now=now
    )


def test_marks_follow_one_another_as_the_journal_does(desk: Desk) -> None:
    night(desk, "a")
    night(desk, "b")
    before, newest = desk.images()
    history = report_images.history(desk.api(), desk.sender, newest.id, [desk.recipe])
    assert history is not None
    recorded = [(event.act, event.time) for event in history.events]
    at = dict(recorded)
    assert [act for act, _ in recorded] == ["create", "upload", "copy", "check", "verified", "verified", "switch"]
    verified, switched = (
        newest.properties[ownership_marker.VERIFIED_AT],
        newest.properties[ownership_marker.SWITCHED_AT],
    )
    retired = before.properties[ownership_marker.SUPERSEDED_AT]
    assert at["create"] <= at["verified"] <= verified <= at["switch"] <= switched <= retired
    assert history.sentences[1:3] == [f"verified at {verified}", f"shown at {switched}"]


def test_a_run_on_another_day_leaves_marks_of_that_day(desk: Desk) -> None:
    began = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    night(desk, "a", began)
    done = ownership_marker.parse_time(desk.newest().properties[ownership_marker.SWITCHED_AT])
    assert done is not None
    assert began < done and done.date() == began.date()
    events = PublishJournal(journal_file(desk.home, "here", desk.recipe.name), "test").events()
    assert [event.act for event in events][-1] == "switch"
