"""A cloud changes only inside a step that the journal has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.plan.steps import Act, PlannedAct, differences, retire
from pipeline.publishing.transaction.journal import PublishJournal
from pipeline.publishing.transaction.ledger import Ledger
from tests.unit.publishing.builders import CHAIN, record
from tests.unit.publishing.cloud.test_owners import made

OLD = record(ImageState.NEWEST, "old")
STEP = retire(CHAIN.part, OLD, ImageState.SUPERSEDED, "no longer the newest", drop_protection=False)


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    api: ImageApi = made(Owners())
    nothing = PlannedAct(Act.NOTHING, CHAIN.part, "", "tiny", "nothing is to do")
    return Ledger(api, PublishJournal(tmp_path / "journal.jsonl", "a run"), [STEP, nothing])


def test_a_request_outside_of_a_step_is_not_made(ledger: Ledger) -> None:
    with pytest.raises(AssertionError, match="belongs to no step"):
        ledger.api.delete(OLD.id)
    with ledger.step(STEP):
        ledger.api.delete(OLD.id)
    with pytest.raises(AssertionError):
        ledger.api.delete(OLD.id)
    with ledger.undo("discard", OLD.id, "a fault"):
        ledger.api.delete(OLD.id)
    recorded = [(event.act, event.detail) for event in ledger.journal.events()]
    assert recorded == [
        ("plan", {"steps": [STEP.as_data()]}),
        ("retire", {"step": 1, "of": 1}),
        ("discard", {"undo": True}),
    ]


def test_plans_are_compared_without_the_names_that_bear_the_time_of_the_run() -> None:
    create = PlannedAct(Act.CREATE, CHAIN.part, "", "tiny-1", "new")
    later = PlannedAct(Act.CREATE, CHAIN.part, "", "tiny-2", "new")
    shown = [create.as_data(), STEP.as_data()]
    assert differences(shown, [later, STEP]) == []
    assert differences(shown, [STEP, later]) == ["the order of the steps is another one"]
    (gone,) = differences(shown, [later])
    assert gone.startswith(f"no longer planned: retire {OLD.id}")
    (new,) = differences([create.as_data()], [later, STEP])
    assert new.startswith(f"planned now: retire {OLD.id}")
