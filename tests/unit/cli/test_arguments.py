"""Words behind a task's name become the options they stand for."""

from __future__ import annotations

import pytest

import tasks  # noqa: F401  (makes the tasks)
from pipeline.cli.arguments import spelled_out
from pipeline.cli.task import chapters


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("build tiny", "build --recipes tiny"),
        ("build tiny debian --keep", "build --recipes tiny --recipes debian --keep"),
        ("build --set a=b tiny --jobs 2", "build --set a=b --recipes tiny --jobs 2"),
        ("build --set=a=b tiny", "build --set=a=b --recipes tiny"),
        ("plan", "plan"),
        ("plan --json", "plan --json"),
        ("plan --graph out.svg tiny", "plan --graph out.svg --recipes tiny"),
        ("show", "show"),
        ("show last", "show --run last"),
        ("logs last boot --follow", "logs --run last --step boot --follow"),
        ("logs last boot -f", "logs --run last --step boot --follow"),
        ("plan tiny -f", "plan --recipes tiny -f"),
        ("logs --run last boot", "logs --run last --step boot"),
        ("cache.export out.tar tiny debian", "cache.export out.tar --recipes tiny --recipes debian"),
        ("keys.new name", "keys.new name"),
        ("publish --import glance-direct tiny", "publish --import glance-direct --recipes tiny"),
        ("publish rhel7 --source media.iso", "publish --recipes rhel7 --source media.iso"),
        ("reap build tiny", "reap build --recipes tiny"),
        ("--list", "--list"),
        ("no-such-task tiny", "no-such-task tiny"),
    ],
)
def test_words(typed: str, meant: str) -> None:
    assert spelled_out(["./inv", *typed.split()]) == ["./inv", *meant.split()]


def test_help_texts_survive() -> None:
    made = {name: each for _, name, each in chapters()}
    before = dict(made["build"].help)
    assert before
    spelled_out(["./inv", "build", "tiny"])
    assert made["build"].help == before
