"""The names a service is called by: what a page of another site can make a browser ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.integration.imageservice.api.world import Api

NONE = {"identity": {"kind": "none"}, "listen": "127.0.0.1:9292"}
OURS = ["127.0.0.1:9292", "127.0.0.1", "localhost:9292", "LocalHost.", "[::1]:9292", "127.0.0.2"]
FOREIGN = [
    "evil.example",
    "evil.example:9292",
    "127.0.0.1.evil.example",
    "localhost.evil.example",
    "",
    "[",
    "a@localhost.x",
]
WAYS = [
    ("GET", "/"),
    ("GET", "/versions"),
    ("GET", "/v2/images"),
    ("POST", "/v2/images"),
    ("DELETE", "/v2/images/x"),
    ("GET", "/v1/images"),
    ("GET", "/healthcheck"),
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("OPTIONS", "/v2/images"),
    ("GET", "/nothing"),
    ("BREW", "/"),
]


def _call(api: Api, method: str, path: str, host: str) -> Any:
    return api.client.simulate_request(method, path, headers={"Host": host, "Accept": "application/json"})


@pytest.mark.parametrize("host", FOREIGN)
def test_where_everybody_is_an_administrator_a_foreign_name_gets_nothing(
    make_api: Callable[..., Api], host: str
) -> None:
    api = make_api(**NONE, api={"version_1": True, "cors_origins": ["*"]})
    for method, path in WAYS:
        assert _call(api, method, path, host).status_code == 421, (method, path)


@pytest.mark.parametrize("host", OURS)
def test_a_name_that_is_listened_on_is_answered(make_api: Callable[..., Api], host: str) -> None:
    api = make_api(**NONE)
    assert _call(api, "GET", "/v2/images", host).status_code == 200


def test_further_names_are_the_operators(make_api: Callable[..., Api]) -> None:
    more = {"hosts": ["images.example", "fd00::7"], "public_endpoint": "https://public.example:8443/x"}
    api = make_api(**NONE, api=more)
    for host in ("images.example:9292", "IMAGES.example", "[fd00::7]:9292", "public.example"):
        assert _call(api, "GET", "/v2/images", host).status_code == 200, host
    assert _call(api, "GET", "/v2/images", "example").status_code == 421


def test_elsewhere_a_foreign_name_gets_into_no_link(make_api: Callable[..., Api]) -> None:
    api = make_api(listen="127.0.0.1:9292")
    headers = {"X-Auth-Token": "token-of-alice", "Host": "evil.example"}
    made = api.client.simulate_post("/v2/images", json={}, headers=headers)
    assert made.headers["location"] == made.json["self"]
    versions = api.client.simulate_get("/versions", headers=headers)
    assert "evil" not in versions.text
    assert versions.json["versions"][0]["links"][0]["href"] == "/v2/"
    headers["Host"] = "localhost:9292"
    made = api.client.simulate_post("/v2/images", json={}, headers=headers)
    assert made.headers["location"] == f"http://localhost:9292{made.json['self']}"
