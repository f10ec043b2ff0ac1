"""A run's results as JUnit XML, which every CI system can show: a suite for each recipe, a case for each step."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

from pipeline.engine.result import BuildResult, StepResult, StepStatus

# Characters that XML 1.0 has no way to write.
_FORBIDDEN = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


def report(results: Sequence[BuildResult]) -> str:
    """The results as XML."""
    root = ElementTree.Element("testsuites", name="golden images")
    for result in results:
        _suite(root, result)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _suite(root: ElementTree.Element, result: BuildResult) -> None:
    steps = list(result.steps)
    if result.error is not None and not any(step.status is StepStatus.FAILED for step in steps):
        # It failed before any step did: recipe, freshness, plan.
        steps.insert(0, StepResult("prepare", "prepare", StepStatus.FAILED, 0.0))
    suite = ElementTree.SubElement(
        root,
        "testsuite",
        name=result.recipe.name,
        tests=str(len(steps)),
        failures=str(sum(step.status is StepStatus.FAILED for step in steps)),
        skipped=str(sum(step.status is StepStatus.NOT_RUN for step in steps)),
        time=f"{result.seconds:.3f}",
    )
    for step in steps:
        # What was cached took no time tonight.
        seconds = step.seconds if step.status is not StepStatus.CACHED else 0.0
        case = ElementTree.SubElement(
            suite, "testcase", classname=result.recipe.name, name=step.name, time=f"{seconds:.3f}"
        )
        if step.status is StepStatus.FAILED and result.error is not None:
            failure = ElementTree.SubElement(case, "failure", message=_clean(result.error.message))
            failure.text = _clean(str(result.error))
        elif step.status is StepStatus.NOT_RUN:
            ElementTree.SubElement(case, "skipped")


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("�", text)
