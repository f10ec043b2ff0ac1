"""What people are told of stores; moving images between them is tested with the image service."""

from __future__ import annotations

import json

import pytest

from pipeline.base.home import Home
from pipeline.cli.handlers import stores


def test_the_embedded_service_needs_no_start_before_its_stores_can_be_seen(
    home: Home, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(home.root))
    stores.show(as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert [(one["store"], one["images"], one["fault"]) for one in found] == [("main", 0, None), ("mirror", 0, None)]
