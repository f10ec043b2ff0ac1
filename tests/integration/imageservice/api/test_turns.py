"""Long requests for metadata are answered by turns, small ones never wait for them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pipeline.imageservice.access.limits import SettingsLimits
from pipeline.imageservice.data.slots.turns import LONG_BODY, Turns
from tests.environments.daemon import wait_until
from tests.integration.imageservice.api.world import PATCH, Api

MAKE = Callable[..., Api]
LONG = [{"op": "add", "path": "/long", "value": "x" * (LONG_BODY)}]


@contextmanager
def somebody_works(api: Api) -> Iterator[Turns]:
    """Another project's long request is being worked on."""
    turns = api.service.slots.turns
    with turns.held("somebody"):
        yield turns


def in_thread(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    return thread, found


@pytest.mark.parametrize("what", ["patch", "create", "namespace"])
def test_a_long_request_waits_for_its_turn_and_small_ones_do_not(make_api: MAKE, what: str) -> None:
    api = make_api()
    path = api.alice.create()
    long = {
        "patch": lambda: api.alice.patch(path, LONG),
        "create": lambda: api.alice.post("/v2/images", {"long": "x" * LONG_BODY}),
        "namespace": lambda: api.admin.post(
            "/v2/metadefs/namespaces", {"namespace": "n", "description": " " * LONG_BODY}
        ),
    }[what]
    with somebody_works(api) as turns:
        thread, found = in_thread(long)
        wait_until(lambda: turns.waiting() == 1, "the long request waits")
        assert api.alice.get(path).status_code == 200
        assert api.alice.patch(path, [{"op": "add", "path": "/short", "value": "x"}]).status_code == 200
        assert api.bob.post("/v2/images", {}).status_code == 201
        assert not found
    thread.join(30)
    assert found[0].status_code in (200, 201, 400)
    with turns.held("somebody"):  # it was given back
        pass


def test_a_turn_is_given_back_whatever_comes_of_the_request(make_api: MAKE) -> None:
    api = make_api()
    path = api.alice.create()
    wrong = [LONG, [*LONG, {"op": "replace", "path": "/none", "value": "x"}], [{"op": "x" * LONG_BODY}]]
    statuses = [api.alice.patch(path, body).status_code for body in wrong]
    statuses.append(
        api.alice.call("PATCH", path, headers={"Content-Type": PATCH}, data=b"[" * (LONG_BODY + 1)).status_code
    )
    assert statuses == [200, 409, 400, 400]
    with somebody_works(api):
        pass


def test_who_asks_for_the_projects_limits_has_no_turn_meanwhile(
    make_api: MAKE, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may be the identity service's, which may not answer."""
    api = make_api(quotas={"source": "settings"})
    others: list[bool] = []

    def of(_self: object, _project: str | None) -> dict[Any, int]:
        thread, found = in_thread(lambda: api.bob.post("/v2/images", {"long": "x" * LONG_BODY}).status_code)
        thread.join(10)
        others.append(bool(found))
        return {}

    monkeypatch.setattr(SettingsLimits, "of", of)
    monkeypatch.setattr(SettingsLimits, "on", property(lambda _self: threading.current_thread() is here))
    here = threading.current_thread()
    assert api.alice.post("/v2/images", {"long": "x" * LONG_BODY}).status_code == 201
    assert others == [True]


def test_more_than_may_wait_are_told_to_come_again(make_api: MAKE) -> None:
    api = make_api(server={"store_threads": 2, "processes": 1})
    path = api.alice.create()
    with somebody_works(api) as turns:
        threads = [in_thread(lambda: api.alice.patch(path, LONG)) for _ in range(2)]
        wait_until(lambda: turns.waiting() == 2, "two wait")
        answer = api.alice.patch(path, LONG)
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "30")
    for thread, found in threads:
        thread.join(30)
        assert found[0].status_code == 200
