"""Differences between documents, in words."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.engine.changes import changes


def _document(**steps: Any) -> dict[str, Any]:
    return {"engine": 1, "stage": "install", "base": {}, "steps": steps}


def _step(sources: dict[str, str] | None = None, **inputs: Any) -> dict[str, Any]:
    return {"inputs": inputs, "sources": sources or {}}


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
        (_document(a=_step({"f": "1"})), _document(a=_step({"f": "2"})), ["a: its source f has changed"]),
        (
            _document(a=_step({"f": "1"})),
            _document(a=_step({"g": "1"})),
            ["a: its source f is gone", "a: its source g is new"],
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


def test_long_values_are_shortened() -> None:
    (line,) = changes(_document(a=_step(x="y" * 500)), _document(a=_step(x="z")))
    assert len(line) < 100
