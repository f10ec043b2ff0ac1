"""Sixty nights under a clock: what is left is exactly what the retention rules say, reckoned here a second time."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.base.home import Home
from pipeline.engine.options import BuildOptions
from pipeline.engine.result import BuildResult
from pipeline.publishing import nightly
from pipeline.publishing.marks import State
from pipeline.publishing.nightly import Night
from pipeline.publishing.publication import Outcome
from pipeline.recipes.nightly import Nightly, Target
from pipeline.recipes.upkeep import Gates, Retention
from tests.integration.publishing import made
from tests.integration.publishing.conftest import STORES, Desk
from tests.integration.publishing.world import hurried

pytestmark = pytest.mark.server

KEEP, DAYS = 3, 10
NIGHTS = 60
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


def test_sixty_nights_leave_exactly_what_the_rules_say(desk: Desk) -> None:
    limits = Retention(keep=KEEP, keep_days=DAYS)
    desk.recipe = made.recipe(desk.recipe.name, retention=limits, gates=Gates(max_growth=100))
    chance = random.Random(60)
    ledger = Ledger()
    contents: dict[str, str] = {}
    current, version = "build 0", 0
    for number in range(NIGHTS):
        now = FIRST + timedelta(days=number, minutes=chance.randrange(50))
        kind = chance.choices(["changed", "same", "failing", "huge", "two runners"], [5, 3, 2, 2, 2])[0]
        if number == 0:
            kind = "changed"
        if kind in ("changed", "huge", "two runners"):
            version += 1
            current = f"build {version}"
        build = desk.build(current, blocks=4096 if kind == "huge" else 1024, signed=False)
        contents[build.products[0].digests["sha512"]] = current
        result = made.failed(desk.recipe) if kind == "failing" else build
        night = run_two(desk, result, now) if kind == "two runners" else run_one(desk, desk.home, result, now)
        (delivery,) = night.deliveries
        match kind:
            case "failing":
                assert delivery.outcome is Outcome.NOT_BUILT
            case "huge":
                assert delivery.outcome is Outcome.HELD
                ledger.hold(current, now)
            case "same" if current == ledger.newest:
                assert (delivery.outcome, night.changed_nothing) == (Outcome.UNCHANGED, True)
                ledger.rotate(now)
            case _:
                # A build that was held back is no longer huge when it is made again: its bytes are others.
                assert delivery.outcome is Outcome.PUBLISHED
                ledger.published(current, now)
                ledger.rotate(now)
        there = sorted(contents[image.sha512 or ""] for image in desk.images())
        assert there == ledger.contents, f"night {number} ({kind})"
        assert contents[desk.newest().sha512 or ""] == ledger.newest
        assert [image.state for image in desk.images()].count(State.NEWEST) == 1
    assert len(ledger.previous) >= KEEP
    assert version > KEEP + DAYS, "nothing would have been deleted"


def run_one(desk: Desk, home: Home, result: BuildResult, now: datetime) -> Night:
    """A nightly run whose recipes have been built."""

    def built(recipes: object, options: BuildOptions) -> list[BuildResult]:
        return [result]

    settings = Nightly(recipes=(desk.recipe.name,), targets=(Target(cloud="here", stores=STORES),), delete_old=True)
    options = BuildOptions(home=home)
    return nightly.run([desk.recipe], settings, options, builder=built, patience=hurried(), now=now)


def run_two(desk: Desk, result: BuildResult, now: datetime) -> Night:
    """The same night on two machines at once; what the one that published saw."""
    other = Home(desk.home.root.with_name("other-home"), desk.home.root.with_name("other-home") / "cache")
    nights: list[Night] = []
    threads = [
        threading.Thread(target=lambda home=home: nights.append(run_one(desk, home, result, now)))
        for home in (desk.home, other)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    outcomes = {night.deliveries[0].outcome for night in nights}
    assert outcomes <= {Outcome.PUBLISHED, Outcome.UNCHANGED, Outcome.FAILED}
    published = [night for night in nights if night.deliveries[0].outcome is Outcome.PUBLISHED]
    assert len(published) == 1
    return published[0]
