"""What CI systems are told of a night."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.cli import results
from pipeline.engine.record.result import BuildResult, StepResult, StepStatus
from pipeline.publishing.nightly import Night
from pipeline.publishing.publish_one import PublishResult
from pipeline.publishing.rotate import RecipeRotation
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.loading.load import RecipeFolder


def test_what_is_not_published_is_told_where_the_build_is(tmp_path: Path) -> None:
    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load_all(["tiny"], {})
    step = StepResult("install", "install", StepStatus.RAN, 1.0)
    build = BuildResult(recipe, "r1", (), {}, {}, [step], changed=True, seconds=1.0)
    publish_results = [
        PublishResult("tiny", "good", PublishOutcome.PUBLISHED, seconds=2.0),
        PublishResult(
            "tiny", "shut", PublishOutcome.FAILED, seconds=2.0, error=PipelineError("cloud shut answered 401")
        ),
        PublishResult("tiny", "strict", PublishOutcome.HELD, held=("it grew by 80 %",)),
        PublishResult("tiny", "late", PublishOutcome.NOT_BUILT),
    ]
    rotation = RecipeRotation("tiny", "shut", error=PipelineError("cloud shut answered 401"))
    home = Home(tmp_path, tmp_path / "cache")
    results.write(Night("n1", datetime.now(UTC), 9.0, [build], publish_results, [rotation]), home)
    (suite,) = ElementTree.fromstring((home.runs / "r1" / "junit.xml").read_text())
    reported = {case.get("name"): [(each.tag, each.get("message")) for each in case] for case in suite}
    assert reported == {
        "install": [],
        "publish to good": [],
        "publish to shut": [("failure", "cloud shut answered 401")],
        "publish to strict": [("failure", "it is held back")],
        "publish to late": [("skipped", None)],
        "rotate on shut": [("failure", "cloud shut answered 401")],
    }
    assert "it grew by 80 %" in str(suite[3][0].text)
