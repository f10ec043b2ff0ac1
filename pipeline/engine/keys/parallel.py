"""Look up many things outside at once, without being bound to wait for the answers."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

_AT_ONCE = 8
_BEAT = 0.1  # seconds between two looks at what waits
_LONG = 10.0  # seconds after which it is said what is waited for
_Answer = TypeVar("_Answer")


class LookupsInterrupted(Exception):
    """Nobody wants the answers any more."""


class Wait:
    """What is done while answers are waited for: nothing."""

    def __call__(self, names: Sequence[str]) -> None:
        """See, a few times a second, what there is no answer to yet. What it raises ends the wait."""


class ReportingWait(Wait):
    """Says once what has no answer for long, and raises ``LookupsInterrupted`` when ``is_over``."""

    def __init__(self, say: Callable[[str], object], is_over: Callable[[], bool] = lambda: False) -> None:
        self._say = say
        self._is_over = is_over
        self._begun = time.monotonic()
        self._is_reported = False

    def __call__(self, names: Sequence[str]) -> None:
        """As ``Wait``."""
        if self._is_over():
            raise LookupsInterrupted
        if not self._is_reported and time.monotonic() - self._begun > _LONG:
            self._is_reported = True
            self._say(f"no answer yet, going on asking: {', '.join(names)}")


def look_up(questions: Mapping[str, Callable[[], _Answer]], meanwhile: Wait) -> dict[str, _Answer]:
    """Return the answers, by the questions' names; each question is asked in a thread of its own, some at a time.

    When ``meanwhile`` raises, questions without answer are left alone; they end with the process at the latest.
    """
    turns = threading.Semaphore(_AT_ONCE)
    answers: dict[str, Future[_Answer]] = {name: Future() for name in questions}

    def find(name: str) -> None:
        with turns:
            try:
                answers[name].set_result(questions[name]())
            except BaseException as error:
                answers[name].set_exception(error)

    for name in questions:
        threading.Thread(target=find, args=[name], name=f"asking for {name}", daemon=True).start()
    while wait(answers.values(), _BEAT).not_done:
        meanwhile([name for name, answer in answers.items() if not answer.done()])
    return {name: answer.result() for name, answer in answers.items()}
