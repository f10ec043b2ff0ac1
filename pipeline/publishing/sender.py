"""Say who publishes, and give that person connections and locks."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from pipeline.base import atomic, locks
from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.publishing.cloud import connect as cloud_connect
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.errors import Contended
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from pipeline.publishing.plan.chain_state import RunnerContext
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.definitions import CloudDefinitions
from pipeline.publishing.transaction import cloud_lock, known_project
from pipeline.publishing.transaction.cloud_lock import LockScope
from pipeline.publishing.transaction.journal import lock_file


@dataclass(frozen=True)
class Sender:
    """Who publishes, from where, in which run, by which clock; ``former``: projects whose images are ours, by cloud;
    ``known``: what clouds define of properties, as far as it was read in this run.
    """

    home: Home
    run: str
    clock: Clock = field(default_factory=Clock)
    publisher: str = ownership_marker.DEFAULT_PUBLISHER
    retry_policy: CloudRetryPolicy = field(default_factory=CloudRetryPolicy)
    former: Mapping[str, Sequence[str]] = field(default_factory=dict)
    known: CloudDefinitions = field(default_factory=CloudDefinitions)

    @property
    def now(self) -> datetime:
        """When the run began."""
        return self.clock.start

    @property
    def runner(self) -> str:
        """This installation's name on records in clouds: random, so that it tells nothing of the host."""
        file = self.home.root / "publishing" / "runner"
        if not file.is_file():
            atomic.write_text(file, f"{uuid.uuid4()}\n")
        return file.read_text().strip()

    def connect(self, cloud: str, former: Sequence[str] = ()) -> ImageApi:
        """Return a connection to ``cloud``; images of the projects ``former`` are ours, too."""
        owners = former or self.former.get(cloud, ())
        return cloud_connect.connect(self.home, cloud, retry_policy=self.retry_policy, former=owners)

    def looking(self, cloud: str, former: Sequence[str] = ()) -> ImageApi:
        """As ``connect``, to look only: whose images are ours may be remembered from earlier runs."""
        return known_project.recalled(self.home, self.connect(cloud, former))

    def runner_context(self, *, exclusive: bool = False) -> RunnerContext:
        """Return how this sender looks at a chain; ``exclusive``, since it has locked it or nobody has."""
        return RunnerContext(self.runner, self.clock, exclusive)

    def scope(self, api: ImageApi, recipe: str) -> LockScope:
        """Return what this sender locks to work on ``recipe``."""
        return LockScope(api, self.publisher, recipe, self.runner, self.run)

    @contextlib.contextmanager
    def locked(self, api: ImageApi, recipe: str, what: str, progress: Progress = nothing) -> Iterator[ImageApi]:
        """Hold ``recipe`` on a cloud against other runs, here and elsewhere; work on it with the API this yields.

        Raises ``Contended`` when another run is at work on it.
        """
        with (
            locks.held(
                lock_file(self.home, api.cloud, recipe),
                f"{what} {recipe} on cloud {api.cloud}",
                wait=self.retry_policy.settle,
                progress=progress,
                refusal=_contended,
            ),
            cloud_lock.held(self.scope(api, recipe), progress) as guarded,
        ):
            if not api.owners.are_known:
                known_project.remember(self.home, guarded)
            yield guarded


def _contended(who: str) -> Contended:
    return Contended(
        f"another run on this machine is at work on it: {who}",
        hint="let it finish; it ends by itself or shows where it waits",
    )
