"""A place to steer the small steps from, builds within this process and in others, and a look for leftovers."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.build import build
from pipeline.engine.cache.store import CacheStore
from pipeline.engine.record.events import Event
from pipeline.engine.record.result import BuildResult
from pipeline.engine.run.options import BuildOptions
from pipeline.engine.run.reap import TEMPORARY
from pipeline.engine.units.step_entry import StepEntry
from tests import leftovers
from tests.integration.engine import light


class Bench:
    """Everything a test of the engine needs."""

    def __init__(self, steering: Path, home: Home) -> None:
        self.steering = steering
        self.home = home
        self.events: list[Event] = []

    def event(self, event: Event) -> None:
        self.events.append(event)

    def tick(self) -> None:
        pass

    def close(self) -> None:
        pass

    def steer(self, name: str, text: str = "") -> None:
        (self.steering / name).write_text(text)

    def unsteer(self, name: str) -> None:
        (self.steering / name).unlink()

    def build(
        self, *recipes: Any, deadline: float = 60, steps: Sequence[StepEntry] = (), **options: Any
    ) -> list[BuildResult]:
        wanted = recipes or (light.recipe(),)
        settings = BuildOptions(home=self.home, monitors=(self,), accelerator="tcg", **options)
        return build(wanted, settings, steps=steps or light.steps(self.steering, deadline))

    def ran(self) -> list[str]:
        return light.ran(self.steering)

    def slept(self) -> list[str]:
        """The steps, each after its recipe, that slept as long as they were told to: nobody ended them before."""
        file = self.steering / "slept"
        return file.read_text().split() if file.exists() else []

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def store(self) -> CacheStore:
        return CacheStore.open(self.home.cache)

    def objects(self) -> int:
        """How many layers, products and documents are in the cache."""
        store = self.store
        return sum(len(list(folder.iterdir())) for folder in (store.layers, store.products, store.documents))

    def start(self, *recipes: str, cache: Path | None = None) -> subprocess.Popen[bytes]:
        """A build in another process."""
        environment = {**os.environ, "PIPELINE_HOME": str(self.home.root), "PYTHONPATH": str(CHECKOUT)}
        if cache:
            environment["PIPELINE_CACHE"] = str(cache)
        command = [sys.executable, "-m", "tests.integration.engine.run_light", str(self.steering), *recipes]
        return subprocess.Popen(
            command, cwd=CHECKOUT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def leftovers(self) -> list[str]:
        """What no run may leave once the next one has been there."""
        folders = (self.home.cache / "work", self.home.cache / "leases")
        files = [str(path) for folder in folders for path in folder.iterdir()]
        mine = Path(tempfile.gettempdir()).glob(f"{TEMPORARY}*")
        return [*files, *leftovers.of(self.home), *(str(path) for path in mine if str(os.getpid()) in path.name)]


@pytest.fixture
def bench(tmp_path: Path, home: Home) -> Iterator[Bench]:
    steering = tmp_path / "steering"
    steering.mkdir()
    bench = Bench(steering, home)
    yield bench
    if home.cache.exists():
        assert bench.leftovers() == []


@pytest.fixture
def wait_until() -> Callable[..., None]:
    import time

    def wait(true: Callable[[], bool], seconds: float = 20) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it never became true"
            time.sleep(0.01)

    return wait
