"""The Image APIs that publishing is tested against."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.environments.imageservice import image_service
from tests.integration.publishing.world import Peer


@pytest.fixture(scope="session")
def peer() -> Iterator[Peer]:
    """The bundled service, with an administrator's token."""
    with image_service() as service:
        yield Peer(service.url, "admin-token", ("one",))
