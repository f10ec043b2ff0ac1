"""One recipe, several runners, and a consumer who looks at every moment: what the transaction tests stand on."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import multiprocessing
import os
import signal
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openstack

from pipeline.base.errors import PipelineError
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.http import Http
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.ownership_marker import Chain, ImageState
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.retry import CloudRetryPolicy, LockLease
from pipeline.publishing.plan.chain_state import RunnerContext, observe
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.plan.observe import ObservedImage, observe_image
from pipeline.publishing.plan.plan import PublishOptions
from pipeline.publishing.retention import policy as retention_policy
from pipeline.publishing.retention.rotation import Rotation
from pipeline.publishing.transaction import cloud_lock, withdrawal
from pipeline.publishing.transaction.journal import PublishJournal
from pipeline.publishing.transaction.transaction import PublishOutcome, Transaction
from pipeline.recipes.model.retention_fields import Retention
from pipeline.signing.trust.certificates import LocalCertificates
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy

# Short, so that nobody waits long for the dead; long enough for a living one on a busy machine.
LEASE = LockLease(beat=0.5, lasts=6.0, poll=0.1)
# Forks from a process that has imported everything and has no threads yet.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload([__name__])


@dataclass(frozen=True)
class Peer:
    """An Image API to publish to: its root URL, an administrator's token, two stores."""

    url: str
    token: str
    stores: tuple[str, ...]
    owner: str = ""

    def connection(self, url: str | None = None) -> Any:
        """openstacksdk's connection to it, or to what stands before it."""
        return openstack.connection.Connection(
            auth_type="admin_token", auth={"endpoint": f"{url or self.url}/v2", "token": self.token}
        )

    def api(self, url: str | None = None, retry_policy: CloudRetryPolicy | None = None) -> ImageApi:
        """Its image service as publishing sees it."""
        http = Http(self.connection(url).image, "test", retry_policy or hurried())
        return ImageApi(http, Owners(self.project))

    @property
    def project(self) -> str:
        """The project of the token."""
        return self.owner or self.token.removesuffix("-token")


def hurried() -> CloudRetryPolicy:
    """Tries often and waits for nothing that a healthy service needs no time for."""
    return CloudRetryPolicy(attempts=3, first=0.01, longest=0.02, settle=20.0, poll=0.02, lease=LEASE)


