"""Builds with small real steps: what runs, what is taken from the cache, what is left, what a failure tells."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.cli.handlers import history
from pipeline.engine.keys.lock_file import LockFile
from pipeline.engine.plan.plan import plan
from pipeline.engine.record import events
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.result import StepStatus
from pipeline.engine.units.step_entry import StepEntry
from pipeline.recipes.model.recipe import Recipe
from pipeline.steps.step import Context, Stage
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench

ALL = ["install", "customize", "convert", "boot", "sign"]


def names(ran: list[str]) -> list[str]:
    return [each.split("/")[1] for each in ran]


def test_a_build_makes_products_and_says_what_they_are(bench: Bench) -> None:
    (result,) = bench.build()
    assert names(bench.ran()) == ALL
    assert result.is_good and result.changed
    assert [product.format for product in result.products] == ["qcow2", "raw"]
    for product in result.products:
        assert product.path.stat().st_mode & 0o777 == 0o444
        assert product.size == product.path.stat().st_size
        assert product.digests["sha256"] == product.path.parent.name
        assert set(product.digests) == {"md5", "sha256", "sha512"}
        assert product.signature == {"img_signature": product.format}
    assert result.properties["hw_rng_model"] == "virtio", "found by looking"
    assert result.properties["hw_disk_bus"] == "virtio", "the recipe's word stands"
    assert [step.status for step in result.steps] == [StepStatus.RAN] * 5
    assert all(step.log and step.log.read_text() == f"{step.name} works on light\n" for step in result.steps)


def test_the_same_again_runs_nothing(bench: Bench) -> None:
    (first,) = bench.build()
    bench.ran()
    bench.events.clear()
    (second,) = bench.build()
    assert bench.ran() == [] and bench.of(events.StepStarted) == []
    assert second.is_good and not second.changed
    assert second.products == first.products
    assert second.facts == first.facts
    assert [step.status for step in second.steps] == [StepStatus.CACHED] * 5


def test_ten_unchanged_recipes_run_nothing(bench: Bench) -> None:
    recipes = [light.recipe(f"r{number}", customize={"hostname": "x" * number}) for number in range(1, 11)]
    bench.build(*recipes)
    bench.ran()
    bench.events.clear()
    results = bench.build(*recipes)
    assert bench.of(events.StepStarted) == []
    assert not any(result.changed for result in results)
    assert bench.ran() == []


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ("install", ALL),
        ("customize", ["customize", "convert", "boot", "sign"]),
        ("convert", ["convert"]),
        ("boot", ["boot", "sign"]),
        ("sign", ["sign"]),
    ],
)
def test_a_changed_input_runs_what_depends_on_it(bench: Bench, change: str, expected: list[str]) -> None:
    bench.build()
    bench.ran()
    bench.steer(f"input.{change}", "new")
    bench.build(
        light.recipe(customize={"hostname": "longer"}) if change in ("install", "customize") else light.recipe()
    )
    # The installed disk is the same again, so that without another host name nothing above it would run.
    assert names(bench.ran()) == expected


def test_the_same_bytes_from_changed_inputs_stop_the_change(bench: Bench) -> None:
    bench.build()
    bench.ran()
    bench.steer("input.install", "a comment")
    (result,) = bench.build()
    assert names(bench.ran()) == ["install"]
    assert result.is_good and result.changed


def test_recipes_share_what_is_the_same(bench: Bench) -> None:
    one, two = bench.build(light.recipe("one"), light.recipe("two", customize={"hostname": "other"}))
    assert one.is_good and two.is_good
    assert sorted(names(bench.ran())) == sorted([*ALL, *ALL[1:]])


def test_a_failed_step_tells_everything_and_leaves_the_rest(bench: Bench) -> None:
    bench.steer("fail.bad.boot", "no carrier")
    good, bad = bench.build(light.recipe("good"), light.recipe("bad", customize={"hostname": "other"}))
    assert good.is_good
    assert not bad.is_good and bad.products == ()
    assert bad.error is not None
    assert bad.error.message == "bad: boot failed: no carrier"
    assert bad.error.hint == "mend it"
    assert "one detail" in bad.error.details
    assert bad.evidence is not None
    assert (bad.evidence / "serial.log").read_text() == "the guest's last words\n"
    assert {step.name: step.status for step in bad.steps} == {
        "install": StepStatus.CACHED if good.steps[0].status is StepStatus.RAN else StepStatus.RAN,
        "customize": StepStatus.RAN,
        "convert": StepStatus.RAN,
        "boot": StepStatus.FAILED,
        "sign": StepStatus.NOT_RUN,
    }
    (failed,) = bench.of(events.StepFailed)
    assert (failed.recipe, failed.step, failed.message, failed.hint) == ("bad", "boot", "no carrier", "mend it")
    assert Path(failed.log).read_text().startswith("boot works on bad\n")
    assert Path(failed.evidence) == bad.evidence


def test_a_mended_step_goes_on_where_it_broke(bench: Bench) -> None:
    bench.steer("fail.convert", "full")
    assert not bench.build()[0].is_good
    assert names(bench.ran()) == ["install", "customize", "convert"]
    bench.unsteer("fail.convert")
    assert bench.build()[0].is_good
    assert names(bench.ran()) == ["convert", "boot", "sign"]


def test_evidence_of_good_steps_is_not_kept(bench: Bench) -> None:
    (result,) = bench.build()
    assert not (bench.home.runs / result.run / "light" / "evidence").exists()


def test_a_crash_of_a_step_is_its_own(bench: Bench) -> None:
    bench.steer("crash.bad.customize", "11")
    good, bad = bench.build(light.recipe("good"), light.recipe("bad", customize={"hostname": "other"}))
    assert good.is_good
    assert bad.error is not None and "its process was ended by SIGSEGV" in bad.error.message


def test_a_bug_in_a_step_is_told_as_one(bench: Bench) -> None:
    bench.steer("bug.convert", "division")
    (result,) = bench.build()
    assert result.error is not None
    assert "this is a bug in the step" in result.error.message
    assert any("ZeroDivisionError: division (at " in line for line in result.error.details)
    log = bench.home.runs / result.run / "light" / "convert.log"
    assert "Traceback" in log.read_text()


def _build_up_to_boot(bench: Bench, *recipes: Recipe) -> None:
    """So that a short deadline concerns nothing else."""
    assert all(result.is_good for result in bench.build(*recipes))
    bench.steer("input.boot", "again")


def test_a_step_that_takes_too_long_is_ended(bench: Bench) -> None:
    _build_up_to_boot(bench)
    bench.steer("sleep.boot", "60")
    (result,) = bench.build(deadline=0.5)
    assert bench.slept() == []
    assert result.error is not None and "boot did not end within 0 s" in result.error.message


def test_a_deadline_holds_for_libraries_that_keep_it_from_themselves(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engine.run.worker_handle.PATIENCE", 0.5)
    recipes = light.recipe("one"), light.recipe("two", customize={"hostname": "x"})
    _build_up_to_boot(bench, *recipes)
    bench.steer("swallow.one.boot", "60")
    bench.steer("library.two.boot", "60")
    for result in bench.build(*recipes, deadline=1):
        assert result.error is not None and "boot did not end within 1 s" in result.error.message
    assert bench.slept() == []


def test_a_step_that_ignores_its_deadline_is_killed_and_it_is_said_why(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.engine.run.worker_handle.GRACE", 0.5)
    _build_up_to_boot(bench)
    # No program of its own that could be ended, and no signal comes through.
    bench.steer("deaf.boot", "60")
    (result,) = bench.build(deadline=0.5)
    assert result.error is not None
    assert "it did not end when its time was over, and was killed" in result.error.message
    assert "out of memory" not in str(result.error)


def test_what_a_crashed_step_started_is_ended(bench: Bench) -> None:
    bench.steer("spawn.install", "61.37")
    bench.steer("crash.install", "9")
    assert not bench.build()[0].is_good
    assert "61.37" not in subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout


def test_a_missing_input_blocks_its_recipe_with_a_reason(bench: Bench) -> None:
    bench.steer("blocked.convert")
    (result,) = bench.build()
    assert result.error is not None
    assert (result.error.message, result.error.hint) == ("light: convert failed: the medium is missing", "get it")
    assert names(bench.ran()) == ["install", "customize"]


def test_unwanted_steps_are_left_out(bench: Bench) -> None:
    bench.steer("unwanted.customize")
    bench.steer("unwanted.boot")
    (result,) = bench.build()
    assert result.is_good
    assert names(bench.ran()) == ["install", "convert", "sign"]


def test_a_recipe_no_step_can_make_fails_alone(bench: Bench) -> None:
    bench.steer("unwanted.install")
    (result,) = bench.build()
    assert result.error is not None and "no step does its install stage" in result.error.message


def test_overlays_stand_on_relative_names(bench: Bench, tmp_path: Path) -> None:
    (result,) = bench.build()
    moved = tmp_path / "elsewhere"
    bench.home.cache.rename(moved)
    overlays = [
        disk
        for disk in moved.glob("layers/*/disk.qcow2")
        if json.loads((disk.parent / "layer.json").read_text())["base"]
    ]
    assert overlays
    for disk in overlays:
        subprocess.run(["qemu-img", "check", "-q", disk], check=True)
        info = json.loads(subprocess.check_output(["qemu-img", "info", "--output=json", "--backing-chain", disk]))
        assert info[0]["backing-filename"].startswith("../")
        assert len(info) == 2
    moved.rename(bench.home.cache)
    assert result.is_good


def test_install_layers_are_closed_to_others(bench: Bench) -> None:
    bench.build()
    assert bench.store.layers.stat().st_mode & 0o777 == 0o700
    for disk in bench.store.layers.glob("*/disk.qcow2"):
        assert disk.stat().st_mode & 0o777 == 0o400


def test_documents_of_records_are_kept(bench: Bench) -> None:
    bench.build()
    assert [file.read_text() for file in bench.store.documents.iterdir()] == ["booted\n"]


def test_a_vanished_layer_is_made_again(bench: Bench) -> None:
    bench.build()
    bench.ran()
    for disk in bench.store.layers.glob("*/disk.qcow2"):
        disk.unlink()
    (result,) = bench.build()
    assert result.is_good
    assert names(bench.ran()) == ["install", "customize"], "the products are the same, so all above is"


def test_a_damaged_outcome_is_made_again(bench: Bench) -> None:
    bench.build()
    bench.ran()
    for file in bench.store.outcomes.glob("*.json"):
        file.write_text("{")
    (result,) = bench.build()
    assert result.is_good
    assert names(bench.ran()) == ALL


def test_products_that_changed_on_disk_are_not_signed(bench: Bench) -> None:
    bench.build()
    for product in bench.store.products.glob("*/*"):
        product.chmod(0o644)
        product.write_bytes(b"x" + product.read_bytes()[1:])
    bench.steer("input.sign", "again")
    (result,) = bench.build()
    assert result.error is not None
    assert "no longer has the bytes it was frozen with" in result.error.message


def test_artifacts_offer_the_newest_products(bench: Bench) -> None:
    (result,) = bench.build()
    folder = bench.home.artifacts / "light"
    assert sorted(file.name for file in folder.iterdir()) == [
        "light.qcow2",
        "light.raw",
        "light.serial.log",
        "manifest.json",
    ]
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["products"]["light.raw"]["digests"] == dict(result.product("raw").digests)
    assert (folder / "light.raw").samefile(result.product("raw").path)
    bench.build(light.recipe(products=[{"format": "raw"}]))
    assert sorted(file.name for file in folder.iterdir()) == ["light.raw", "light.serial.log", "manifest.json"]
    with pytest.raises(PipelineError, match=r"makes no vmdk \(it makes qcow2, raw\)"):
        result.product("vmdk")


def test_keep_sets_the_failed_disk_aside(bench: Bench) -> None:
    bench.steer("fail.customize", "broken")
    (result,) = bench.build(keep=True)
    assert result.error is not None
    line = next(line for line in result.error.details if line.startswith("the disk as it was is kept: "))
    kept = Path(line.removeprefix("the disk as it was is kept: "))
    subprocess.run(["qemu-img", "check", "-q", kept], check=True)
    (look,) = (line for line in result.error.details if "guestfish --ro" in line)
    assert "force_tcg" in look, "or it would try what does not work here"
    boot = next(line for line in result.error.details if line.startswith("boot a copy: "))
    words = shlex.split(boot.removeprefix("boot a copy: "))
    # It starts, and ends at once since it is told so.
    quit_at_once = subprocess.run([*words, "-monitor", "stdio", "-serial", "none"], input=b"quit\n", timeout=60)
    assert quit_at_once.returncode == 0


def test_the_journal_has_everything(bench: Bench) -> None:
    (result,) = bench.build()
    folder = bench.home.runs / result.run
    assert folder.stat().st_mode & 0o777 == 0o700
    head = json.loads((folder / "run.json").read_text())
    assert head["status"] == "good"
    assert head["results"]["light"]["steps"]["boot"]["status"] == "ran"
    lines = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    assert [line["event"] for line in lines][:1] == ["RunStarted"]
    assert lines[-1]["event"] == "RunFinished" and lines[-1]["good"]
    assert [line["step"] for line in lines if line["event"] == "StepFinished"] == ALL


def test_a_run_is_shown_with_whole_paths(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.build()
    monkeypatch.setenv("PIPELINE_HOME", str(bench.home.root))
    monkeypatch.setenv("COLUMNS", "40")
    history.show("last")
    said = capsys.readouterr().out
    files = list(bench.store.products.glob("*/image.*"))
    assert len(files) == 2 and all(f"{file}\n" in said for file in files), "there to be copied"
    assert f"good  {(bench.home.root / 'last-run').resolve()}\n" in said


def test_a_cache_of_another_version_is_refused(bench: Bench) -> None:
    bench.build()
    (bench.home.cache / "FORMAT").write_text("99\n")
    with pytest.raises(PipelineError, match="has format '99', this version uses"):
        bench.build()
    (bench.home.cache / "FORMAT").write_text("1\n")


def test_jobs_bound_what_runs_at_once(bench: Bench) -> None:
    recipes = [light.recipe(f"r{number}", customize={"hostname": "x" * number}) for number in range(1, 4)]
    bench.steer("sleep.boot", "0.2")
    bench.build(*recipes, jobs=1)
    running = most = 0
    for event in bench.events:
        if isinstance(event, events.StepStarted):
            running += 1
        elif isinstance(event, events.StepFinished):
            running -= 1
        most = max(most, running)
    assert most == 1


def test_a_record_on_a_part_holds_for_other_products_with_the_same(bench: Bench) -> None:
    *made, sign = light.steps(bench.steering)
    steps = [*made, StepEntry(light.Look(bench.steering, "look", Stage.RECORD)), replace(sign, after=("boot", "look"))]
    one, other = light.recipe(), light.recipe(customize={"hostname": "other"})
    bench.steer("part", "boot sector one")
    (first,) = bench.build(one, steps=steps)
    bench.ran()
    with closing(BuildHistory(bench.home)) as known:
        planned = plan(other, steps, bench.store, known, LockFile(bench.home.root, "light"))
    (look,) = [step for step in planned.steps if step.name == "look"]
    assert look.reason == "product runs; not this, if the part it is about stays as it is"
    (second,) = bench.build(other, steps=steps)
    assert names(bench.ran()) == ["customize", "convert", "boot", "sign"]
    assert second.facts["look"] == first.facts["look"] == {"looked_at": "boot sector one"}
    # A signature speaks of the products, whatever the records behind it speak of.
    assert second.facts["sign"] != first.facts["sign"]

    bench.steer("part", "boot sector two")
    (third,) = bench.build(other, steps=steps)
    assert names(bench.ran()) == ["look", "sign"]
    assert third.facts["look"] == {"looked_at": "boot sector two"}
    bench.unsteer("part")
    bench.build(other, steps=steps)
    assert names(bench.ran()) == ["look", "sign"], "of the whole now"
    bench.build(one, steps=steps)
    assert "look" in names(bench.ran())


def test_guests_have_slots(bench: Bench) -> None:
    recipes = [light.recipe(f"r{number}", customize={"hostname": "x" * number}) for number in range(1, 4)]
    bench.steer("sleep.boot", "0.2")
    bench.build(*recipes, guests=1)
    open_boots = most = 0
    for event in bench.events:
        if getattr(event, "step", "") == "boot":
            open_boots += isinstance(event, events.StepStarted) - isinstance(event, events.StepFinished)
        most = max(most, open_boots)
    assert most == 1


class Keyed(light.Sign):
    """Signs with a key that has to be made first."""

    def prepare(self, recipe: Recipe, home: Home) -> None:
        if not (home.root / "key").exists():
            (home.root / "key").write_text("made")

    def options(self, recipe: Recipe) -> Mapping[str, Any]:
        key = self.steering.parent / "home" / "key"
        return {"key": key.read_text() if key.exists() else "not made yet"}


def test_what_inputs_name_is_made_before_they_are_asked(bench: Bench) -> None:
    steps = light.steps(bench.steering)
    steps[4] = replace(steps[4], step=Keyed(bench.steering, "sign", Stage.RECORD))
    with closing(BuildHistory(bench.home)) as history:
        plan(light.recipe(), steps, bench.store, history, LockFile(bench.home.root, "light"))
    assert not (bench.home.root / "key").exists(), "a plan makes nothing"
    bench.build(steps=steps)
    assert names(bench.ran()) == ALL
    bench.build(steps=steps)
    assert bench.ran() == [], "the key it was made with is the one it is decided by"
    (bench.home.root / "key").write_text("somebody else's")
    bench.build(steps=steps)
    assert names(bench.ran()) == ["sign"]


def test_a_result_says_why_its_steps_ran(bench: Bench) -> None:
    (first,) = bench.build()
    assert first.reasons[0] == "install: never built here"
    (same,) = bench.build()
    assert same.reasons == []
    bench.steer("input.boot", "new")
    (changed,) = bench.build()
    assert changed.reasons == ['boot: boot.extra: "" → "new"', "sign: what it stands on has changed"]
    head = json.loads((bench.home.runs / changed.run / "run.json").read_text())
    assert head["results"]["light"]["reasons"] == changed.reasons


class Weighed(light.Boot):
    """Tells its own priority."""

    def work(self, context: Context) -> Mapping[str, Any]:
        return {"nice": os.nice(0)}


def test_a_step_may_give_way_to_those_beside_it(bench: Bench) -> None:
    steps = light.steps(bench.steering)
    steps[3:4] = [
        StepEntry(Weighed(bench.steering, "boot", Stage.RECORD)),
        StepEntry(Weighed(bench.steering, "read", Stage.RECORD), gives_way=True),
    ]
    (result,) = bench.build(steps=steps)
    assert result.facts["boot"]["nice"] == os.nice(0) < result.facts["read"]["nice"]
