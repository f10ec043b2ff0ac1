"""The Keystone fixture: its users have their roles, its catalogue and its short-lived tokens are real."""

import time

import pytest
import requests

from tests.environments.keystone import Keystone

pytestmark = pytest.mark.server


def show(keystone: Keystone, token: str) -> requests.Response:
    headers = {"X-Auth-Token": keystone.token("glance"), "X-Subject-Token": token}
    return requests.get(f"{keystone.url}/auth/tokens", headers=headers, timeout=30)


@pytest.mark.parametrize(
    ("user", "project", "roles"),
    [
        ("demo", "demo", {"member", "reader"}),
        ("reader", "demo", {"reader"}),
        ("alt", "alt", {"member", "reader"}),
        ("glance", "service", {"service", "admin", "manager", "member", "reader"}),
    ],
)
def test_users_have_their_roles(keystone: Keystone, user: str, project: str, roles: set[str]) -> None:
    token = show(keystone, keystone.token(user)).json()["token"]
    assert token["project"]["name"] == project
    assert {role["name"] for role in token["roles"]} == roles


def test_image_endpoint_is_replaced(keystone: Keystone) -> None:
    for url in ("http://127.0.0.1:1", "http://127.0.0.1:2"):
        keystone.set_endpoint("image", url)
        with keystone.connect("demo") as connection:
            assert connection.endpoint_for("image") == url


def test_short_token_ends(keystone: Keystone) -> None:
    token = keystone.short_token(4)
    assert show(keystone, token).status_code == 200
    time.sleep(5)
    assert show(keystone, token).status_code == 404
