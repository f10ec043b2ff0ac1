"""Find earlier runs, their logs and events, and prune them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.engine.record import runs


def _run(home: Home, name: str, **head: object) -> Path:
    folder = home.runs / name
    folder.mkdir(parents=True)
    (folder / "run.json").write_text(json.dumps({"started": "2026-01-01T00:00:00+00:00", "recipes": ["tiny"], **head}))
    return folder


def test_runs_are_found_by_their_beginning(home: Home) -> None:
    for name in ("20260101-000000-aaaa", "20260102-000000-bbbb", "20260102-000001-cccc"):
        _run(home, name, status="good", ended="2026-01-01T00:01:30+00:00")
    assert runs.find(home, "last").name.endswith("cccc")
    assert runs.find(home, "20260101").seconds == 90
    with pytest.raises(PipelineError, match="several runs begin with '20260102'"):
        runs.find(home, "20260102")
    with pytest.raises(PipelineError, match="there is no run 'x'"):
        runs.find(home, "x")


def test_a_run_whose_process_is_gone_was_killed(home: Home) -> None:
    _run(home, "1", status="running", owner="1-1-00000000")
    _run(home, "2", status="running", owner=Owner.current().mark)
    assert {run.name: run.status for run in runs.past_runs(home)} == {"1": "killed", "2": "running"}


def test_logs_are_found_by_step(home: Home) -> None:
    folder = _run(home, "1", status="good", owner="1-1-00000000")
    for name in ("a/boot", "b/boot", "a/sign"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / f"{name}.log").write_text(f"log of {name}\n")
    run = runs.find(home, "1")
    assert runs.find_log(run, "sign").read_text() == "log of a/sign\n"
    assert runs.find_log(run, "b/boot").read_text() == "log of b/boot\n"
    with pytest.raises(PipelineError, match="several logs of 'boot'"):
        runs.find_log(run, "boot")
    with pytest.raises(PipelineError, match="no log of 'x'"):
        runs.find_log(run, "x")
    assert b"".join(runs.follow(run, runs.find_log(run, "sign"))) == b"log of a/sign\n"


def test_half_a_line_of_events_is_left_out(home: Home) -> None:
    folder = _run(home, "1", status="good")
    (folder / "events.jsonl").write_text('{"event": "RunStarted"}\n{"event": "Ru')
    assert [event["event"] for event in runs.find(home, "1").events()] == ["RunStarted"]


def test_old_runs_are_pruned(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runs, "_KEPT_RUNS", 2)
    for name in "1234":
        _run(home, name, status="good")
    assert [folder.name for folder in runs.prune(home)] == ["2", "1"]
    assert [run.name for run in runs.past_runs(home)] == ["4", "3"]
