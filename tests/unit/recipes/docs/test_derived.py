"""The schemas and the reference agree with the models, and the shipped recipes with the schemas."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.image.metadefs import page
from pipeline.recipes.docs import derived, reference
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.nightly import Nightly, names

RECIPES = sorted((CHECKOUT / "recipes").rglob("*.yaml"))


@pytest.mark.parametrize("path", list(derived.files(CHECKOUT)), ids=lambda path: path.name)
def test_derived_files_are_up_to_date(path: Path) -> None:
    assert path.read_text() == derived.files(CHECKOUT)[path], "run ./inv schema"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_recipes_fit_their_schema(path: Path) -> None:
    text = path.read_text()
    named = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert named, "the first line names the schema"
    schema = json.loads((path.parent / named[1]).read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(yaml.safe_load(text))


def test_shipped_recipes_load() -> None:
    folder = RecipeFolder(CHECKOUT / "recipes")
    assert folder.load_all(folder.names())
    assert set(names(CHECKOUT / "recipes" / "nightly.yaml")) <= set(folder.names())


def _validate(data: dict[str, Any]) -> list[str]:
    schema = json.loads((CHECKOUT / "recipes" / "schema.json").read_text())
    return [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(data)]


def test_the_schema_knows_what_files_can_say() -> None:
    good = {
        "extends": ["a", "b"],
        "variables": {"x": 1, "y": None},
        "matrix": {"n": [1, "2"]},
        "disk": {"size": "${size}"},
        "customize": {"+packages": ["a", "${kernel}"], "hostname": "host-${n}", "timezone": None},
        "boot_test": None,
        "+products": [{"format": "raw"}],
    }
    assert _validate(good) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"disk": {"siez": "1GiB"}},
        {"disk": {"size": "1 gig"}},
        {"install": {"method": "none"}},
        {"customize": {"+hostname": "x"}},
        {"matrix": {"n": []}},
    ],
)
def test_the_schema_sees_mistakes(wrong: dict[str, Any]) -> None:
    assert _validate(wrong)


def _models(model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[type[BaseModel]]:
    if model in seen:
        return
    seen.add(model)
    yield model
    for field in model.model_fields.values():
        for part in re.findall(r"pipeline\.recipes\.[\w.]+", repr(field.annotation)):
            module, _, name = part.rpartition(".")
            found = getattr(__import__(module, fromlist=[name]), name, None)
            if isinstance(found, type) and issubclass(found, BaseModel):
                yield from _models(found, seen)


def test_every_key_is_described() -> None:
    models = [*_models(Recipe, set()), *_models(Nightly, set())]
    assert len(models) > 10
    bare = [
        f"{model.__name__}.{name}"
        for model in models
        for name, field in model.model_fields.items()
        if not field.description
    ]
    assert bare == []


def test_a_page_without_marks_is_an_error() -> None:
    with pytest.raises(PipelineError, match="lacks the line"):
        reference.refreshed("# Recipes\n")


def test_refresh_writes_what_changed(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "recipes").mkdir()
    (tmp_path / "docs" / "recipes.md").write_text(f"top\n{reference.BEGIN}\nold\n{reference.END}\nend\n")
    (tmp_path / "docs" / "metadefs.md").write_text(f"{page.BEGIN}\n{page.END}\n")
    assert len(derived.refresh(tmp_path)) == 4 + 32
    assert derived.refresh(tmp_path) == []
    text = (tmp_path / "docs" / "recipes.md").read_text()
    assert text.startswith("top\n") and text.endswith("\nend\n") and "| `boot_test` |" in text
    assert "| `os_purpose` | `generic`, `oldgeneric`," in (tmp_path / "docs" / "metadefs.md").read_text()


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("recipes: [a]", "targets: this is missing"),
        ("recipes: a\ntargets: [{cloud: x}]", "recipes: this must be a list"),
        ("recipes: [a]\ntargets: [{clud: x}]", "did you mean 'cloud'"),
    ],
)
def test_mistakes_in_nightly(tmp_path: Path, text: str, mistake: str) -> None:
    file = tmp_path / "nightly.yaml"
    file.write_text(text)
    with pytest.raises(PipelineError) as caught:
        Nightly.load(file)
    assert mistake in str(caught.value)
    with pytest.raises(PipelineError, match="there is no"):
        names(tmp_path / "missing.yaml")
