"""Which secrets the scan looks for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import nothing
from pipeline.host.guestfs import contents
from pipeline.recipes.model.recipe import Recipe
from pipeline.signing.scan import scan as scanning
from pipeline.signing.scan.findings import ScanFinding, ScanReport
from pipeline.steps.scan import SECRETS_FILE, ScanStep
from pipeline.steps.step import Context


def recipe() -> Recipe:
    subscription = {"username": "rhsm-user", "password": "rhsm-password"}
    return Recipe.model_validate(
        {
            "name": "x",
            "os": {"type": "linux", "distro": "rhel", "version": "9"},
            "disk": {"size": "8GiB"},
            "install": {
                "method": "kickstart",
                "kickstart": "ks.cfg",
                "supplied": "the medium",
                "subscription": subscription,
            },
            "products": [{"format": "raw"}],
        }
    )


@pytest.fixture
def secrets(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ks.cfg").write_text("")
    monkeypatch.setenv("PIPELINE_SECRET_RHSM_USER", "me")
    monkeypatch.setenv("PIPELINE_SECRET_RHSM_PASSWORD", "hunter2 and more")
    file = tmp_path / "more"
    file.write_text("one more secret\n")
    file.chmod(0o600)
    monkeypatch.setenv(SECRETS_FILE, str(file))


def scanned(
    home: Home,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    findings: list[ScanFinding],
    offline: Mapping[str, Any] = MappingProxyType({"sealed": True}),
) -> dict[str, Any]:
    """The step's facts, and what the search was given; the search itself is held by tests of its own."""
    given: dict[str, Any] = {}

    def scan_image(*words: Any, **options: Any) -> scanning.ImageScan:
        given.update(options)
        return scanning.ImageScan(ScanReport(findings, [], 1, 1, 1, [], ["a limit"]), [], {"/etc/motd": "0123"})

    monkeypatch.setattr(scanning, "scan_image", scan_image)
    with (tmp_path / "log").open("wb") as log:
        context = Context(
            recipe=recipe(),
            home=home,
            folder=tmp_path,
            disk=tmp_path / "disk",
            products={"raw": tmp_path / "image"},
            evidence=tmp_path,
            log=log,
            progress=nothing,
            accelerator="tcg",
            layers=tmp_path,
            documents=tmp_path,
            facts={"offline": offline},
        )
        return {"facts": ScanStep().run(context), "given": given}


@pytest.mark.usefixtures("secrets")
def test_what_the_recipe_was_given_is_looked_for(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = scanned(home, tmp_path, monkeypatch, [])
    assert found["given"]["secrets"] == [b"hunter2 and more", b"one more secret"]
    # What is too short is not looked for, and the report says so.
    assert found["facts"]["report"]["not_covered"] == ["the secret rhsm-user: too short to tell from chance", "a limit"]
    assert "hunter2" not in json.dumps(found["facts"])
    assert contents.unpack(found["facts"]["files"]) == {"/etc/motd": "0123"}


@pytest.mark.usefixtures("secrets")
def test_secrets_stand_in_keys_by_name_and_generation(home: Home) -> None:
    told = ScanStep().inputs(recipe())
    assert told["secrets"] == ["rhsm-password (generation 1)", "rhsm-user (generation 1)"]


@pytest.mark.usefixtures("secrets")
@pytest.mark.parametrize(
    ("offline", "said"),
    [
        ({"sealed": True}, False),
        ({"sealed": False, "scrub": {"/dev/sda1": "zerofree"}}, False),
        ({"sealed": False, "scrub": {"/dev/sda1": "zerofree", "/dev/sda2": "not covered"}}, True),
        ({"sealed": False}, True),
    ],
)
def test_free_space_that_was_not_scrubbed_is_told(
    home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, offline: dict[str, Any], said: bool
) -> None:
    report = scanned(home, tmp_path, monkeypatch, [], offline)["facts"]["report"]
    assert any("was not scrubbed" in each for each in report["not_covered"]) is said


@pytest.mark.usefixtures("secrets")
def test_findings_end_the_build(home: Home, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PipelineError, match="gives away 1 secret"):
        scanned(home, tmp_path, monkeypatch, [ScanFinding("/x", "private-key", "a key", "remove it")])
