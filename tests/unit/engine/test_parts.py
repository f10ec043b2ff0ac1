"""Resources, history, runs: the engine's smaller parts."""

from __future__ import annotations

import json
import sqlite3
import time
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.base.owner import Owner
from pipeline.engine import registry
from pipeline.engine.record import runs
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.journal import RunJournal
from pipeline.engine.units.graph import units
from pipeline.engine.units.resources import GIB, MIB, Needs, Resources, amount, free_disk
from pipeline.host.system import memory
from pipeline.recipes.loading.load import RecipeFolder


def test_needs_add_up_and_bound_each_other() -> None:
    one, two = Needs(memory=5, disk=1, guests=1), Needs(memory=3, disk=4, guests=0)
    assert one | two == Needs(5, 4, 1)
    assert one + two == Needs(8, 5, 1)


def test_resources_are_handed_out_and_taken_back(tmp_path: Path) -> None:
    resources = Resources(tmp_path, slots=2, memory=4 * GIB)
    assert resources.take("a", Needs(memory=GIB, guests=1))
    assert resources.take("b", Needs(memory=GIB, guests=1))
    assert not resources.take("c", Needs(memory=GIB, guests=1)), "no third slot"
    assert not resources.take("d", Needs(memory=2 * GIB)), "no memory"
    resources.give_back("a")
    assert resources.take("c", Needs(memory=GIB, guests=1))


def test_each_boot_is_a_guest_of_its_own() -> None:
    (tiny,) = RecipeFolder(CHECKOUT / "recipes").load("tiny")
    boots = [each for each in units(tiny, registry.STEPS) if each.name in ("boot_test", "firmware_test")]
    assert [each.resources.guests for each in boots] == [1, 1]
    # Side by side: neither waits for the other.
    assert [each.needs for each in boots] == [("product",), ("product",)]


def test_what_runs_alone_always_may(tmp_path: Path) -> None:
    resources = Resources(tmp_path, slots=1, memory=GIB)
    assert resources.take("a", Needs(memory=GIB, guests=3))


def test_what_can_never_fit_is_an_error(tmp_path: Path) -> None:
    resources = Resources(tmp_path, slots=1, memory=GIB)
    with pytest.raises(PipelineError, match=r"x needs 2\.0 GiB of memory .* 1\.0 GiB are available"):
        resources.check("x", Needs(memory=2 * GIB))
    with pytest.raises(PipelineError, match=r"x needs .* TiB of disk"):
        resources.check("x", Needs(disk=1 << 60))
    resources.check("x", Needs(memory=100 * MIB))


def test_this_machine_has_memory_and_disk(tmp_path: Path) -> None:
    assert memory.available() > 64 * MIB
    assert free_disk(tmp_path / "not" / "there") == free_disk(tmp_path)
    assert amount(1536) == "1.5 KiB"
    assert amount(3 << 40) == "3.0 TiB"


def test_history_knows_what_is_usual(home: Home) -> None:
    history = BuildHistory(home)
    assert history.usual("tiny", "boot") is None
    for seconds in (10.0, 12.0, 11.0, 300.0, 11.0):
        history.note("tiny", "boot", "tcg", seconds, "r", good=True)
    history.note("tiny", "boot", "tcg", 1.0, "r", good=False)
    usual = history.usual("tiny", "boot")
    assert usual is not None
    assert (usual.median, usual.runs) == (11.0, 5)
    assert usual.slow > usual.median
    history.note("tiny", "boot", "kvm", 2.0, "r", good=True)
    usual = history.usual("tiny", "boot")
    assert usual is not None and usual.median == 2.0, "the accelerator it ran on last"


def test_history_remembers_what_was_made_from_what(home: Home) -> None:
    history = BuildHistory(home)
    assert history.latest("tiny", "install") is None
    history.remember("tiny", "install", "k1", {"a": 1})
    history.remember("tiny", "install", "k2", {"a": 2})
    history.close()
    assert BuildHistory(home).latest("tiny", "install") == {"a": 2}


def test_a_history_does_not_grow_for_ever(home: Home) -> None:
    history = BuildHistory(home)
    for number in range(250):
        history.note("tiny", "boot", "tcg", float(number), "r", good=True)
    history.note("tiny", "boot", "kvm", 1.0, "r", good=True)
    rows = history._do("SELECT min(seconds), max(seconds), count(*) FROM steps WHERE accelerator = 'tcg'", ())
    assert rows == [(150.0, 249.0, 100)], "the newest, of each accelerator"
    assert history.usual("tiny", "boot", "kvm") is not None
    history.close()


def test_a_damaged_row_of_the_history_costs_only_itself(home: Home) -> None:
    history = BuildHistory(home)
    history.remember("tiny", "install", "k", {"a": 1})
    history._do("UPDATE latest SET document = ?", ('{"a": ',))
    assert history.latest("tiny", "install") is None
    history._do("UPDATE latest SET document = ?", ("[1]",))
    assert history.latest("tiny", "install") is None
    history.close()


def test_a_damaged_history_costs_only_itself(home: Home) -> None:
    home.root.mkdir()
    (home.root / "history.sqlite").write_bytes(b"not a database at all, but long enough to look like one")
    history = BuildHistory(home)
    assert history.usual("tiny", "boot") is None
    history.note("tiny", "boot", "tcg", 1.0, "r", good=True)
    assert history.usual("tiny", "boot") is not None
    assert (home.root / "history.damaged").exists()


def test_a_locked_history_costs_nothing(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    history = BuildHistory(home)
    history.note("tiny", "boot", "tcg", 1.0, "r", good=True)
    other = sqlite3.connect(history.file, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    history._do("PRAGMA busy_timeout = 10", ())
    history.note("tiny", "boot", "tcg", 2.0, "r", good=True)
    other.rollback()
    usual = history.usual("tiny", "boot")
    assert usual is not None and usual.runs == 1
    other.close()


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


def test_a_run_of_less_than_a_second_has_a_length(home: Home) -> None:
    journal = RunJournal(home, ["tiny"], {})
    time.sleep(0.05)
    journal.finish("good", {})
    journal.close()
    seconds = runs.find(home, "last").seconds
    assert seconds is not None and 0 < seconds != int(seconds)


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


def test_a_journal_that_was_broken_off_says_so(home: Home) -> None:
    journal = RunJournal(home, ["tiny"], {})
    journal.close()
    journal.close()
    assert runs.find(home, journal.run).status == "interrupted"
