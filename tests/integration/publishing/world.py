"""One recipe, several runners, and a consumer who looks at every moment: what the transaction tests stand on."""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import openstack

from pipeline.base.errors import PipelineError
from pipeline.publishing import marks, publication, retention, withdrawal
from pipeline.publishing.chain_publication import ChainPublication
from pipeline.publishing.http import Http
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.journal import Journal
from pipeline.publishing.marks import Chain, State
from pipeline.publishing.patience import Patience
from pipeline.publishing.publication import Outcome, Terms
from pipeline.publishing.rotation import Rotation
from pipeline.publishing.situation import Viewpoint, look
from pipeline.publishing.wanted import Wanted
from pipeline.recipes.upkeep import Retention
from pipeline.signing.certificates import LocalCertificates
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy, Killed


@dataclass(frozen=True)
class Peer:
    """An Image API to publish to: its root URL, an administrator's token, two stores."""

    url: str
    token: str
    stores: tuple[str, ...]

    def connection(self, url: str | None = None) -> Any:
        """openstacksdk's connection to it, or to what stands before it."""
        return openstack.connection.Connection(
            auth_type="admin_token", auth={"endpoint": f"{url or self.url}/v2", "token": self.token}
        )

    def api(self, url: str | None = None, patience: Patience | None = None) -> ImageApi:
        """Its image service as publishing sees it."""
        return ImageApi(Http(self.connection(url).image, "test", patience or hurried()))


def hurried() -> Patience:
    """Tries often and waits for nothing that a healthy service needs no time for."""
    return Patience(attempts=3, first=0.01, longest=0.02, settle=20.0, poll=0.02)


class _MortalAdapter:
    """openstacksdk's adapter in a process that may die."""

    def __init__(self, adapter: Any, proxy: FaultyProxy) -> None:
        self._adapter = adapter
        self._proxy = proxy

    def request(self, url: str, method: str, **options: Any) -> Any:
        if self._proxy.dead:
            raise Killed
        try:
            return self._adapter.request(url, method, **options)
        finally:
            if self._proxy.dead:
                raise Killed


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
    now: datetime = field(default_factory=lambda: datetime.now(UTC))
    _runs: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.consumer = self.peer.api()

    @property
    def chain(self) -> Chain:
        """The images this world is about."""
        return Chain(marks.DEFAULT_PUBLISHER, self.recipe)

    # --- the consumer ---

    def watch(self) -> None:
        """Look as a consumer does: the newest public image of the stable name."""
        found = list(self.consumer.visible(name=self.recipe))
        if not found:
            assert not self.began, "consumers find no image any more"
            return
        self.began = True
        newest = found[0]
        assert len(found) <= 2, f"consumers find {len(found)} images: {[each.id for each in found]}"
        assert newest.is_active, f"the newest image is {newest.status}"
        assert newest.visibility == self.visibility
        assert newest.sha512 in self.good, "the newest image holds bytes nobody built"
        assert newest.properties.get(marks.VERIFIED_AT), "the newest image was never verified"
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
        found = list(self.consumer.visible(name=self.recipe))
        assert len(found) == 1
        images = self.images()
        assert [each.id for each in images if each.state is State.NEWEST] == [found[0].id]
        assert not [each for each in images if each.state is State.UPLOADING]
        assert not [each for each in images if not each.is_active]

    # --- the runners ---

    def file(self, content: str) -> Path:
        """A file of some blocks that only ``content`` decides."""
        path = self.folder / f"{content}.raw"
        if not path.is_file():
            path.write_bytes(hashlib.sha256(content.encode()).digest() * 8192)
        self.good[hashlib.sha512(path.read_bytes()).hexdigest()] = content
        return path

    def wanted(self, content: str, **more: Any) -> Wanted:
        """The image of ``content``."""
        path = self.file(content)
        data = path.read_bytes()
        given: dict[str, Any] = {
            "chain": self.chain,
            "name": self.recipe,
            "version": f"{marks.version_stamp(datetime.now(UTC))}-{next(self._runs)}",
            "path": path,
            "size": len(data),
            "sha512": hashlib.sha512(data).hexdigest(),
            "disk_format": "raw",
            "container_format": "bare",
            "visibility": self.visibility,
            "properties": {"os_distro": "cirros"},
        }
        return Wanted(**{**given, **more})

    def publish(
        self,
        content: str,
        *,
        proxy: FaultyProxy | None = None,
        runner: str = "one",
        terms: Terms | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Outcome | None:
        """One run of one runner; ``None`` when it was killed, ``Outcome.FAILED`` when it gave up with an error."""
        part = ChainPublication(
            api=self._api(proxy),
            wanted=self.wanted(content, **({"properties": properties} if properties else {})),
            journal=self._journal(runner),
            view=Viewpoint(runner, self.now),
            certificates=LocalCertificates(self.folder),
            stores=self.peer.stores,
        )
        try:
            return publication.publish([part], terms or Terms())[0].outcome
        except PipelineError:
            return Outcome.FAILED
        except Killed:
            return None

    def rotate(self, limits: Retention, *, proxy: FaultyProxy | None = None, runner: str = "one") -> None:
        """Delete what ``limits`` let go; what that may be is worked out here, from what is there, beforehand."""
        view = Viewpoint(runner, self.now)
        situation = look(self.chain, self.images(), view)
        self.may_go |= {each.record.id for each in retention.decide(situation, limits, self.now) if not each.stays}
        rotation = Rotation(self._api(proxy), self.chain.publisher, self.recipe, limits, view, self._journal(runner))
        with contextlib.suppress(PipelineError, Killed):
            rotation.run(delete=True)

    def withdraw(self, *, proxy: FaultyProxy | None = None, runner: str = "one") -> bool:
        """Take the newest image back; whether that was done."""
        try:
            withdrawal.withdraw(
                self._api(proxy),
                self.chain,
                Viewpoint(runner, self.now),
                self._journal(runner),
                why="a test",
                protected=False,
            )
        except (PipelineError, Killed):
            return False
        return True

    def _api(self, proxy: FaultyProxy | None) -> ImageApi:
        adapter = self.peer.connection(proxy.url if proxy else None).image
        return ImageApi(Http(_MortalAdapter(adapter, proxy) if proxy else adapter, "test", hurried()))

    def _journal(self, runner: str) -> Journal:
        return Journal(self.folder / f"{runner}.jsonl", f"{runner}-{next(self._runs)}")


class Faults:
    """Faults at given requests, counted from 0; every other request is left alone."""

    def __init__(self, plan: Mapping[int, Fault]) -> None:
        self.plan = plan
        self.count = -1

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
