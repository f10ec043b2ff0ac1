"""The whole service, as it is run, for tests about image data."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.environments.imageservice import ImageService, image_service


@pytest.fixture(scope="module")
def service() -> Iterator[ImageService]:
    """A service for the module. Whatever its clients do, its log holds no traceback."""
    with image_service() as running:
        yield running
        said = running.log.read_text()
        assert "Traceback" not in said, said[-5000:]
