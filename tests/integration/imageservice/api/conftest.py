"""The API in this process, over each of the databases, with people of different projects and roles."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from falcon import testing

from pipeline.base import yaml_source
from pipeline.imageservice.app import create_app
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings
from tests.integration.imageservice.api.world import Api, Person

KINDS = [
    "sqlite",
    pytest.param("postgresql", marks=pytest.mark.server),
    pytest.param("mariadb", marks=pytest.mark.server),
]

# name → project (of the test's own) and roles
PEOPLE = {
    "admin": ("cloud", ["admin"]),
    "alice": ("a", ["member"]),
    "anna": ("a", ["member"]),
    "rita": ("a", ["reader"]),
    "bob": ("b", ["member"]),
    "carl": ("c", ["member"]),
    "nova": ("services", ["service", "member"]),
}


@pytest.fixture(scope="module", params=KINDS)
def database_url(request: pytest.FixtureRequest) -> Iterator[str]:
    """A database with the newest schema, for the module."""
    folder = Path(tempfile.mkdtemp(prefix="image-service-"))
    try:
        if request.param == "sqlite":
            url = f"sqlite:///{folder}/catalog.db"
            service = Service.from_settings(_settings({"folder": str(folder)}))
            migrate.upgrade(service.database)
            service.close()
            yield url
        else:
            with request.getfixturevalue(f"{request.param}_server").database() as url:
                service = Service.from_settings(_settings({"folder": str(folder), "database": {"url": url}}))
                migrate.upgrade(service.database)
                service.close()
                yield url
    finally:
        shutil.rmtree(folder)


def _settings(data: dict[str, Any]) -> Settings:
    return Settings.parse(yaml_source.loads(yaml.safe_dump(data), name="settings.yaml"))


@pytest.fixture
def make_api(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Api]]:
    """Make a service with further settings. Projects are new for each test, so that lists show its images only."""
    services: list[Service] = []
    suffix = uuid.uuid4().hex[:8]

    def make(**more: Any) -> Api:
        tokens = [
            {"name": name, "token": f"token-of-{name}", "user": name, "project": f"{project}-{suffix}", "roles": roles}
            for name, (project, roles) in PEOPLE.items()
        ]
        data = {
            "folder": str(tmp_path / "service"),
            "listen": "0.0.0.0:9292",  # the client here calls the service by a name of its own
            "database": {"url": database_url},
            "identity": {"kind": "static", "tokens": tokens},
            **more,
        }
        service = Service.from_settings(_settings(data))
        services.append(service)
        for store in [service.staging, *service.stores]:
            store.check()
        api = Api(testing.TestClient(create_app(service)), service, suffix)
        for name, (project, _roles) in PEOPLE.items():
            api.people[name] = Person(api, name, f"{project}-{suffix}", f"token-of-{name}")
        api.people["nobody"] = Person(api, "nobody", "", None)
        return api

    yield make
    _leave_nothing_public(make())
    for service in services:
        service.close()


def _leave_nothing_public(api: Api) -> None:
    """Public images would stand in the lists of the next test."""
    for hidden in ("true", "false"):
        for image_id in api.admin.ids(f"visibility=public&os_hidden={hidden}"):
            hide = [{"op": "replace", "path": "/visibility", "value": "private"}]
            assert api.admin.patch(f"/v2/images/{image_id}", hide).status_code == 200


@pytest.fixture
def api(make_api: Callable[..., Api]) -> Api:
    """The service with nothing set."""
    return make_api()
