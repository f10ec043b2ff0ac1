"""Write how a night ended for CI systems: what was built, and what became of it on each cloud."""

from __future__ import annotations

from collections.abc import Iterator

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.record.junit import Case, report
from pipeline.publishing.nightly import Night
from pipeline.publishing.publish_one import PublishResult
from pipeline.publishing.transaction.transaction import PublishOutcome


def write(night: Night, home: Home) -> None:
    """Add what was published to the ``junit.xml`` of the run that built it."""
    for run in {build.run for build in night.builds}:
        atomic.write_text(home.runs / run / "junit.xml", report(night.builds, list(_cases(night))))


def _cases(night: Night) -> Iterator[Case]:
    for each in night.publish_results:
        not_built = each.outcome is PublishOutcome.NOT_BUILT
        yield Case(each.recipe, f"publish to {each.cloud}", each.seconds, _failure(each), skipped=not_built)
    for rotation in night.rotations:
        if rotation.error is not None:
            yield Case(rotation.recipe, f"rotate on {rotation.cloud}", 0.0, rotation.error)


def _failure(publish_result: PublishResult) -> PipelineError | None:
    if publish_result.outcome.is_good or publish_result.outcome is PublishOutcome.NOT_BUILT:
        return None
    return publish_result.error or PipelineError(f"it is {publish_result.outcome}", details=publish_result.held)
