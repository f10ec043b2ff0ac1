"""Differences between documents, in words."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.engine.keys.key_diff import changes


def _document(**steps: Any) -> dict[str, Any]:
    return {"engine": 1, "stage": "install", "base": {}, "steps": steps}


def _step(code: dict[str, str] | None = None, **inputs: Any) -> dict[str, Any]:
    return {"inputs": inputs, "code": code or {}}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (_document(a=_step(x=1)), _document(a=_step(x=1)), []),
        (_document(a=_step(x=1)), _document(a=_step(x=2)), ["a.x: 1 → 2"]),
        (_document(a=_step()), _document(a=_step(x="new")), ['a.x: nothing → "new"']),
        (_document(a=_step(x={"y": [1, 2]})), _document(a=_step(x={"y": [1, 3]})), ["a.x.y[1]: 2 → 3"]),
        (_document(a=_step(x=[1])), _document(a=_step(x=[1, 2])), ["a.x: [1] → [1, 2]"]),
        (
            _document(a={**_step(), "tools": {"guestfish": "1.48"}}),
            _document(a={**_step(), "tools": {"guestfish": "1.50"}}),
            ['a: tools.guestfish: "1.48" → "1.50"'],
        ),
        (
            _document(a=_step(x="p" * 80 + "1")),
            _document(a=_step(x="p" * 80 + "2" * 80)),
            ['a.x: …pppppppppp1" → …pppppppppp' + "2" * 48 + "…"],
        ),
        (_document(a=_step()), _document(b=_step()), ["a: no longer part of it", "b: new"]),
        (_document(a=_step({"f": "1"})), _document(a=_step({"f": "2"})), ["a: its code f has changed"]),
        (
            _document(a=_step({"f": "1"})),
            _document(a=_step({"g": "1"})),
            ["a: its code f is gone", "a: its code g is new"],
        ),
        (
            {**_document(), "base": {"disk": "1"}},
            {**_document(), "base": {"disk": "2"}},
            ["what it stands on has changed"],
        ),
        ({**_document(), "engine": 0}, _document(), ["the engine has a new format"]),
    ],
)
def test_changes(before: dict[str, Any], after: dict[str, Any], expected: list[str]) -> None:
    assert changes(before, after) == expected


def test_many_changes_of_code_are_counted() -> None:
    names = [f"pipeline.module.name{number:02}" for number in range(20)]
    lines = changes(_document(a=_step(dict.fromkeys(names, "1"))), _document(a=_step(dict.fromkeys(names, "2"))))
    assert lines[:2] == [f"a: its code {name} has changed" for name in names[:2]]
    assert (len(lines), lines[-1]) == (13, "a: its code has changed in 8 more places")


def test_results_of_before_say_once_why_they_do_not_hold() -> None:
    before = _document(a={"inputs": {}, "sources": {"pipeline/steps/x.py": "1"}})
    (line,) = changes(before, _document(a=_step({"pipeline.steps.x.run": "1"})))
    assert line == "a: its key holds its code by definitions now, no longer by files"


def test_long_values_are_shortened() -> None:
    (line,) = changes(_document(a=_step(x="y" * 500)), _document(a=_step(x="z")))
    assert len(line) < 100
