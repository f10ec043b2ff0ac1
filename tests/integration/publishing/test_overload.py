"""A cloud that says it has too much to do is left alone for as long as it asks, within reason, and then served."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from pipeline.publishing.cloud.errors import CloudUnreachable
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from pipeline.publishing.transaction.transaction import PublishOutcome
from tests.integration.publishing.conftest import Desk, write_clouds
from tests.integration.publishing.faulty_proxy import Fault, FaultyProxy
from tests.integration.publishing.world import Peer

pytestmark = pytest.mark.server


GROWING = (0.5, 1, 2, 4, 8, 16, 30, 30)  # seconds


@dataclass
class Waits:
    """A clock that only sleeping moves."""

    time: float = 1000.0
    pauses: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.time += seconds

    @property
    def retry_policy(self) -> CloudRetryPolicy:
        """By this clock; with attempts enough to see pauses grow."""
        return CloudRetryPolicy(attempts=len(GROWING) + 1, sleep=self.sleep, clock=lambda: self.time)


@dataclass
class Busy:
    """Refuses the first ``count`` requests that are of ``methods``, and notes when each request came."""

    waits: Waits
    fault: Fault
    count: int = 1
    methods: tuple[str, ...] = ("GET", "POST", "PUT", "PATCH", "DELETE")
    came: list[float] = field(default_factory=list)

    def __call__(self, method: str, path: str) -> Fault:
        self.came.append(self.waits.time)
        if method not in self.methods or self.count == 0:
            return Fault.NONE
        self.count -= 1
        return self.fault


@contextmanager
def asking(peer: Peer, busy: Busy, retry_after: str) -> Iterator[ImageApi]:
    """A client of the service behind a relay that tells of overload."""
    with FaultyProxy(peer.url, choose=busy, retry_after=retry_after).running() as proxy:
        yield peer.api(proxy.url, busy.waits.retry_policy)


@pytest.mark.parametrize("fault", [Fault.THROTTLED, Fault.OVERLOADED])
def test_the_pause_that_a_cloud_asks_for_is_kept(peer: Peer, fault: Fault) -> None:
    busy = Busy(Waits(), fault)
    with asking(peer, busy, "20") as api:
        api.stores()
    assert len(busy.waits.pauses) == 1
    assert 20 <= busy.waits.pauses[0] <= 22
    assert busy.came[1] - busy.came[0] >= 20


def test_a_pause_until_a_date_is_kept(peer: Peer) -> None:
    busy = Busy(Waits(), Fault.OVERLOADED)
    with asking(peer, busy, format_datetime(datetime.now(UTC) + timedelta(seconds=250), usegmt=True)) as api:
        api.stores()
    assert 100 <= busy.waits.pauses[0] <= 275


@pytest.mark.parametrize("text", ["999999999", "Fri, 31 Dec 9999 23:59:59 GMT"])
def test_no_cloud_is_waited_for_without_bound(peer: Peer, text: str) -> None:
    busy = Busy(Waits(), Fault.THROTTLED)
    with asking(peer, busy, text) as api:
        api.stores()
    assert busy.waits.retry_policy.heed <= busy.waits.pauses[0] <= 1.1 * busy.waits.retry_policy.heed


@pytest.mark.parametrize("text", ["", "soon", "-5", "1e9", "9" * 5000, "Thu, 01 Jan 1970 00:00:00 GMT"])
def test_a_wish_that_means_nothing_leaves_the_ordinary_pause(peer: Peer, text: str) -> None:
    busy = Busy(Waits(), Fault.OVERLOADED)
    with asking(peer, busy, text) as api:
        api.stores()
    assert len(busy.waits.pauses) == 1
    assert 0.375 <= busy.waits.pauses[0] <= 0.625


def test_pauses_grow_to_a_bound_and_are_never_the_same(peer: Peer) -> None:
    every = []
    for _ in range(2):
        busy = Busy(Waits(), Fault.OVERLOADED, count=100)
        with asking(peer, busy, "") as api, pytest.raises(CloudUnreachable, match="503"):
            api.stores()
        every.append(busy.waits.pauses)
        assert len(busy.came) == len(GROWING) + 1, "each attempt is one request"
        assert all(
            0.75 * least <= pause <= 1.25 * least for pause, least in zip(busy.waits.pauses, GROWING, strict=True)
        )
    assert not set(every[0]) & set(every[1])


def test_an_upload_that_is_refused_for_overload_is_sent_again_in_time(desk: Desk) -> None:
    busy = Busy(Waits(), Fault.OVERLOADED, count=2, methods=("PUT",))
    desk = dataclasses.replace(desk, retry_policy=busy.waits.retry_policy)
    with FaultyProxy(desk.services["here"].url, choose=busy, retry_after="7").running() as proxy:
        write_clouds(Path(desk.home.root.parent / "clouds.yaml"), {"here": (proxy.url, "admin-token")})
        assert desk.publish(desk.build("a")).outcome is PublishOutcome.PUBLISHED
    assert len([pause for pause in busy.waits.pauses if 7 <= pause <= 7.7]) == 2
    assert len([line for line in proxy.log if line.startswith("PUT") and "/file" in line]) == 3
