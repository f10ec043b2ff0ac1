"""Results as JUnit XML, in the form that CI systems take."""

from __future__ import annotations

import dataclasses
from xml.etree import ElementTree

from pipeline.base.errors import PipelineError
from pipeline.engine.record.junit import Case, report
from pipeline.engine.record.result import BuildResult, StepResult, StepStatus
from tests.integration.engine import light

# What Jenkins' schema (its xUnit plugin's) wants of every suite.
REQUIRED = {"name", "tests", "failures", "errors"}


def _built(*statuses: StepStatus, error: PipelineError | None = None) -> BuildResult:
    steps = [StepResult(f"step{number}", "record", status, 1.5) for number, status in enumerate(statuses)]
    return BuildResult(light.recipe("tiny"), "r1", (), {}, {}, steps, changed=True, seconds=3.0, error=error)


def _cases(suite: ElementTree.Element) -> list[tuple[str | None, str | None, str]]:
    return [(case.get("name"), case.get("time"), ",".join(each.tag for each in case)) for case in suite]


def test_a_build() -> None:
    error = PipelineError("tiny: step1 failed: no \x00carrier")
    (suite,) = ElementTree.fromstring(
        report([_built(StepStatus.CACHED, StepStatus.FAILED, StepStatus.NOT_RUN, error=error)])
    )
    assert set(suite.attrib) >= REQUIRED
    assert [suite.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["3", "1", "0", "1"]
    assert _cases(suite) == [("step0", "0.000", ""), ("step1", "1.500", "failure"), ("step2", "1.500", "skipped")]
    failure = suite[1][0]
    assert failure.get("message") == "tiny: step1 failed: no �carrier"


def test_nothing_that_a_guest_said_commands_whoever_shows_it() -> None:
    error = PipelineError("no \x1b[1Acarrier\nat\u202e all", details=["\x9b2Jlogin:\u200b\ufffe", "a\tb"], hint="\x7f")
    text = report([_built(StepStatus.FAILED, error=error)])
    assert not set(text) & set("\x1b\x7f\x9b\u200b\u202e\ufffe")
    failure = ElementTree.fromstring(text)[0][0][0]
    assert failure.get("message") == "no �[1Acarrier at� all"
    assert str(failure.text).splitlines() == ["no �[1Acarrier", "at� all", "  �2Jlogin:��", "  a\tb", "hint: �"]


def test_each_step_has_its_own_failure() -> None:
    build = _built(StepStatus.FAILED, StepStatus.FAILED, error=PipelineError("the first"))
    own = [dataclasses.replace(build.steps[0]), dataclasses.replace(build.steps[1], error=PipelineError("the second"))]
    (suite,) = ElementTree.fromstring(report([dataclasses.replace(build, steps=own)]))
    assert [case[0].get("message") for case in suite] == ["the first", "the second"]


def test_what_was_done_with_a_build_belongs_to_it() -> None:
    good = _built(StepStatus.RAN)
    other = dataclasses.replace(good, recipe=light.recipe("other"))
    more = [
        Case("tiny", "publish to here", 2.0),
        Case("tiny", "publish to there", 1.0, PipelineError("the cloud does not answer", hint="ask it")),
        Case("tiny", "publish to nowhere", 0.0, skipped=True),
        Case("third", "rotate on here", 0.0, PipelineError("no")),
    ]
    suites = ElementTree.fromstring(report([good, other], more))
    assert [suite.get("name") for suite in suites] == ["tiny", "other", "third"]
    assert [case[0] for case in _cases(suites[0])] == ["step0", *(each.name for each in more[:3])]
    assert [suites[0].get(name) for name in ("tests", "failures", "skipped", "time")] == ["4", "1", "1", "6.000"]
    assert "hint: ask it" in str(suites[0][2][0].text)
    assert suites[2].get("failures") == "1"
