"""Every example of YAML and JSON in the documents is what the program takes that it is for, by its first key."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.base import yaml_source
from pipeline.base.home import CHECKOUT
from pipeline.imageservice.access import rules
from pipeline.imageservice.access.policy import AccessPolicy
from pipeline.imageservice.api.tasks import checked_input
from pipeline.imageservice.settings import Settings
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Nightly

PAGES = [*sorted((CHECKOUT / "docs").glob("*.md")), *(CHECKOUT / name for name in ("README.md", "CONTRIBUTING.md"))]
_FENCE = re.compile(r"^ *```(?:yaml|json)[^\n]*\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
_STORE_IN_TEXT = re.compile(r"`(\{id: [^`]*\})`")
_FILE = re.compile(r"(?<![\w:/.])/(?:etc|run)/[\w./-]+")
_SWIFT = "[ref1]\nauth_address = https://identity.example.org/v3\nuser = service:glance\nkey = secret\n"


def examples() -> Iterator[tuple[str, str]]:
    """Where each stands, and its text."""
    for page in PAGES:
        text = page.read_text()
        for kind in (_FENCE, _STORE_IN_TEXT):
            for match in kind.finditer(text):
                yield f"{page.name}:{text.count(chr(10), 0, match.start()) + 1}", match[1]
    file = CHECKOUT / "docs" / "image-service" / "container.yaml"
    yield file.name, file.read_text()


def first_key(data: Any) -> str:
    """What says which program an example is for."""
    one = data[0] if isinstance(data, list) else data
    return str(next(iter(one)))


def check_settings(text: str, folder: Path, data: Any) -> None:
    """The files that it names are made first."""
    for name in sorted(set(_FILE.findall(text)), key=len, reverse=True):
        file = folder / name.lstrip("/")
        if not file.exists():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(_SWIFT)
            file.chmod(0o600)
    text = _FILE.sub(lambda match: str(folder / match[0].lstrip("/")), text)
    if isinstance(data, list) or "id" in data:
        text = json.dumps({"stores": yaml.safe_load(text) if isinstance(data, list) else [yaml.safe_load(text)]})
    Settings.parse(yaml_source.loads(text, name="example"))


def check_recipe(text: str, folder: Path, data: Any) -> None:
    """Beside those that come with the pipeline, which it may extend; what it leaves out is of the smallest one."""
    for name in ("recipes", "kickstarts"):
        shutil.copytree(CHECKOUT / name, folder / name)
    for name in re.findall(r"\bmedia/[\w.-]+", text):  # what a person has to bring along
        (folder / "recipes" / name).parent.mkdir(exist_ok=True)
        (folder / "recipes" / name).touch()
    lines = text if "extends" in data else f"extends: tiny\n{text}"
    if "matrix" in data:
        lines += "name: ${name}-${release}-${flavour}\n"
    (folder / "recipes" / "example.yaml").write_text(lines)
    assert RecipeFolder(folder / "recipes").load("example")


def check_night(text: str, folder: Path, data: Any) -> None:
    """As part of the night's run that comes with the pipeline."""
    file = folder / "nightly.yaml"
    usual = yaml.safe_load((CHECKOUT / "recipes" / "nightly.yaml").read_text())
    file.write_text(yaml.safe_dump({**usual, **data}))
    Nightly.load(file)


@pytest.mark.parametrize("text", [pytest.param(text, id=where) for where, text in examples()])
def test_an_example_is_taken_by_what_it_is_for(text: str, tmp_path: Path) -> None:
    data = yaml_source.loads(text).data
    key = first_key(data)
    if key == "type":
        assert checked_input(json.loads(text))
    elif key in {rule.name for rule in rules.ALL}:
        (tmp_path / "policy.yaml").write_text(text)
        assert not AccessPolicy(tmp_path / "policy.yaml").is_default(key)
    elif key in Settings.model_fields or key == "id":
        check_settings(text, tmp_path, data)
    elif key in Nightly.model_fields and key not in Recipe.model_fields:
        check_night(text, tmp_path, data)
    else:
        assert key in Recipe.model_fields or key in ("extends", "matrix", "variables"), key
        check_recipe(text, tmp_path, data)


def test_there_are_examples() -> None:
    assert len(list(examples())) >= 18


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_fence_says_its_language(page: Path) -> None:
    """Or an example could be left out by having none."""
    fences = re.findall(r"^ *```(\S*)", page.read_text(), re.MULTILINE)
    for opened in fences[::2]:
        assert opened in {"", "sh", "yaml", "json", "python", "diff", "ini", "text", "console"}, opened
