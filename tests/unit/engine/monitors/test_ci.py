"""Show a run in the logs of CI systems."""

from __future__ import annotations

import io

import pytest

from pipeline.engine.monitors import ci
from pipeline.engine.monitors.ci import Ci
from pipeline.engine.record import events
from tests.unit.engine.monitors.a_run import A_RUN


@pytest.mark.parametrize(
    ("system", "begin", "end"),
    [
        ("github", "::group::tiny: convert: done", "::endgroup::"),
        ("gitlab", "[collapsed=true]\r\x1b[0Ktiny: convert: done", "section_end:"),
        ("plain", "== tiny: convert: done", ""),
    ],
)
def test_groups(system: str, begin: str, end: str) -> None:
    stream = io.StringIO()
    monitor = Ci(stream, system)
    for event in A_RUN:
        monitor.event(event)
    monitor.close()
    said = stream.getvalue()
    assert begin in said and end in said
    lines = said.split("\n")
    error = next(index for index, line in enumerate(lines) if "failed after 1.0 s" in line)
    assert lines[error].startswith("tiny:"), "a failure is never folded away"
    assert ("::error title=tiny%3A boot::no [carrier]" in said) == (system == "github")


def test_groups_of_steps_side_by_side_do_not_mix() -> None:
    stream = io.StringIO()
    monitor = Ci(stream, "github")
    for recipe in ("a", "b"):
        monitor.event(events.StepStarted(recipe=recipe, step="s", log=""))
    for recipe in ("a", "b"):
        monitor.event(events.StepSaid(recipe=recipe, step="s", text="x"))
        monitor.event(events.StepFinished(recipe=recipe, step="s", seconds=1.0))
    inside = stream.getvalue().split("::group::")[1]
    assert "a: s" in inside and "b: s" not in inside


@pytest.mark.parametrize(
    ("variables", "system"),
    [({"GITHUB_ACTIONS": "true"}, "github"), ({"GITLAB_CI": "true"}, "gitlab"), ({}, "plain")],
)
def test_the_system_is_known_by_its_variables(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], system: str
) -> None:
    for name in ("GITHUB_ACTIONS", "GITLAB_CI"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert ci.detect() == system
