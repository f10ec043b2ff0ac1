"""What the settings say of identity and quotas."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.imageservice.access.keystone import KeystoneTokens
from pipeline.imageservice.access.options import KeystoneIdentity, QuotaOptions, StaticIdentity, StaticToken
from pipeline.imageservice.access.static import StaticTokens, read_or_make
from pipeline.imageservice.errors import NotAuthenticated


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("7", 7), ("7B", 7), ("7 KB", 7 << 10), ("500MB", 500 << 20), ("2 GB", 2 << 30), ("1TB", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert QuotaOptions(user_storage=text).user_storage_bytes == size


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5GB", "7 kb", "7PB"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="user_storage"):
        QuotaOptions(user_storage=text)


def test_a_token_is_made_once_for_its_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "token"
    token = read_or_make(file)
    assert len(token) > 40
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_or_make(file) == token
    assert [path.name for path in file.parent.iterdir()] == ["token"]


def test_a_token_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    read_or_make(file)
    file.chmod(0o644)
    with pytest.raises(PipelineError, match="can be read by others") as caught:
        read_or_make(file)
    assert f"chmod 600 {file}" in str(caught.value)


def test_an_empty_token_is_none(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.touch(0o600)
    with pytest.raises(PipelineError, match="holds no token"):
        read_or_make(file)


def test_static_tokens(tmp_path: Path) -> None:
    tokens = [
        StaticToken(name="one", token="token-one", user="u1", project="p1", roles=["member"]),
        StaticToken(name="two", token="token-two", user="u2", project="p2", roles=["service"]),
    ]
    identity = StaticTokens(StaticIdentity(tokens=tokens), tmp_path)
    caller = identity.identify({"HTTP_X_AUTH_TOKEN": "token-one"})
    assert (caller.user, caller.project) == ("u1", "p1")
    assert caller.roles == {"member", "reader"}
    assert "token-one" not in repr(caller)
    both = identity.identify({"HTTP_X_AUTH_TOKEN": "token-one", "HTTP_X_SERVICE_TOKEN": "token-two"})
    assert both.service_roles == {"service"}
    assert "service" in both.credentials["roles"]
    for environ in (
        {},
        {"HTTP_X_AUTH_TOKEN": ""},
        {"HTTP_X_AUTH_TOKEN": "token-three"},
        {"HTTP_X_AUTH_TOKEN": "\udcff"},
        {"HTTP_X_AUTH_TOKEN": "token-one", "HTTP_X_SERVICE_TOKEN": "wrong"},
    ):
        with pytest.raises(NotAuthenticated):
            identity.identify(environ)


def test_two_tokens_that_are_the_same(tmp_path: Path) -> None:
    same = [StaticToken(name=name, token="the-same-token") for name in ("one", "two")]
    with pytest.raises(PipelineError, match="two has the same token"):
        StaticTokens(StaticIdentity(tokens=same), tmp_path)


def test_a_token_comes_from_one_place() -> None:
    for fields in ({}, {"token": "long enough", "token_file": "x"}):
        with pytest.raises(ValueError, match="either token or token_file"):
            StaticToken(**fields)


LOGIN = {"auth_url": "http://127.0.0.1:9/v3", "username": "glance", "password": "secret", "project_name": "service"}


def test_options_of_the_identity_service_that_nobody_knows() -> None:
    with pytest.raises(PipelineError, match="'user_nmae'"):
        KeystoneTokens(KeystoneIdentity(options={**LOGIN, "user_nmae": "glance"}))


def test_options_of_the_identity_service_are_taken_without_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    options = {**LOGIN, "auth-type": "password", "memcached_servers": ["127.0.0.1:9"], "token_cache_time": 5}
    KeystoneTokens(KeystoneIdentity(options={**options, "www_authenticate_uri": "http://127.0.0.1:9/v3"}))
    assert not [record for record in caplog.records if record.levelname != "INFO"]
