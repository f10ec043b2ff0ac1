"""A nightly run that is killed, or interrupted, at any moment; and the next one, which finishes."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.publishing.cloud.ownership_marker import ImageState
from pipeline.publishing.transaction.journal import PublishJournal, journal_file
from tests.integration.publishing.conftest import STORES, Desk

pytestmark = pytest.mark.server


def command(desk: Desk, content: str) -> list[str]:
    module = "tests.integration.publishing.nightly_program"
    return [sys.executable, "-m", module, str(desk.home.root), desk.recipe.name, content, ",".join(STORES)]


def environment(desk: Desk) -> dict[str, str]:
    return {"OS_CLIENT_CONFIG_FILE": os.environ["OS_CLIENT_CONFIG_FILE"], "PIPELINE_HOME": str(desk.home.root)}


def run(desk: Desk, content: str) -> str:
    return process.run(command(desk, content), env=environment(desk), cwd=CHECKOUT, timeout=120).stdout.split()[-1]


def until_acted(desk: Desk, acts: Sequence[str], seconds: float = 30) -> bool:
    """Wait until the journal tells of one of ``acts``."""
    journal = PublishJournal(journal_file(desk.home, "here", desk.recipe.name), "test")
    before = len(list(journal.events()))
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if any(event.act in acts for event in list(journal.events())[before:]):
            return True
        time.sleep(0.005)
    return False


@contextlib.contextmanager
def broken_off(desk: Desk, content: str, act: str, number: signal.Signals) -> Iterator[int]:
    """Start a nightly run and send it a signal when its journal tells of ``act``; its exit status."""
    with process.started(command(desk, content), env=environment(desk), cwd=CHECKOUT) as child:
        assert until_acted(desk, [act])
        child.send_signal(number)
        yield child.wait(60)


@pytest.mark.parametrize("act", ["upload", "copy", "switch", "retire"])
def test_a_run_that_is_killed_is_finished_by_the_next_one(desk: Desk, act: str) -> None:
    assert run(desk, "before") == "published"
    with broken_off(desk, "after", act, signal.SIGKILL) as status:
        assert status == -signal.SIGKILL
    assert desk.newest().is_active
    assert run(desk, "after") in ("published", "unchanged")
    images = desk.images()
    assert [each.state for each in images] == [ImageState.SUPERSEDED, ImageState.NEWEST]
    assert all(each.is_active for each in images)
    assert images[-1].id == desk.newest().id
    assert len(list(desk.api().visible(name=desk.recipe.name))) == 1
    assert replace(desk.sender.scope(desk.api(), desk.recipe.name), runner="another").is_free()
    left = [path for path in desk.home.root.rglob(".partial.*") if "cache" not in path.parts]
    assert left == []


def test_an_interrupted_run_clears_up_behind_itself(desk: Desk) -> None:
    assert run(desk, "before") == "published"
    with broken_off(desk, "after", "upload", signal.SIGINT) as status:
        assert status != 0
    assert [each.state for each in desk.images()] == [ImageState.NEWEST]
    assert replace(desk.sender.scope(desk.api(), desk.recipe.name), runner="another").is_free()
