"""The service's start: what it checks, and in which words it tells what is wrong."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.imageservice import serve
from pipeline.imageservice.settings import Settings
from tests.environments.daemon import wait_until
from tests.environments.imageservice import image_service


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


@pytest.mark.server
@pytest.mark.parametrize(("level", "lines"), [("info", True), ("warning", False)])
def test_every_process_logs_from_the_level_on(tmp_path: Path, level: str, lines: bool) -> None:
    with image_service(tmp_path, log_level=level) as service:
        assert service.request("GET", "/v2/images").status_code == 200
    log = service.log.read_text()
    assert ("imageservice.access" in log) is lines, log
    assert ("worker ready" in log) is lines
    assert ("Listening at" in log) is lines


def test_commands_log_from_the_level_on(tmp_path: Path) -> None:
    def said(**more: object) -> str:
        mount = str(tmp_path / "nfs")
        stores = [{"id": "far", "directories": [{"path": mount, "mount": mount}]}]
        file = tmp_path / "settings.yaml"
        file.write_text(json.dumps({"folder": str(tmp_path / "state"), "stores": stores, **more}))
        words: list[str | Path] = [sys.executable, "-m", "pipeline.cli", "service.metadefs.unload", "--settings", file]
        return process.run(words, cwd=CHECKOUT, env={"PIPELINE_HOME": str(tmp_path)}).stderr

    assert "WARNING imageservice.serve: store far is not mounted" in said()
    assert "store far" not in said(log_level="error")


@pytest.mark.server
def test_the_scrubber_looks_as_often_as_the_settings_say() -> None:
    with image_service(database={"delayed_delete": True, "scrub_after": 0, "scrub_interval": 1}) as service:
        image = service.create()
        assert service.upload(image, b"data").status_code == 204
        wait_until(lambda: "worker ready" in service.log.read_text(), "the first look is over")
        assert service.request("DELETE", f"/v2/images/{image}").status_code == 204
        wait_until(lambda: not service.files(), "the data is gone", seconds=15)  # the usual interval is longer
