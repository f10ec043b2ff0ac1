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
from pipeline.engine.result import BuildResult
from pipeline.publishing import release
from pipeline.publishing.clock import Clock
from pipeline.publishing.delivery import Choice, Delivery, Sender, deliver
from pipeline.publishing.image_api import ImageApi
from pipeline.publishing.image_record import ImageRecord
from pipeline.publishing.marks import Chain, Part
from pipeline.publishing.patience import Patience
from pipeline.recipes.model import Recipe
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
    patience: Patience = field(default_factory=hurried)

    def build(self, content: str, **more: Any) -> BuildResult:
        """A build of the recipe; the services get to know the certificate of its signature."""
        build = made.build(self.home, self.recipe, content, **more)
        for service in self.services.values() if self.home.certificates.is_dir() else ():
            shutil.copytree(self.home.certificates, service.folder / "certificates", dirs_exist_ok=True)
        return build

    @property
    def sender(self) -> Sender:
        """A new run."""
        return Sender(self.home, uuid.uuid4().hex[:12], Clock(self.now), patience=self.patience)

    def publish(self, build: BuildResult, cloud: str = "here", choice: Choice | None = None, **target: Any) -> Delivery:
        """Publish a build to a cloud."""
        sender = self.sender
        offer = release.of_build(build, self.home, sender.publisher, self.now)
        return deliver(offer, Target(**{"cloud": cloud, "stores": STORES, **target}), sender, choice)

    def api(self, cloud: str = "here") -> ImageApi:
        """The cloud."""
        return self.sender.connect(cloud)

    def images(self, cloud: str = "here", part: Part = Part.DISK) -> list[ImageRecord]:
        """The recipe's images there, oldest first."""
        chain = Chain(self.sender.publisher, self.recipe.name, part)
        return sorted(self.api(cloud).images(**chain.filters), key=lambda each: each.age_key)

    def newest(self, cloud: str = "here") -> ImageRecord:
        """What consumers get."""
        return next(self.api(cloud).visible(name=self.recipe.image_name))


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
