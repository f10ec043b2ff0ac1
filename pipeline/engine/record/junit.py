"""Write a run's results as JUnit XML for CI systems: a suite for each recipe, a case for each step."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

from pipeline.base import plain_text
from pipeline.base.errors import PipelineError
from pipeline.engine.record.result import BuildResult, StepResult, StepStatus

# Characters that XML 1.0 has no way to write, besides those that nobody is shown.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


@dataclass(frozen=True)
class Case:
    """A step, or what else was done with a recipe (its publication to a cloud, say), in so many ``seconds``."""

    recipe: str
    name: str
    seconds: float
    failure: PipelineError | None = None
    skipped: bool = False


def report(results: Sequence[BuildResult], more: Sequence[Case] = ()) -> str:
    """Return the results as XML, with ``more`` that was done with the recipes."""
    cases = [case for result in results for case in _of_build(result)] + list(more)
    built = {result.recipe.name: result.seconds for result in results}
    root = ElementTree.Element("testsuites", name="golden images")
    for recipe in dict.fromkeys([*built, *(case.recipe for case in more)]):
        seconds = built.get(recipe, 0.0) + sum(case.seconds for case in more if case.recipe == recipe)
        _suite(root, recipe, [case for case in cases if case.recipe == recipe], seconds)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _of_build(result: BuildResult) -> Iterator[Case]:
    steps = list(result.steps)
    if result.error is not None and not any(step.status is StepStatus.FAILED for step in steps):
        # It failed before any step did: recipe, freshness, plan.
        steps.insert(0, StepResult("prepare", "prepare", StepStatus.FAILED, 0.0))
    for step in steps:
        yield Case(
            recipe=result.recipe.name,
            name=step.name,
            # What was cached took no time tonight.
            seconds=step.seconds if step.status is not StepStatus.CACHED else 0.0,
            failure=(step.error or result.error) if step.status is StepStatus.FAILED else None,
            skipped=step.status is StepStatus.NOT_RUN,
        )


def _suite(root: ElementTree.Element, recipe: str, cases: Sequence[Case], seconds: float) -> None:
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=recipe,
        tests=str(len(cases)),
        failures=str(sum(case.failure is not None for case in cases)),
        # Jenkins wants it. A step that breaks off fails its build as any other.
        errors="0",
        skipped=str(sum(case.skipped for case in cases)),
        time=f"{seconds:.3f}",
    )
    for case in cases:
        element = ElementTree.SubElement(
            suite, "testcase", classname=recipe, name=case.name, time=f"{case.seconds:.3f}"
        )
        if case.failure is not None:
            failure = ElementTree.SubElement(
                element, "failure", message=plain_text.one_line(_clean(case.failure.message))
            )
            failure.text = _clean(str(case.failure))
        elif case.skipped:
            ElementTree.SubElement(element, "skipped")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub(plain_text.REPLACEMENT, plain_text.lines(text))
