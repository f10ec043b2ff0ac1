import re
from types import SimpleNamespace
from typing import Any

import pytest

from tests import skips


def _skipped(reason: str) -> Any:
    return SimpleNamespace(nodeid="tests/unit/test_x.py::test_y", longrepr=("x.py", 1, f"Skipped: {reason}"))


@pytest.mark.parametrize("reason", ["only root may mount a small disk", "/root/x is closed to other users"])
def test_what_is_on_the_list_may_be_skipped(reason: str) -> None:
    assert list(skips.unexpected([_skipped(reason)])) == []


@pytest.mark.parametrize("reason", ["the program chromedriver is not installed", "", "because only root may mount"])
def test_what_is_not_is_named_with_its_reason(reason: str) -> None:
    assert list(skips.unexpected([_skipped(reason)])) == [f"tests/unit/test_x.py::test_y: {reason}"]


def test_the_list_says_something_to_every_test_and_nothing_to_all() -> None:
    assert skips.allowed()
    assert [each for each in skips.allowed() if re.match(each, "")] == []
