"""What a build would do, and why."""

from __future__ import annotations

import json
from contextlib import closing
from typing import Any
from xml.etree import ElementTree

from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.plan import graph_svg
from pipeline.engine.plan.plan import Plan, PlannedAction, plan
from pipeline.engine.record.history import BuildHistory
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench


def _plan(bench: Bench, **changes: Any) -> Plan:
    with closing(BuildHistory(bench.home)) as history:
        return plan(
            light.recipe(**changes),
            light.steps(bench.steering),
            bench.store,
            history,
            LockFile(bench.home.root, "light"),
        )


def test_nothing_was_ever_built(bench: Bench) -> None:
    found = _plan(bench)
    assert [(step.verdict, step.reason) for step in found.steps] == [(PlannedAction.RUN, "never built here")] * 5
    assert found.seconds is None
    assert not found.nothing_to_do and not found.is_blocked


def test_everything_is_cached(bench: Bench) -> None:
    bench.build()
    found = _plan(bench)
    assert found.nothing_to_do
    assert found.seconds == 0
    assert all(step.seconds is not None for step in found.steps)


def test_a_plan_changes_nothing(bench: Bench) -> None:
    bench.build()
    before = {path: path.stat().st_mtime_ns for path in bench.home.root.rglob("*") if path.is_file()}
    _plan(bench)
    changed = [path for path, time in before.items() if path.exists() and path.stat().st_mtime_ns != time]
    assert [path.name for path in changed if not path.name.startswith("history.sqlite")] == []


def test_a_changed_input_is_named(bench: Bench) -> None:
    bench.build()
    found = _plan(bench, customize={"hostname": "web"})
    verdicts = {step.name: (step.verdict, step.reason, step.changes) for step in found.steps}
    assert verdicts["install"][0] is PlannedAction.CACHED
    assert verdicts["customize"] == (
        PlannedAction.RUN,
        "its inputs changed",
        ('customize.hostname: nothing → "web"',),
    )
    assert verdicts["convert"] == (PlannedAction.RUN, "offline runs", ())
    assert verdicts["sign"] == (PlannedAction.RUN, "product runs", ())
    assert found.seconds is not None and found.seconds > 0


def test_a_lost_result_is_told(bench: Bench) -> None:
    bench.build()
    for file in bench.store.outcomes.glob("*.json"):
        if '"unit": "sign"' in file.read_text():
            file.unlink()
    (step,) = [step for step in _plan(bench).steps if step.verdict is PlannedAction.RUN]
    assert (step.name, step.reason) == ("sign", "its result is no longer in the cache")


def test_a_missing_input_blocks(bench: Bench) -> None:
    bench.steer("blocked.convert")
    found = _plan(bench)
    assert [(step.name, step.verdict, step.reason) for step in found.steps[1:]] == [
        ("customize", PlannedAction.RUN, "never built here"),
        ("convert", PlannedAction.BLOCKED, "the medium is missing (get it)"),
        ("boot", PlannedAction.BLOCKED, "product is blocked"),
        ("sign", PlannedAction.BLOCKED, "product is blocked"),
    ]
    assert found.is_blocked
    bench.steer("blocked.sign")
    assert _plan(bench).steps[-1].reason == "the medium is missing (get it)", "its own reason goes first"


def test_a_recipe_without_steps_is_an_error(bench: Bench) -> None:
    bench.steer("unwanted.convert")
    found = _plan(bench)
    assert found.error is not None and "no step does its product stage" in found.error
    assert found.is_blocked


def test_as_json_and_as_a_picture(bench: Bench) -> None:
    bench.build()
    found = _plan(bench, customize={"hostname": "web"})
    assert json.loads(json.dumps(found.as_dict()))["steps"][1]["verdict"] == "run"
    picture = graph_svg.picture([found, found])
    tree = ElementTree.fromstring(picture)
    texts = [element.text for element in tree.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("light") == 2
    assert [text for text in texts if text in ("install", "customize", "convert", "boot", "sign")] == 2 * [
        "install",
        "customize",
        "convert",
        "boot",
        "sign",
    ]
    arrows = [path for path in tree.iter("{http://www.w3.org/2000/svg}path") if path.get("d", "").startswith("M")]
    assert len(arrows) == 1 + 2 * len(found.edges)
