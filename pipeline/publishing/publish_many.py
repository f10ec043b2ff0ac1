"""Publish several builds to several clouds at once: a thread a cloud, and one recipe after the other on each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace

from pipeline.base.errors import PipelineError
from pipeline.engine.record.events import Monitor
from pipeline.engine.record.result import BuildResult
from pipeline.publishing.monitoring import ReportedProgress, Watch
from pipeline.publishing.plan.plan import PublishOptions
from pipeline.publishing.publish_one import PublishResult, publish_one
from pipeline.publishing.sender import Sender
from pipeline.publishing.sources import build as build_source
from pipeline.publishing.sources.build import PublishSource
from pipeline.publishing.transaction.transaction import PublishOutcome
from pipeline.recipes.nightly import Target

_TICK = 0.2  # seconds


def publish_all(
    builds: Sequence[BuildResult],
    targets: Sequence[Target],
    sender: Sender,
    *,
    monitors: Sequence[Monitor] = (),
    options: PublishOptions | None = None,
) -> list[PublishResult]:
    """Publish every build to every target; one result for each pair, by build, then target.

    A failure on one cloud leaves the others alone. ``KeyboardInterrupt`` and ``SystemExit`` end all publications at
    their next step, let each clean up, and go on.
    """
    sources = [
        build_source.of_build(build, sender.home, sender.publisher, sender.now) if build.is_good else build
        for build in builds
    ]
    return _in_parallel(sources, targets, sender, monitors, options)


def publish_to_all(
    source: PublishSource,
    targets: Sequence[Target],
    sender: Sender,
    *,
    monitors: Sequence[Monitor] = (),
    options: PublishOptions | None = None,
) -> list[PublishResult]:
    """Publish one source to every target, as ``publish_all`` does."""
    return _in_parallel([source], targets, sender, monitors, options)


def _in_parallel(
    sources: Sequence[PublishSource | BuildResult],
    targets: Sequence[Target],
    sender: Sender,
    monitors: Sequence[Monitor],
    options: PublishOptions | None,
) -> list[PublishResult]:
    watch = Watch(monitors)
    sender = replace(sender, retry_policy=watch.retry_policy(sender.retry_policy))
    results: dict[tuple[int, int], PublishResult] = {}

    def to_cloud(number: int) -> None:
        for position, source in enumerate(sources):
            results[position, number] = _one(source, targets[number], sender, options, watch)

    with ThreadPoolExecutor(max(1, len(targets)), thread_name_prefix="cloud") as pool:
        futures = [pool.submit(to_cloud, number) for number in range(len(targets))]
        try:
            _wait(futures, watch)
        except BaseException:
            watch.end()
            raise
        finally:
            wait(futures)
            watch.close()
    return [results[key] for key in sorted(results)]


def _wait(futures: Iterable[Future[None]], watch: Watch) -> None:
    remaining = set(futures)
    while remaining:
        done, remaining = wait(remaining, timeout=_TICK)
        watch.tick()
        for future in done:
            future.result()


def _one(
    source: PublishSource | BuildResult, target: Target, sender: Sender, options: PublishOptions | None, watch: Watch
) -> PublishResult:
    if isinstance(source, BuildResult):
        failure = source.error or PipelineError("there is nothing to publish")
        error = PipelineError(f"the build failed: {failure.message}", hint=failure.hint)
        return PublishResult(source.recipe.name, target.cloud, PublishOutcome.NOT_BUILT, error=error)
    shown = ReportedProgress(watch, source.recipe, f"publish to {target.cloud}")
    publish_result = publish_one(source, target, sender, options, shown)
    shown.ended(publish_result.error)
    return publish_result
