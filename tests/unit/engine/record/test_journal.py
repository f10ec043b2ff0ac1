"""Write down a run, also one that is broken off."""

from __future__ import annotations

import time

from pipeline.base.home import Home
from pipeline.engine.record import runs
from pipeline.engine.record.journal import RunJournal


def test_a_run_of_less_than_a_second_has_a_length(home: Home) -> None:
    journal = RunJournal(home, ["tiny"], {})
    time.sleep(0.05)
    journal.finish("good", {})
    journal.close()
    seconds = runs.find(home, "last").seconds
    assert seconds is not None and 0 < seconds != int(seconds)


def test_a_journal_that_was_broken_off_says_so(home: Home) -> None:
    journal = RunJournal(home, ["tiny"], {})
    journal.close()
    journal.close()
    assert runs.find(home, journal.run).status == "interrupted"
