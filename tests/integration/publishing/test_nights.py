"""Sixty nights under a clock: what is left is exactly what the retention rules say, reckoned here a second time.

Every night goes to two clouds, and to two stores on each. Some nights two machines run at once, and some are killed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.publishing import nightly
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.nightly import Night
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.model.retention_fields import Gates, Retention
from pipeline.recipes.nightly import Nightly, Target
from tests.environments.imageservice import ImageService
from tests.integration.publishing import made
from tests.integration.publishing.conftest import STORES, Desk, write_clouds
from tests.integration.publishing.world import hurried

pytestmark = pytest.mark.server

KEEP, DAYS = 3, 10
NIGHTS = 60
CLOUDS = ("here", "there")
FIRST = datetime(2026, 9, 1, 3, 0, tzinfo=UTC)


@dataclass
class Ledger:
    """What ought to be there, by the rules alone: no request is made here."""

    newest: str | None = None
    previous: list[tuple[str, datetime, bool]] = field(default_factory=list)  # content, retired at, was shown
    held: str | None = None

    def published(self, content: str, now: datetime) -> None:
        if self.held is not None:
            self.previous.append((self.held, now, False))
            self.held = None
        if self.newest is not None:
            self.previous.append((self.newest, now, True))
        self.newest = content

    def hold(self, content: str, now: datetime) -> None:
        if self.held is not None:
            self.previous.append((self.held, now, False))
        self.held = content

    def rotate(self, now: datetime) -> None:
        shown = [content for content, _, was_shown in self.previous if was_shown]
        among_last = set(shown[-KEEP:])
        self.previous = [
            (content, retired, was_shown)
            for content, retired, was_shown in self.previous
            if (was_shown and content in among_last) or now - retired < timedelta(days=DAYS)
        ]

    @property
    def contents(self) -> list[str]:
        waiting = [self.held] if self.held else []
        return sorted(
            [*(content for content, _, _ in self.previous), *waiting, *([self.newest] if self.newest else [])]
        )


KINDS = {"changed": 5, "same": 3, "failing": 2, "huge": 2, "two runners": 2, "killed": 2}


def test_sixty_nights_leave_exactly_what_the_rules_say(desk: Desk, other_service: ImageService) -> None:
    addresses = {"here": desk.services["here"].url, "there": other_service.url}
    write_clouds(desk.home.root.parent / "clouds.yaml", {name: (url, "admin-token") for name, url in addresses.items()})
    limits = Retention(keep=KEEP, keep_days=DAYS)
    desk.recipe = made.recipe(desk.recipe.name, retention=limits, gates=Gates(max_growth=100))
    chance = random.Random(60)
    ledger = Ledger()
    contents: dict[str, str] = {}
    current, version = "build 0", 0
    for number in range(NIGHTS):
        # No two nights are whole days apart: at a limit, the seconds a night takes would decide.
        now = FIRST + timedelta(days=number, minutes=number * 7 % 50)
        (kind,) = chance.choices(list(KINDS), list(KINDS.values())) if number else ["changed"]
        if kind not in ("same", "failing"):
            version += 1
            current = f"build {version}"
        build = desk.build(current, blocks=4096 if kind == "huge" else 1024, signed=False)
        contents[build.products[0].digests["sha512"]] = current
        match kind:
            case "failing":
                assert outcomes(run_one(desk, desk.home, made.failed(desk.recipe), now)) == {PublishOutcome.NOT_BUILT}
            case "huge":
                assert outcomes(run_one(desk, desk.home, build, now)) == {PublishOutcome.HELD}
                ledger.hold(current, now)
            case "same" if current == ledger.newest:
                night = run_one(desk, desk.home, build, now)
                assert (outcomes(night), night.changed_nothing) == ({PublishOutcome.UNCHANGED}, True)
                ledger.rotate(now)
            case "two runners":
                run_two(desk, build, now)
                # Each may have found the other at work on one of the clouds; between them they did it all.
                assert outcomes(run_one(desk, desk.home, build, now)) == {PublishOutcome.UNCHANGED}
                ledger.published(current, now)
                ledger.rotate(now)
            case "killed":
                run_killed(desk, build, now, chance.choice(["upload", "copy", "verified", "switch", "retire"]))
                assert outcomes(run_one(desk, desk.home, build, now)) <= {
                    PublishOutcome.PUBLISHED,
                    PublishOutcome.UNCHANGED,
                }
                ledger.published(current, now)
                ledger.rotate(now)
            case _:
                # A build that was held back is no longer huge when it is made again: its bytes are others.
                assert outcomes(run_one(desk, desk.home, build, now)) == {PublishOutcome.PUBLISHED}
                ledger.published(current, now)
                ledger.rotate(now)
        for cloud in CLOUDS:
            there = sorted(contents[image.sha512 or ""] for image in desk.images(cloud))
            assert there == ledger.contents, f"night {number} ({kind}) on {cloud}"
            assert contents[desk.newest(cloud).sha512 or ""] == ledger.newest
            assert [image.state for image in desk.images(cloud)].count(ImageState.NEWEST) == 1
            assert set(desk.newest(cloud).stores) == set(STORES)
    assert len(ledger.previous) >= KEEP
    assert version > KEEP + DAYS, "nothing would have been deleted"


def outcomes(night: Night) -> set[PublishOutcome]:
    """How it ended on the clouds."""
    return {each.outcome for each in night.publish_results}


def run_one(desk: Desk, home: Home, result: BuildResult, now: datetime) -> Night:
    """A nightly run whose recipes have been built."""

    def built(recipes: object, options: BuildOptions) -> list[BuildResult]:
        return [result]

    targets = tuple(Target(cloud=cloud, stores=STORES) for cloud in CLOUDS)
    settings = Nightly(recipes=(desk.recipe.name,), targets=targets, delete_old=True)
    options = BuildOptions(home=home)
    return nightly.run([desk.recipe], settings, options, builder=built, retry_policy=hurried(), now=now)


def run_two(desk: Desk, result: BuildResult, now: datetime) -> None:
    """The same night on two machines at once: on each cloud one of them publishes it."""
    other = Home(desk.home.root.with_name("other-home"), desk.home.root.with_name("other-home") / "cache")
    with ThreadPoolExecutor(2) as pool:
        nights = list(pool.map(lambda home: run_one(desk, home, result, now), (desk.home, other)))
    for on_one_cloud in zip(*(night.publish_results for night in nights), strict=True):
        found = [each.outcome for each in on_one_cloud]
        assert found.count(PublishOutcome.PUBLISHED) == 1
        assert set(found) <= {PublishOutcome.PUBLISHED, PublishOutcome.UNCHANGED, PublishOutcome.FAILED}


def run_killed(desk: Desk, result: BuildResult, now: datetime, act: str) -> None:
    """A night in a process of its own, which is killed when its journal of the first cloud tells of ``act``."""
    journal = PublishJournal(journal_file(desk.home, CLOUDS[0], desk.recipe.name), "test")
    before = sum(1 for _ in journal.events())
    child = os.fork()
    if child == 0:
        try:
            run_one(desk, desk.home, result, now)
        finally:
            os._exit(0)
    while not any(event.act == act for event in list(journal.events())[before:]):
        time.sleep(0.002)
        assert os.waitpid(child, os.WNOHANG) == (0, 0), f"the run ended before {act}"
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