@dataclass
class World:
    """``watch`` is to be called around every request; it fails the test when a consumer would be ill served."""

    peer: Peer
    folder: Path
    recipe: str = field(default_factory=lambda: f"tiny-{uuid.uuid4().hex[:8]}")
    visibility: str = "public"
    good: dict[str, str] = field(default_factory=dict)  # sha512 → content: everything that was ever offered
    healthy: set[str] = field(default_factory=set)  # ids of images that were verified once
    may_go: set[str] = field(default_factory=set)  # ids that retention may delete
    seen: list[str] = field(default_factory=list)  # contents a consumer got, in order of change
    began: bool = False
    locking: bool = True  # whether runners hold the cloud's lock
    lease: LockLease = LEASE
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __post_init__(self) -> None:
        self._looking = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """What a runner in a process of its own gets."""
        return {name: value for name, value in vars(self).items() if name not in ("_looking", "consumer")}

    @functools.cached_property
    def consumer(self) -> ImageApi:
        """The cloud as whoever looks sees it."""
        return self.peer.api()

    @property
    def chain(self) -> Chain:
        """The images this world is about."""
        return Chain(ownership_marker.DEFAULT_PUBLISHER, self.recipe)

    # --- the consumer ---

    def watch(self) -> None:
        """Look as a consumer does: the newest public image of the stable name."""
        with self._looking:
            self._watch()

    def _watch(self) -> None:
        found = list(self.consumer.shown(name=self.recipe))
        if not found:
            assert not self.began, "consumers find no image any more"
            return
        self.began = True
        newest = found[0]
        assert len(found) <= 2, f"consumers find {len(found)} images: {[each.id for each in found]}"
        assert newest.is_active, f"the newest image is {newest.status}"
        assert newest.visibility == self.visibility
        assert newest.sha512 in self.good, "the newest image holds bytes nobody built"
        assert newest.properties.get(ownership_marker.VERIFIED_AT), "the newest image was never verified"
        assert set(self.peer.stores) <= set(newest.stores), "the newest image is not in all stores"
        content = self.good[newest.sha512]
        if not self.seen or self.seen[-1] != content:
            self.seen.append(content)

    def check_health(self) -> None:
        """No image that was verified once has gone, but by retention."""
        there = {each.id: each for each in self.images()}
        gone = self.healthy - set(there) - self.may_go
        assert not gone, f"healthy images were deleted: {gone}"
        self.healthy |= {each.id for each in there.values() if each.state is not None and each.state.was_verified}

    def images(self) -> list[ImageRecord]:
        """Every image of the recipe, as an administrator sees them."""
        return self.consumer.images(**self.chain.filters)

    def check_rest(self) -> None:
        """Between runs without a fault: exactly one image is shown, nothing is half-published."""
        found = list(self.consumer.shown(name=self.recipe))
        assert len(found) == 1
        images = self.images()
        assert [each.id for each in images if each.state is ImageState.NEWEST] == [found[0].id]
        assert not [each for each in images if each.state is ImageState.UPLOADING]
        assert not [each for each in images if not each.is_active]

    @property
    def errors(self) -> str:
        """What runners that gave up have said."""
        file = self.folder / "errors"
        return file.read_text() if file.is_file() else ""

    # --- the runners ---

    def file(self, content: str) -> Path:
        """A file of some blocks that only ``content`` decides."""
        path = self.folder / f"{content}.raw"
        if not path.is_file():
            path.write_bytes(hashlib.sha256(content.encode()).digest() * 8192)
        self.good[hashlib.sha512(path.read_bytes()).hexdigest()] = content
        return path

    def desired(self, content: str, **more: Any) -> DesiredImage:
        """The image of ``content``."""
        path = self.file(content)
        data = path.read_bytes()
        given: dict[str, Any] = {
            "chain": self.chain,
            "name": self.recipe,
            "version": f"{ownership_marker.version_stamp(datetime.now(UTC))}-{uuid.uuid4().hex[:6]}",
            "path": path,
            "size": len(data),
            "sha512": hashlib.sha512(data).hexdigest(),
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": self.visibility,
            "properties": {"os_distro": "cirros"},
        }
        return DesiredImage(**{**given, **more})

    def publish(
        self,
        content: str,
        *,
        proxy: FaultyProxy | None = None,
        runner: str = "one",
        held: bool = False,
        properties: Mapping[str, str] | None = None,
    ) -> PublishOutcome | None:
        """One run of one runner; ``None`` when it was killed, ``FAILED`` when it gave up with an error."""
        outcome: PublishOutcome | None
        (outcome,) = together([self.publication(content, proxy=proxy, runner=runner, held=held, properties=properties)])
        return outcome

    def publication(self, content: str, *, proxy: FaultyProxy | None = None, **more: Any) -> Job:
        """As ``publish``, to be done ``together`` with others."""
        self.file(content)
        return Job(self, "do_publish", {"content": content, **more}, proxy)

    def rotate(self, limits: Retention, *, proxy: FaultyProxy | None = None, runner: str = "one") -> None:
        """Delete what ``limits`` let go; what that may be is worked out here, from what is there, beforehand."""
        together([self.rotation(limits, proxy=proxy, runner=runner)])

    def rotation(self, limits: Retention, *, proxy: FaultyProxy | None = None, runner: str = "one") -> Job:
        """As ``rotate``, to be done ``together`` with others."""
        observed = observe(self.chain, self.images(), RunnerContext(runner, Clock(self.now)))
        self.may_go |= {
            each.record.id for each in retention_policy.decide(observed, limits, self.now) if not each.stays
        }
        return Job(self, "do_rotate", {"limits": limits, "runner": runner}, proxy)

    def withdraw(self, *, proxy: FaultyProxy | None = None, runner: str = "one") -> bool:
        """Take the newest image back; whether that was done."""
        (done,) = together([self.withdrawal(proxy=proxy, runner=runner)])
        return bool(done)

    def withdrawal(self, *, proxy: FaultyProxy | None = None, runner: str = "one") -> Job:
        """As ``withdraw``, to be done ``together`` with others."""
        return Job(self, "do_withdraw", {"runner": runner}, proxy)

    # --- what a runner does, perhaps in a process of its own ---

    def do_publish(
        self,
        url: str | None,
        content: str,
        runner: str = "one",
        held: bool = False,
        properties: Mapping[str, str] | None = None,
    ) -> PublishOutcome:
        """Publish as ``runner`` to the cloud at ``url``."""
        try:
            with self._at_work(url, runner) as api:
                desired = self.desired(content, **({"properties": properties} if properties else {}))
                journal, context = self._journal(runner), self._context(runner)

                def gates(newest: ImageRecord | None) -> tuple[str, ...]:
                    return ("a gate",) if held else ()

                def seen() -> ObservedImage:
                    refused = journal.copy_was_refused()
                    return observe_image(
                        api, [desired], context, stores=self.peer.stores, gates=gates, copy_refused=refused
                    )

                certificates = LocalCertificates(self.folder)
                transaction = Transaction(api, journal, seen, PublishOptions(), lambda part: certificates)
                return transaction.publish()[0].outcome
        except PipelineError as error:
            with (self.folder / "errors").open("a") as file:
                file.write(f"{runner}, {content}: {error}\n")
            return PublishOutcome.FAILED

    def do_rotate(self, url: str | None, limits: Retention, runner: str) -> None:
        """Rotate as ``runner``."""
        with contextlib.suppress(PipelineError), self._at_work(url, runner) as api:
            context, journal = self._context(runner), self._journal(runner)
            Rotation(api, self.chain.publisher, self.recipe, limits, context, journal).run(delete=True)

    def do_withdraw(self, url: str | None, runner: str) -> bool:
        """Withdraw as ``runner``."""
        with contextlib.suppress(PipelineError), self._at_work(url, runner) as api:
            context, journal = self._context(runner), self._journal(runner)
            withdrawal.withdraw(api, self.chain, context, journal, why="a test", protected=False)
            return True
        return False

    @contextlib.contextmanager
    def _at_work(self, url: str | None, runner: str) -> Iterator[ImageApi]:
        api = self.peer.api(url, replace(hurried(), lease=self.lease))
        if not self.locking:
            yield api
            return
        location = cloud_lock.LockScope(api, self.chain.publisher, self.recipe, runner, uuid.uuid4().hex)
        with cloud_lock.held(location) as guarded:
            yield guarded

    def _context(self, runner: str) -> RunnerContext:
        return RunnerContext(runner, Clock(self.now), exclusive=self.locking)

    def _journal(self, runner: str) -> PublishJournal:
        return PublishJournal(self.folder / f"{runner}.jsonl", f"{runner}-{uuid.uuid4().hex[:6]}")


