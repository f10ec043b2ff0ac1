"""Marks on images tell the moments at which things were done, not when the run began."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.engine.options import BuildOptions
from pipeline.engine.result import BuildResult
from pipeline.publishing import marks, nightly, overview
from pipeline.publishing.journal import Journal, journal_file
from pipeline.publishing.nightly import Night
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
        [desk.recipe], settings, BuildOptions(home=desk.home), builder=built, patience=hurried(), now=now
    )


def test_marks_follow_one_another_as_the_journal_does(desk: Desk) -> None:
    night(desk, "a")
    night(desk, "b")
    before, newest = desk.images()
    story = overview.story(desk.api(), desk.sender, newest.id, [desk.recipe])
    assert story is not None
    told = [(event.act, event.time) for event in story.events]
    at = dict(told)
    assert [act for act, _ in told] == ["create", "upload", "copy", "verified", "verified", "switch"]
    verified, switched = newest.properties[marks.VERIFIED_AT], newest.properties[marks.SWITCHED_AT]
    retired = before.properties[marks.SUPERSEDED_AT]
    assert at["create"] <= at["verified"] <= verified <= at["switch"] <= switched <= retired
    assert story.sentences[1:3] == [f"verified at {verified}", f"shown at {switched}"]


def test_a_run_on_another_day_leaves_marks_of_that_day(desk: Desk) -> None:
    began = datetime(2026, 3, 1, 3, 0, tzinfo=UTC)
    night(desk, "a", began)
    done = marks.parse_time(desk.newest().properties[marks.SWITCHED_AT])
    assert done is not None
    assert timedelta(seconds=1) <= done - began < timedelta(hours=1)
    events = Journal(journal_file(desk.home, "here", desk.recipe.name), "test").events()
    assert [event.act for event in events][-1] == "switch"
