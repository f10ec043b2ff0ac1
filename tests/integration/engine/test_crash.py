"""Killed at random moments, interrupted, two at once: the next run finishes, and nothing is left over."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.owner import Owner
from pipeline.engine.build import build
from pipeline.engine.cache.verify import verify
from pipeline.engine.record import events
from pipeline.engine.run import orphans
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.units.resources import Needs
from tests import leftovers
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench

pytestmark = pytest.mark.slow
KILLS = 50


def _build_in_a_child(bench: Bench, number: int) -> int:
    """A build of two recipes in a forked process; its id."""
    child = os.fork()
    if child == 0:
        try:
            bench.build(*_recipes(number))
        finally:
            os._exit(0)
    return child


def _recipes(number: int) -> tuple[object, object]:
    # Every round has other inputs, so that there is always something to do.
    size = {"size": f"{1024 + number}KiB"}
    return light.recipe("one", disk=size), light.recipe("two", disk=size, customize={"hostname": "other"})


def test_fifty_kills_at_random_moments(bench: Bench) -> None:
    chance = random.Random(1)
    begun = time.monotonic()
    bench.build(*_recipes(0))
    usual = time.monotonic() - begun
    resumed = 0
    for number in range(1, KILLS + 1):
        bench.ran()
        child = _build_in_a_child(bench, number)
        time.sleep(chance.uniform(0, usual))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        before = bench.ran()
        results = bench.build(*_recipes(number))
        assert [result.error for result in results] == [None, None]
        after = bench.ran()
        # Whatever was whole is not made again: at most the two units under way are.
        assert len(before) + len(after) <= 9 + 4, (before, after)
        resumed += len(after) < 9
        assert bench.leftovers() == []
    assert resumed > KILLS // 5, "the kills were never in the middle of a build"
    assert verify(bench.store) == []


def test_workers_and_their_programs_die_with_the_engine_or_are_reaped(
    bench: Bench, wait_until: Callable[..., None]
) -> None:
    bench.steer("spawn.one.boot", "63.21")
    bench.steer("sleep.one.boot", "60")
    child = _build_in_a_child(bench, 1)
    wait_until(lambda: "one/boot" in _ran(bench))
    wait_until(lambda: any("63.21" in stray.command for stray in orphans.marked(lambda mark: f"{child}-" in mark)))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    # The worker dies at once; what it started only when somebody looks.
    wait_until(lambda: ["63.21" in command for command in leftovers.processes(bench.home)] == [True])
    bench.unsteer("spawn.one.boot")
    bench.unsteer("sleep.one.boot")
    bench.events.clear()
    assert all(result.is_good for result in bench.build(*_recipes(1)))
    assert any("63.21" in str(event) for event in bench.events)
    assert leftovers.processes(bench.home) == []


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, -signal.SIGINT), (signal.SIGTERM, 128 + 15)])
def test_one_signal_ends_in_order_and_keeps_what_is_whole(
    bench: Bench, wait_until: Callable[..., None], number: int, status: int
) -> None:
    bench.steer("sleep.boot", "60")
    running = bench.start("one")
    wait_until(lambda: "one/boot" in _ran(bench))
    running.send_signal(number)
    said = running.communicate(timeout=30)[0].decode()
    assert running.returncode == status, said
    assert "stopped before it was done" in said
    assert bench.leftovers() == []
    bench.unsteer("sleep.boot")
    bench.ran()
    again = bench.start("one")
    assert again.wait(30) == 0
    assert [each.split("/")[1] for each in bench.ran()] == ["boot", "sign"]
    again.communicate()


def test_a_signal_ends_what_libraries_keep_from_it(bench: Bench, wait_until: Callable[..., None]) -> None:
    bench.steer("swallow.one.boot", "61")
    bench.steer("library.three.boot", "61 61")  # it tries again what has failed
    running = bench.start("one", "three")
    wait_until(lambda: {"one/boot", "three/boot"} <= set(_ran(bench).split()))
    time.sleep(0.5)
    running.send_signal(signal.SIGINT)
    said = running.communicate(timeout=120)[0].decode()
    assert bench.slept() == [], said
    assert running.returncode == -signal.SIGINT, said
    assert "once more (Ctrl-C) ends it at once" in said
    assert "one: boot: failed after" in said and "three: boot: failed after" in said
    assert said.count("stopped before it was done") == 2
    assert said.count("the next run goes on from here") == 2
    assert bench.leftovers() == []


def test_two_signals_end_at_once(bench: Bench, wait_until: Callable[..., None]) -> None:
    bench.steer("stubborn.boot")
    bench.steer("sleep.boot", "600")
    bench.steer("grace", "600")  # so long one signal alone would leave it
    running = bench.start("one")
    wait_until(lambda: "one/boot" in _ran(bench))
    running.send_signal(signal.SIGINT)
    time.sleep(0.3)
    running.send_signal(signal.SIGINT)
    running.communicate(timeout=120)
    assert bench.slept() == []
    assert bench.leftovers() == []


def test_two_runs_at_once_share_the_work(bench: Bench) -> None:
    bench.steer("sleep.install", "0.5")
    runs = [bench.start("one", "two"), bench.start("two", "one")]
    said = [run.communicate(timeout=60)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    ran = bench.ran()
    assert sorted(ran) == sorted(set(ran)), "nothing was made twice"
    assert any(": waits for process " in each for each in said)


def test_two_checkouts_share_a_cache(bench: Bench, tmp_path: Path) -> None:
    cache = tmp_path / "shared"
    other = Bench(bench.steering, Home(tmp_path / "other-home", cache))
    runs = [bench.start("one", cache=cache), other.start("one", cache=cache)]
    said = [run.communicate(timeout=60)[0].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert len(bench.ran()) == 5
    for home in (bench.home, other.home):
        assert (home.artifacts / "one" / "one.raw").is_file()
    assert other.leftovers() == []


def test_a_run_that_was_killed_is_marked_so(bench: Bench, wait_until: Callable[..., None]) -> None:
    bench.steer("sleep.install", "60")
    child = _build_in_a_child(bench, 1)
    wait_until(lambda: any(bench.home.runs.glob("*/*/install.log")))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    bench.unsteer("sleep.install")
    bench.build()
    heads = [file.read_text() for file in bench.home.runs.glob("*/run.json")]
    assert sorted('"killed"' in head for head in heads) == [False, True]


def test_a_full_disk_is_an_explanation_and_loses_nothing(bench: Bench, small_disk: Callable[[int], Path]) -> None:
    full = Bench(bench.steering, Home(bench.home.root, small_disk(300 << 20) / "cache"))
    bench.steer("fill.convert", str(400 << 20))
    (result,) = full.build()
    assert result.error is not None
    assert "light: convert failed" in result.error.message
    assert "No space left on device" in result.error.message
    assert full.leftovers() == []
    bench.unsteer("fill.convert")
    bench.ran()
    (result,) = full.build()
    assert result.is_good
    assert bench.ran() == ["light/convert", "light/boot", "light/sign"]
    assert verify(full.store) == []


def test_what_a_program_says_of_a_full_disk_does_not_hide_it(bench: Bench, small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(300 << 20)
    full = Bench(bench.steering, Home(bench.home.root, disk / "cache"))
    bench.steer("brim.customize", "file receive cancelled by daemon")
    (result,) = full.build()
    assert result.error is not None
    assert result.error.message == f"light: customize failed: no space left on {disk}: file receive cancelled by daemon"
    assert "./inv cache.gc" in str(result.error.hint)
    assert result.error.details[0] == "one detail"
    bench.unsteer("brim.customize")
    bench.steer("fail.customize", "file receive cancelled by daemon")
    (result,) = full.build()
    assert result.error is not None and "no space" not in result.error.message


def test_too_little_disk_is_told_before_the_start(bench: Bench, small_disk: Callable[[int], Path]) -> None:
    full = Bench(bench.steering, Home(bench.home.root, small_disk(100 << 20) / "cache"))
    (result,) = full.build()
    assert result.error is not None
    assert "light/install needs 256.0 MiB of disk" in result.error.message
    assert bench.ran() == []


def _ran(bench: Bench) -> str:
    file = bench.steering / "ran"
    return file.read_text() if file.exists() else ""


def test_a_disk_that_is_full_for_logs_too_is_an_explanation(bench: Bench, small_disk: Callable[[int], Path]) -> None:
    root = small_disk(300 << 20) / "home"
    full = Bench(bench.steering, Home(root, root / "cache"))
    # Nothing is left for the journal, the history and the lock files either.
    bench.steer("fill.convert", str(400 << 20))
    (result,) = full.build()
    assert result.error is not None
    assert "No space left on device" in str(result.error)
    assert full.leftovers() == []
    bench.unsteer("fill.convert")
    (result,) = full.build()
    assert result.is_good
    assert verify(full.store) == []


def test_too_little_memory_is_told_before_the_start(bench: Bench) -> None:
    steps = light.steps(bench.steering)
    steps[3] = replace(steps[3], needs=lambda recipe: Needs(memory=1 << 50))
    (result,) = bench.build(steps=steps)
    assert result.error is not None
    assert "light/boot needs 1024.0 TiB of memory" in result.error.message
    assert "light/boot" not in bench.ran()
    assert bench.leftovers() == []


def test_a_step_that_gets_no_memory_says_so(bench: Bench) -> None:
    bench.steer("hog.boot", str(64 << 20))
    (result,) = bench.build()
    assert result.error is not None
    assert "light: boot failed: this machine had no memory left for it" in result.error.message
    assert bench.leftovers() == []


class Saboteur:
    """A monitor that does harm to the run's own folder as soon as a step says something."""

    def __init__(self, step: str, harm: Callable[[], None]) -> None:
        self._step = step
        self._harm = harm

    def event(self, event: events.Event) -> None:
        if isinstance(event, events.StepSaid) and f"{event.recipe}/{event.step}" == self._step:
            self._harm()

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_a_run_whose_folder_vanishes_ends_its_workers_and_guests(bench: Bench) -> None:
    bench.steer("spawn.two.install", "63.23")
    bench.steer("sleep.two.install", "60")
    bench.steer("sleep.one.install", "0.3")
    vanishes = Saboteur("one/install", lambda: shutil.rmtree(bench.home.runs))
    settings = BuildOptions(home=bench.home, monitors=(vanishes,), accelerator="tcg")
    with pytest.raises(PipelineError, match=r"^the run cannot go on: .*No such file or directory\n") as caught:
        build([light.recipe("one"), light.recipe("two")], settings, steps=light.steps(bench.steering))
    assert "two/install" not in bench.slept(), "it waited for the worker instead of ending it"
    assert "is kept for the next run" in str(caught.value.hint)
    ours = Owner.current().mark
    assert [stray.command for stray in orphans.marked(lambda mark: mark.startswith(ours))] == []
    assert list((bench.home.cache / "work").iterdir()) == []
    for name in ("spawn.two.install", "sleep.two.install", "sleep.one.install"):
        bench.unsteer(name)
    # Keys are free again, too.
    assert [result.error for result in bench.build(light.recipe("one"), light.recipe("two"))] == [None, None]


def test_a_bug_in_a_monitor_ends_workers_and_guests_too(bench: Bench) -> None:
    def fails() -> None:
        raise ZeroDivisionError

    bench.steer("spawn.two.install", "63.24")
    bench.steer("sleep.two.install", "60")
    bench.steer("sleep.one.install", "0.3")
    settings = BuildOptions(home=bench.home, monitors=(Saboteur("one/install", fails),), accelerator="tcg")
    with pytest.raises(ZeroDivisionError):
        build([light.recipe("one"), light.recipe("two")], settings, steps=light.steps(bench.steering))
    ours = Owner.current().mark
    assert [stray.command for stray in orphans.marked(lambda mark: mark.startswith(ours))] == []
    assert list((bench.home.cache / "work").iterdir()) == []
