"""Keep what earlier builds took, whatever happens to the file."""

from __future__ import annotations

import sqlite3

import pytest

from pipeline.base.home import Home
from pipeline.base.retry import RetryPolicy
from pipeline.engine.record import history as history_module
from pipeline.engine.record.history import BuildHistory


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


def test_a_file_that_another_sets_up_is_asked_again(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """SQLite refuses to switch it to WAL at once, without its timeout: what was to be remembered was lost."""
    remembering = BuildHistory(home)
    remembering.file.parent.mkdir(parents=True, exist_ok=True)
    other = sqlite3.connect(remembering.file, isolation_level=None)
    other.execute("CREATE TABLE other (number)")
    other.execute("BEGIN IMMEDIATE")

    def let_go(_: float) -> None:
        other.close()

    monkeypatch.setattr(history_module, "_OPENING", RetryPolicy(attempts=2, sleep=let_go))
    remembering.remember("tiny", "install", "key", {"step": 1})
    assert remembering.latest("tiny", "install") == {"step": 1}
