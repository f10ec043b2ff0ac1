"""The journal of a publication."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.home import Home
from pipeline.publishing.transaction.journal import PublishJournal, journal_file


def test_events_come_back_in_order_with_their_details(tmp_path: Path) -> None:
    journal = PublishJournal(tmp_path / "j.jsonl", "run-1")
    journal.note("create", "a", serial=3)
    journal.note("verified", "a", read_from="main")
    PublishJournal(journal.path, "run-2").note("verified", "b", store="mirror")
    assert [(each.run, each.act, each.image) for each in journal.events()] == [
        ("run-1", "create", "a"),
        ("run-1", "verified", "a"),
        ("run-2", "verified", "b"),
    ]
    assert journal.last_serial() == 3
    assert journal.verified_stores("a") == {"main"}


def test_a_copy_is_unread_until_it_was_read_back_from_its_own_store(tmp_path: Path) -> None:
    journal = PublishJournal(tmp_path / "j.jsonl", "run")
    journal.note("verified", "a", read_from="two")
    journal.note("copy", "a", stores=["two", "three"])
    journal.note("verified", "b", read_from="two")
    assert journal.unread_copies("a") == {"two", "three"}
    assert journal.unread_copies("b") == set()
    journal.note("verified", "a", read_from="two")
    assert journal.unread_copies("a") == {"three"}
    journal.note("verified", "a", read_from="")
    assert journal.unread_copies("a") == set()


def test_a_line_that_a_crash_cut_is_skipped_and_the_next_one_counts(tmp_path: Path) -> None:
    journal = PublishJournal(tmp_path / "j.jsonl", "run")
    journal.note("create", "a", serial=1)
    with journal.path.open("ab") as file:
        file.write(b'{"time":"2026-11-21T00:00:00Z","run":"r","act":"cre')
    journal.note("create", "b", serial=2)
    assert [each.image for each in journal.events()] == ["a", "b"]


def test_a_long_journal_is_put_aside_and_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.publishing.transaction.journal._KEPT", 500)
    journal = PublishJournal(tmp_path / "j.jsonl", "run")
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
