"""What a step's key holds of its code: remembered while nothing changes; held against what really runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.engine.keys import code_digests, definitions
from pipeline.steps.claims import ClaimsStep
from tests.environments import traced_steps


@pytest.fixture(autouse=True)
def forgetful(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A process that has not looked yet, with a cache of its own; returns the file of it."""
    monkeypatch.setenv("PIPELINE_CACHE", str(tmp_path))
    for each in (code_digests._remembered, code_digests._tree, code_digests._stamp):
        each.cache_clear()
    return tmp_path / "code-digests.json"


def _again() -> dict[str, str]:
    code_digests._remembered.cache_clear()
    code_digests._tree.cache_clear()
    return code_digests.of(ClaimsStep())


def test_nothing_is_parsed_again_while_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    found = code_digests.of(ClaimsStep())
    parsed: list[str] = []
    monkeypatch.setattr(definitions.Module, "__init__", lambda self, name, path: parsed.append(name))
    assert _again() == found
    assert parsed == []


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"stamp": "of another time", "steps": {}}', '{"stamp": 5}', '{"steps": {"x": 1}}']
)
def test_a_file_that_tells_nothing_is_made_anew(forgetful: Path, text: str) -> None:
    found = code_digests.of(ClaimsStep())
    held = forgetful.read_bytes()
    forgetful.write_text(text)
    assert _again() == found
    assert forgetful.read_bytes() == held


def test_a_changed_file_is_noticed(forgetful: Path) -> None:
    code_digests.of(ClaimsStep())
    held = json.loads(forgetful.read_bytes())
    name = "pipeline.steps.claims.ClaimsStep"
    held["steps"][name][0] = {"pipeline.made.up": "0"}
    forgetful.write_text(json.dumps(held))
    assert "pipeline.made.up" in _again(), "it is what is believed"
    forgetful.write_text(json.dumps({**held, "stamp": "that of other files"}))
    assert "pipeline.made.up" not in _again()


def test_packages_are_told_with_their_versions() -> None:
    assert code_digests._version("yaml").lower().startswith("pyyaml-")
    assert code_digests._version("qemu").startswith("qemu")
    assert code_digests._version("no_such_package") == "not installed"


def test_code_that_runs_but_is_not_held_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The guard over all tests that run steps, on a key with a hole."""
    from pipeline.image import claims, vocabulary

    with traced_steps.watching() as (codes, files):
        claims.derive(claims.InspectedGuest())
        vocabulary._FILE.read_text()
    step, listed = ClaimsStep(), "pipeline/image/vocabulary.yaml"
    assert traced_steps.outside(step, codes, files) == {listed}
    held = code_digests.of(step)
    monkeypatch.setattr(code_digests, "of", lambda step: {name: held[name] for name in held if "claims." not in name})
    assert traced_steps.outside(step, codes, set()) == {
        "pipeline.image.claims.derive",
        "pipeline.image.claims._version",
    }
