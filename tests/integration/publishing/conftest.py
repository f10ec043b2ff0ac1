"""The Image APIs that publishing is tested against, and a desk to publish from."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.base.home import Home
from pipeline.engine.record.result import BuildResult
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.owners import Owners
from pipeline.publishing.cloud.ownership_marker import Chain, ImagePart
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.cloud.retry import CloudRetryPolicy
from pipeline.publishing.plan.clock import Clock
from pipeline.publishing.plan.plan import PublishOptions
from pipeline.publishing.publish_one import PublishResult, publish_one
from pipeline.publishing.sender import Sender
from pipeline.publishing.sources import build as build_source
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Target
from tests.environments.imageservice import ImageService, image_service
from tests.integration.publishing import made
from tests.integration.publishing.world import Peer, hurried

STORES = ("one", "two")


@pytest.fixture(scope="session")
def service() -> Iterator[ImageService]:
    """The bundled service."""
    with image_service() as running:
        yield running


@pytest.fixture(scope="session")
def other_service() -> Iterator[ImageService]:
    """Another cloud."""
    with image_service() as running:
        yield running


@pytest.fixture(scope="session")
def peer(service: ImageService) -> Peer:
    """The bundled service as an Image API like any other, with an administrator's token."""
    return Peer(service.url, "admin-token", STORES)


@dataclass
class Desk:
    """Publishes one recipe from one home to the clouds of the operator's ``clouds.yaml``."""

    home: Home
    services: dict[str, ImageService]
    recipe: Recipe
    now: datetime
    retry_policy: CloudRetryPolicy = field(default_factory=hurried)
    projects: dict[str, str] = field(default_factory=lambda: {"as-alice": "alice", "as-bob": "bob"})

    def build(self, content: str, **more: Any) -> BuildResult:
        """A build of the recipe; the services get to know the certificate of its signature."""
        build = made.build(self.home, self.recipe, content, **more)
        for service in self.services.values() if self.home.certificates.is_dir() else ():
            shutil.copytree(self.home.certificates, service.folder / "certificates", dirs_exist_ok=True)
        return build

    @property
    def sender(self) -> Sender:
        """A new run."""
        return Sender(self.home, uuid.uuid4().hex[:12], Clock(self.now), retry_policy=self.retry_policy)

    def publish(
        self, build: BuildResult, cloud: str = "here", options: PublishOptions | None = None, **target: Any
    ) -> PublishResult:
        """Publish a build to a cloud."""
        sender = self.sender
        source = build_source.of_build(build, self.home, sender.publisher, self.now)
        return publish_one(source, Target(**{"cloud": cloud, "stores": STORES, **target}), sender, options)

    def api(self, cloud: str = "here") -> ImageApi:
        """The cloud, as somebody who knows the token's project: that of the user of the same name."""
        api = self.sender.connect(cloud)
        return api if api.owners.are_known else api.known_as(Owners(self.projects.get(cloud, "admin")))

    def images(self, cloud: str = "here", part: ImagePart = ImagePart.DISK) -> list[ImageRecord]:
        """The recipe's images there, oldest first."""
        chain = Chain(self.sender.publisher, self.recipe.name, part)
        return sorted(self.api(cloud).images(**chain.filters), key=lambda each: each.age_key)

    def newest(self, cloud: str = "here") -> ImageRecord:
        """What consumers get."""
        return max(self.api(cloud).shown(name=self.recipe.image_name), key=lambda each: each.age_key)


def write_clouds(file: Path, clouds: dict[str, tuple[str, str]]) -> None:
    """The operator's ``clouds.yaml``: name → URL and token."""
    entries = {
        name: {"auth_type": "admin_token", "auth": {"endpoint": f"{url}/v2", "token": token}}
        for name, (url, token) in clouds.items()
    }
    file.write_text(yaml.safe_dump({"clouds": entries}))


@pytest.fixture
def desk(home: Home, service: ImageService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Desk:
    """An administrator on the cloud ``here``, alice (a member) on ``as-alice``."""
    file = tmp_path / "clouds.yaml"
    write_clouds(file, {"here": (service.url, "admin-token"), "as-alice": (service.url, "alice-token")})
    monkeypatch.setenv("OS_CLIENT_CONFIG_FILE", str(file))
    name = f"tiny-{uuid.uuid4().hex[:8]}"
    return Desk(home, {"here": service}, made.recipe(name), datetime.now(UTC))