@dataclass(frozen=True)
class Job:
    """What one runner is to do in one world: a method of it, through ``proxy`` if there is one."""

    world: World
    method: str
    arguments: Mapping[str, Any]
    proxy: FaultyProxy | None

    def do(self) -> Any:
        """Do it in this process."""
        url = self.proxy.url if self.proxy else None
        return getattr(self.world, self.method)(url, **self.arguments)


class Run:
    """A process that does jobs, each in a thread, as a campaign does with clouds. Its proxies may kill or stop it."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        ours, theirs = _PROCESSES.Pipe(duplex=False)
        work = [(job.world, job.method, dict(job.arguments), job.proxy.url if job.proxy else None) for job in jobs]
        self._answer = ours
        self._count = len(jobs)
        self.process = _PROCESSES.Process(target=_work, args=(work, theirs), daemon=True)
        for job in jobs:
            if job.proxy is not None:
                job.proxy.kill = self.kill
        self.process.start()
        theirs.close()

    def kill(self) -> None:
        """Kill it; it is dead when this returns."""
        self.signal(signal.SIGKILL)
        with contextlib.suppress(ProcessLookupError):
            while True:
                self.signal(0)
                time.sleep(0.002)

    def signal(self, number: int) -> None:
        """Send it a signal."""
        os.kill(self.process.pid or 0, number)

    def results(self) -> list[Any]:
        """What each job returned; ``None`` for all when the process was killed."""
        try:
            return list(self._answer.recv())
        except EOFError:
            assert self.process.exitcode is None or self.process.exitcode <= 0, "the runner broke"
            return [None] * self._count
        finally:
            self.process.join()


def together(jobs: Sequence[Job]) -> list[Any]:
    """Do jobs at the same time, in one process of their own if any of them may be killed there."""
    if any(job.proxy is not None and job.proxy.deadly for job in jobs):
        return Run(jobs).results()
    with ThreadPoolExecutor(len(jobs)) as pool:
        return list(pool.map(Job.do, jobs))


def _work(jobs: Sequence[tuple[World, str, dict[str, Any], str | None]], answer: Any) -> None:
    with ThreadPoolExecutor(len(jobs)) as pool:
        futures = [pool.submit(getattr(world, method), url, **arguments) for world, method, arguments, url in jobs]
        answer.send([future.result() for future in futures])


class Faults:
    """Faults at given requests, counted from 0; every other request is left alone."""

    def __init__(self, plan: Mapping[int, Fault]) -> None:
        self.plan = plan
        self.count = -1
        self.deadly = any(fault.kills for fault in plan.values())

    def __call__(self, method: str, path: str) -> Fault:
        self.count += 1
        chosen = self.plan.get(self.count, Fault.NONE)
        # Only bodies can be cut.
        if chosen is Fault.CUT_REQUEST and method != "PUT":
            return Fault.REFUSED
        if chosen is Fault.CUT_ANSWER and method != "GET":
            return Fault.LOST_ANSWER
        return chosen


def settle(world: World, seconds: float = 10.0) -> None:
    """Wait until the service has noticed broken uploads."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and any(each.status in ("saving", "importing") for each in world.images()):
        time.sleep(0.05)
