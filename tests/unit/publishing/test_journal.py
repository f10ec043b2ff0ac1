"""The journal and the lock."""

from __future__ import annotations

import multiprocessing
import multiprocessing.synchronize
from pathlib import Path

import pytest

from pipeline.base.home import Home
from pipeline.publishing import lock
from pipeline.publishing.cloud_errors import Contended
from pipeline.publishing.journal import Journal, journal_file, lock_file


def test_events_come_back_in_order_with_their_details(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl", "run-1")
    journal.note("create", "a", serial=3)
    journal.note("verified", "a", store="main")
    Journal(journal.path, "run-2").note("verified", "b", store="mirror")
    assert [(each.run, each.act, each.image) for each in journal.events()] == [
        ("run-1", "create", "a"),
        ("run-1", "verified", "a"),
        ("run-2", "verified", "b"),
    ]
    assert journal.last_serial() == 3
    assert journal.verified_stores("a") == {"main"}


def test_a_line_that_a_crash_cut_is_skipped_and_the_next_one_counts(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "j.jsonl", "run")
    journal.note("create", "a", serial=1)
    with journal.path.open("ab") as file:
        file.write(b'{"time":"2026-11-21T00:00:00Z","run":"r","act":"cre')
    journal.note("create", "b", serial=2)
    assert [each.image for each in journal.events()] == ["a", "b"]


def test_a_long_journal_is_put_aside_and_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.publishing.journal._KEPT", 500)
    journal = Journal(tmp_path / "j.jsonl", "run")
    for serial in range(1, 8):
        journal.note("create", f"image-{serial}", serial=serial)
    assert journal.path.stat().st_size < 1000
    assert journal.last_serial() == 7
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("cloud", ["..", "a/b", "", "Ünï", "a b"])
def test_a_clouds_name_cannot_lead_out_of_the_folder(home: Home, cloud: str) -> None:
    path = journal_file(home, cloud, "tiny")
    assert path.resolve().is_relative_to((home.root / "publishing" / "journal").resolve())
    assert len(path.relative_to(home.root).parts) == 4


def _hold(path: Path, ready: multiprocessing.synchronize.Event, end: multiprocessing.synchronize.Event) -> None:
    with lock.held(path, "test"):
        ready.set()
        end.wait(20)


def test_a_lock_is_refused_while_held_and_free_when_its_holder_is_killed(home: Home) -> None:
    path = lock_file(home, "bundled", "tiny")
    context = multiprocessing.get_context("fork")
    ready, end = context.Event(), context.Event()
    child = context.Process(target=_hold, args=(path, ready, end))
    child.start()
    try:
        assert ready.wait(20)
        with (
            pytest.raises(Contended, match=f"publishing tiny \\(process {child.pid}\\)"),
            lock.held(path, "publishing tiny"),
        ):
            pass
    finally:
        child.kill()
        child.join()
    with lock.held(path, "test"):
        pass
