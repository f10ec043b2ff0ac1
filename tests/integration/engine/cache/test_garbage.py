"""Remove from a cache what nothing uses."""

from __future__ import annotations

import os
import time
from collections.abc import Callable

from pipeline.engine.cache import garbage
from pipeline.engine.cache.verify import verify
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench


def test_what_is_in_use_by_results_stays(bench: Bench) -> None:
    bench.build()
    before = bench.objects()
    done = garbage.collect(bench.store)
    assert (done.outcomes, done.paths) == ([], [])
    assert bench.objects() == before
    bench.ran()
    bench.build()
    assert bench.ran() == []


def test_what_nothing_refers_to_goes(bench: Bench) -> None:
    bench.build()
    next(bench.store.outcomes.glob("*.json"))
    for file in bench.store.outcomes.glob("*.json"):
        if '"unit": "boot"' in file.read_text():
            file.unlink()
    done = garbage.collect(bench.store)
    assert [path.parent.name for path in done.paths] == ["documents"]
    assert done.bytes > 0


def test_a_base_stays_as_long_as_something_stands_on_it(bench: Bench) -> None:
    bench.build()
    for file in bench.store.outcomes.glob("*.json"):
        if '"unit": "install"' in file.read_text():
            file.unlink()
    garbage.collect(bench.store)
    assert verify(bench.store) == []
    assert len(list(bench.store.layers.glob("*/disk.qcow2"))) == 2


def test_the_longest_unused_goes_first_and_tops_before_bases(bench: Bench) -> None:
    bench.build(light.recipe("old", disk={"size": "2MiB"}))
    past = time.time() - 1000
    for file in bench.store.outcomes.glob("*.json"):
        os.utime(file, (past, past))
    bench.build(light.recipe("new"))
    size = garbage.usage(bench.store)
    done = garbage.collect(bench.store, size.total - 1)
    assert done.outcomes[0].startswith("old/")
    assert not any(name.startswith("new/") for name in done.outcomes)
    assert "old/install" not in done.outcomes
    assert verify(bench.store) == []
    done = garbage.collect(bench.store, 0)
    assert {name.split("/")[0] for name in done.outcomes} == {"old", "new"}
    assert bench.objects() == 0


def test_a_running_build_loses_nothing(bench: Bench, wait_until: Callable[..., None]) -> None:
    bench.steer("sleep.sign", "1.5")
    running = bench.start("one")
    wait_until(lambda: (bench.steering / "ran").exists() and "sign" in (bench.steering / "ran").read_text())
    done = garbage.collect(bench.store, 0)
    assert done.outcomes == []
    assert running.wait(30) == 0
    running.communicate()
    assert verify(bench.store) == []


def test_kept_disks_go_when_asked(bench: Bench) -> None:
    bench.steer("fail.customize", "broken")
    bench.build(keep=True)
    assert garbage.usage(bench.store).kept > 0
    garbage.collect(bench.store, 0)
    assert garbage.usage(bench.store).kept > 0
    assert verify(bench.store) == [], "what a kept disk stands on stays with it"
    garbage.collect(bench.store, also_kept=True)
    assert garbage.usage(bench.store).kept == 0
