"""The service's start: what it checks, and in which words it tells what is wrong."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pipeline.imageservice import serve
from pipeline.imageservice.settings import Settings


@pytest.mark.parametrize("default", ["local", "shared"])
def test_a_missing_mount_is_named_at_the_start(tmp_path: Path, default: str, caplog: pytest.LogCaptureFixture) -> None:
    mount = tmp_path / "nfs"
    stores = [
        {"id": "local", "directories": [str(tmp_path / "local")]},
        {"id": "shared", "directories": [{"path": str(mount / "images"), "mount": str(mount)}]},
    ]
    settings = Settings.model_validate({"folder": tmp_path / "service", "stores": stores, "default_store": default})
    with caplog.at_level(logging.WARNING):
        serve.prepare(settings)
    [line] = [record.getMessage() for record in caplog.records if "shared" in record.getMessage()]
    assert line.startswith(f"store shared is not mounted: directories of store shared, mount: {mount} does not exist; ")
    assert "leave `mount` out" in line
    assert line.endswith("; the service starts without it")
    assert not mount.exists()
