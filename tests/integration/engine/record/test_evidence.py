"""What a run leaves for people and programs: JUnit, pace, scrubbed logs, tasks over earlier runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from xml.etree import ElementTree

import pytest

from pipeline.base.errors import PipelineError
from pipeline.cli.handlers import history as face
from pipeline.engine.record import events
from pipeline.engine.record.history import BuildHistory
from pipeline.engine.record.junit import report
from pipeline.engine.record.runs import past_runs
from pipeline.engine.run import deadlines as run_deadlines
from pipeline.engine.units.step_entry import StepEntry
from pipeline.steps.step import Stage
from tests.integration.engine import light
from tests.integration.engine.conftest import Bench


def test_junit(bench: Bench) -> None:
    bench.steer("fail.bad.boot", "no \x00carrier")
    results = bench.build(light.recipe("good"), light.recipe("bad", customize={"hostname": "other"}))
    text = (bench.home.root / "last-run" / "junit.xml").read_text()
    suites = {suite.get("name"): suite for suite in ElementTree.fromstring(text)}
    assert [suites[name].get("failures") for name in ("good", "bad")] == ["0", "1"]
    bad = {case.get("name"): case for case in suites["bad"]}
    failure = bad["boot"].find("failure")
    assert failure is not None and "no �carrier" in str(failure.get("message"))
    assert "evidence: " in str(failure.text)
    assert bad["sign"].find("skipped") is not None
    assert ElementTree.fromstring(report(results)) is not None


def test_junit_of_a_recipe_that_never_began(bench: Bench) -> None:
    bench.steer("unwanted.install")
    bench.build()
    (suite,) = ElementTree.fromstring((bench.home.root / "last-run" / "junit.xml").read_text())
    assert [(case.get("name"), case.find("failure") is not None) for case in suite] == [("prepare", True)]


def test_last_run_leads_to_the_newest(bench: Bench) -> None:
    for _ in range(2):
        (result,) = bench.build()
        assert (bench.home.root / "last-run").resolve() == bench.home.runs / result.run


def test_a_slow_step_is_told_once(bench: Bench) -> None:
    with closing(BuildHistory(bench.home)) as history:
        for _ in range(3):
            history.note("light", "boot", "tcg", 0.01, "r", good=True)
    bench.steer("sleep.boot", "6")
    bench.build()
    said = [event.text for event in bench.of(events.StepSaid) if "usual" in event.text]
    assert said == ["slower than usual (0.0 s are usual)"]
    started = [event for event in bench.of(events.StepStarted) if event.step == "boot"]
    assert started[0].expected == 0.01
    (begun,) = bench.of(events.BuildStarted)
    assert [(step.name, step.after, step.expected) for step in begun.steps] == [
        ("install", (), None),
        ("customize", ("install",), None),
        ("convert", ("customize",), None),
        ("boot", ("convert",), 0.01),
        ("sign", ("convert", "boot"), None),
    ]


def test_deadlines_fit_accelerator_and_history(bench: Bench) -> None:
    entry = StepEntry(light.Boot(bench.steering, "boot", Stage.RECORD), deadline=4000)
    with closing(BuildHistory(bench.home)) as history:
        assert run_deadlines.deadlines(entry, "light", history) == {"kvm": 1000, "tcg": 4000}
        for _ in range(5):
            history.note("light", "boot", "tcg", 60, "r", good=True)
        assert run_deadlines.deadlines(entry, "light", history) == {"kvm": 1000, "tcg": 600}
        history.note("light", "boot", "tcg", 500, "r", good=True)
        assert run_deadlines.deadlines(entry, "light", history)["tcg"] == 1000, "what was seen to work stays possible"
        for _ in range(10):
            history.note("light", "boot", "tcg", 1, "r", good=True)
        history.note("light", "boot", "tcg", 5000, "r", good=True)
        assert run_deadlines.deadlines(entry, "light", history)["tcg"] == 4000


def test_secrets_do_not_show_in_logs_reports_or_evidence(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_SECRET_RHN", "correct-horse-battery")
    bench.steer("reveal.boot", "rhn")
    bench.steer("fail.boot", "login with correct-horse-battery failed")
    (result,) = bench.build()
    assert result.error is not None
    assert "login with [secret] failed" in result.error.message
    for file in bench.home.root.rglob("*"):
        if file.is_file():
            assert b"correct-horse" not in file.read_bytes(), file
    log = bench.home.runs / result.run / "light" / "boot.log"
    assert "[secret]" in log.read_text()


def test_earlier_runs_as_people_see_them(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.build()
    bench.steer("fail.boot", "no carrier")
    bench.steer("input.boot", "again")
    (failed,) = bench.build()
    face.runs()
    assert [line.split()[3] for line in capsys.readouterr().out.splitlines()] == ["failed", "good"]
    face.show("last")
    said = capsys.readouterr().out
    assert "light: boot: no carrier" in said and "hint: mend it" in said and "evidence: " in said
    face.show(failed.run, as_json=True)
    assert json.loads(capsys.readouterr().out)["status"] == "failed"
    face.logs("last")
    assert "light/boot" in capsys.readouterr().out


def test_a_run_shows_how_far_it_is_and_how_far_it_came(
    bench: Bench, wait_until: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    bench.steer("sleep.boot", "60")
    running = bench.start("one")
    wait_until(lambda: any("boot" in run.so_far().get("one", {}) for run in past_runs(bench.home)))
    face.show("last")
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[1] == "running" and said[1] == "one  so far"
    assert [line.split()[:2] for line in said[2:]] == [
        ["install", "ran"],
        ["customize", "ran"],
        ["convert", "ran"],
        ["boot", "running"],
    ]
    running.kill()
    running.communicate()
    face.show("last")
    said = capsys.readouterr().out.splitlines()
    assert said[0].split()[1] == "killed" and said[-1].split() == ["boot", "killed"]
    face.reap()


def test_a_run_that_was_interrupted_is_not_called_failed(
    bench: Bench, wait_until: Callable[..., None], capsys: pytest.CaptureFixture[str]
) -> None:
    bench.steer("sleep.boot", "60")
    running = bench.start("one")
    wait_until(lambda: any(bench.home.runs.glob("*/one/boot.log")))
    running.terminate()
    running.communicate(timeout=20)
    face.show("last")
    said = capsys.readouterr().out.splitlines()
    assert said[1].startswith("one  interrupted  ")
    assert ["sign", "not", "run"] in [line.split() for line in said], "it took no time"


def test_a_home_without_runs_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    face.runs()
    assert capsys.readouterr().out == "no runs yet\n"
    with pytest.raises(PipelineError, match="there is no run yet"):
        face.show("last")
    with pytest.raises(PipelineError, match="--count -1: at least 1"):
        face.runs(count=-1)


def test_a_log_is_followed_to_its_end(
    bench: Bench, wait_until: Callable[..., None], capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    bench.steer("sleep.boot", "1.5")
    running = bench.start("one")
    wait_until(lambda: any(bench.home.runs.glob("*/one/boot.log")))
    assert bench.slept() == []
    face.logs("last", "boot", follow=True)
    assert bench.slept() == ["one/boot"], "it did not follow to the end"
    assert b"boot works on one" in capfdbinary.readouterr().out
    assert running.wait(10) == 0
    running.communicate()


def test_reap_says_when_there_is_nothing(bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
    bench.build()
    face.reap()
    assert capsys.readouterr().out == "nothing was left by dead runs\n"
