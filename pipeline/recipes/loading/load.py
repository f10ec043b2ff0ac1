"""Load recipe files into frozen recipes: inheritance, variables, matrix, validation; every mistake at once, with its
line.

A recipe folder holds one recipe a file at its top; files in its subfolders are parts to extend, not recipes.
Recipes are outside text: names cannot lead out of the folder, and depth, number and size are bounded.
"""

from __future__ import annotations

import difflib
import itertools
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.recipes.loading import secret_grants
from pipeline.recipes.loading.error_text import problems_in
from pipeline.recipes.loading.inheritance import Overlay, RecipeProblem, YamlNode, plain, tree
from pipeline.recipes.loading.variables import Scalar, Substitution, resolve
from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.recipes.model.recipe import Recipe

NOT_RECIPES = {"nightly"}
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*){0,3}")
_DIRECTIVES = ("extends", "variables", "matrix")
MAX_FILES = 64
MAX_DEPTH = 16
MAX_MATRIX = 64


@dataclass(frozen=True)
class RecipeFolder:
    """A folder of recipes.

    ``allowed`` names further places that a recipe may read files from (media, say). With ``home``, the folder of this
    machine's state, a recipe from elsewhere may name only the secrets that were granted to it there.
    """

    root: Path
    allowed: Sequence[Path] = ()
    home: Path | None = None

    def names(self) -> list[str]:
        """Return the names of all recipes here, sorted."""
        return sorted(file.stem for file in self.root.glob("*.yaml") if file.stem not in NOT_RECIPES)

    def load(self, name: str, overrides: Mapping[str, str] | None = None) -> list[Recipe]:
        """Return the recipe called ``name``, or one recipe for each cell of its matrix.

        ``overrides`` sets variables. Raises ``PipelineError`` that lists every mistake, each with file, line, path
        and what would be valid.
        """
        recipes, problems = self._read(name, overrides or {})
        if problems:
            raise failure(f"recipe {name}", problems)
        return recipes

    def load_all(self, names: Sequence[str], overrides: Mapping[str, str] | None = None) -> list[Recipe]:
        """Return the recipes of all ``names``; mistakes in all of them are reported together."""
        recipes: list[Recipe] = []
        problems: list[RecipeProblem] = []
        for name in dict.fromkeys(names):
            good, bad = self._read(name, overrides or {})
            recipes += good
            problems += bad
        if problems:
            raise failure(f"{'recipe' if len(names) == 1 else 'recipes'} {', '.join(names)}", problems)
        return recipes

    def _read(self, name: str, overrides: Mapping[str, str]) -> tuple[list[Recipe], list[RecipeProblem]]:
        if not (_NAME.fullmatch(name) and (self.root / f"{name}.yaml").is_file()):
            raise self._missing(name)
        files = _RecipeFiles(self.root)
        merged = files.merged(name)
        cells, problems = _cells(merged)
        problems += files.overlay.problems
        recipes = []
        for cell in cells:
            recipe, found = self._build(name, merged, cell, overrides)
            # The same mistake in every cell of a matrix is one mistake.
            problems += [problem for problem in found if problem not in problems]
            recipes += [recipe] if recipe else []
        if self.home is not None and not problems:
            problems += self._denied(name, merged, recipes, files.read, self.home)
        return recipes, problems

    def _denied(
        self, name: str, merged: YamlNode, recipes: Sequence[Recipe], files: Sequence[Path], home: Path
    ) -> list[RecipeProblem]:
        """Return the secrets that a recipe names without having been granted them, where it names its installation."""
        made_of = {
            *files,
            *(each.install.kickstart.path for each in recipes if isinstance(each.install, KickstartInstall)),
        }
        names = {secret for recipe in recipes for secret in recipe.secrets}
        location = merged.value["install"].location
        found = secret_grants.denied(name, names, sorted(made_of), home, recipes=self.root)
        return [RecipeProblem(location, ("install", "subscription"), str(each)) for each in found]

    def _missing(self, name: str) -> PipelineError:
        """Return what to say of a name without a recipe: how a file has to be called, or what there is."""
        plain_name = re.sub(r"\.ya?ml$", "", name)
        right = plain_name.lower()
        if _NAME.fullmatch(right):
            if right != name and (self.root / f"{right}.yaml").is_file():
                return PipelineError(f"there is no recipe {name[:80]!r}", hint=f"its name is {right}")
            for file in (self.root / f"{plain_name}.yaml", self.root / f"{plain_name}.yml", self.root / f"{right}.yml"):
                if file.is_file():
                    return PipelineError(
                        f"{shown(file)} is no recipe by its name: small letters, and .yaml at its end",
                        hint=f"rename it: mv {shlex.quote(shown(file))} {shown(self.root / f'{right}.yaml')}",
                    )
        known = ", ".join(self.names()) or "none"
        return PipelineError(f"there is no recipe {name[:80]!r} in {self.root}", hint=f"recipes: {known}")

    def _build(
        self, name: str, merged: YamlNode, cell: Mapping[str, Scalar], overrides: Mapping[str, str]
    ) -> tuple[Recipe | None, list[RecipeProblem]]:
        full_name = "-".join([name, *(str(value) for value in cell.values())])
        variables = resolve(merged.value.get("variables"), {"name": full_name, **cell}, overrides)
        substitution = Substitution(variables.values)
        body = {key: child for key, child in merged.value.items() if key not in _DIRECTIVES}
        body.setdefault("name", YamlNode(full_name, merged.location))
        root = substitution.apply(YamlNode(body, merged.location))
        problems = [*variables.problems, *substitution.problems]
        try:
            # Kickstarts have a folder of their own next to that of the recipes.
            places = (*self.allowed, self.root.parent / "kickstarts")
            recipe = Recipe.model_validate(plain(root), context={"folder": self.root, "allowed": places})
        except ValidationError as error:
            spoilt = {problem.path for problem in problems}
            found = problems_in(error, Recipe, root)
            return None, [*problems, *(problem for problem in found if problem.path not in spoilt)]
        return (None if problems else recipe), problems


def failure(what: str, problems: Sequence[RecipeProblem]) -> PipelineError:
    """Return one error that lists ``problems`` by file and line."""
    lines = sorted({(problem.location.file, problem.location.line, str(problem)) for problem in problems})
    count = "one mistake" if len(lines) == 1 else f"{len(lines)} mistakes"
    return PipelineError(
        f"{what}: {count}",
        details=[text for _, _, text in lines],
        hint="docs/recipes.md describes every key; editors complete them from recipes/schema.json",
    )


class _RecipeFiles:
    """Reads the files of one recipe and lays them over one another."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.overlay = Overlay()
        self.read: list[Path] = []
        self._merged: dict[str, YamlNode] = {}

    def merged(self, name: str, chain: tuple[str, ...] = ()) -> YamlNode:
        if name not in self._merged:
            self._merged[name] = self._merge(name, chain)
        return self._merged[name]

    def _merge(self, name: str, chain: tuple[str, ...]) -> YamlNode:
        file = self.root / f"{name}.yaml"
        if not file.resolve().is_relative_to(self.root.resolve()):
            raise PipelineError(f"{shown(file)}: this leads out of the recipe folder")
        own = tree(yaml_source.load(file, name=shown(file)))
        self.read.append(file)
        if not own.is_map:
            raise PipelineError(f"{own.location}: a recipe is a mapping of keys to values")
        below: YamlNode | None = None
        for parent in self._parents(own, (*chain, name)):
            layer = self.merged(parent, (*chain, name))
            below = self.overlay.lay(below, _without_extends(layer))
        return self.overlay.lay(below, own)

    def _parents(self, own: YamlNode, chain: tuple[str, ...]) -> list[str]:
        node = own.value.get("extends")
        if node is None or node.value is None:
            return []
        names = []
        for item in node.value if node.is_list else [node]:
            location, parent = item.location, item.value
            if not isinstance(parent, str) or not _NAME.fullmatch(parent):
                raise PipelineError(
                    f"{location}: extends: name a recipe of this folder, in small letters and without '.yaml'"
                )
            if parent in chain:
                raise PipelineError(f"{location}: extends: a circle: {' → '.join([*chain, parent])}")
            if not (self.root / f"{parent}.yaml").is_file():
                missing = f"{location}: extends: there is no {shown(self.root / f'{parent}.yaml')}"
                raise PipelineError(missing, hint=self._meant(parent))
            if len(chain) >= MAX_DEPTH or len(self._merged) >= MAX_FILES:
                raise PipelineError(
                    f"{location}: extends: too many layers (at most {MAX_DEPTH} deep, {MAX_FILES} in all)"
                )
            names.append(parent)
        return names

    def _meant(self, name: str) -> str | None:
        if (self.root / f"{name}.yml").is_file():
            return f"recipes end in .yaml: rename {name}.yml"
        files = itertools.islice(self.root.rglob("*.yaml"), MAX_MATRIX * MAX_FILES)
        close = difflib.get_close_matches(name, [str(file.relative_to(self.root))[:-5] for file in files], 3, 0.5)
        return f"did you mean {' or '.join(close)}?" if close else None


def _without_extends(node: YamlNode) -> YamlNode:
    return YamlNode({key: child for key, child in node.value.items() if key != "extends"}, node.location)


def shown(file: Path) -> str:
    """Return a path as people know it: relative to where they stand, if that is shorter."""
    here = Path.cwd()
    return str(file.absolute().relative_to(here)) if file.absolute().is_relative_to(here) else str(file)


def _cells(merged: YamlNode) -> tuple[list[dict[str, Scalar]], list[RecipeProblem]]:
    """Every combination of the matrix; a recipe without one has a single, empty cell."""
    node = merged.value.get("matrix")
    if node is None:
        return [{}], []
    axes: dict[str, list[Any]] = {}
    problems = []
    for name, child in node.value.items() if node.is_map else ():
        values = plain(child)
        if isinstance(values, list) and values and all(_fits_a_name(value) for value in values):
            axes[name] = values
        else:
            message = "give a list of values that fit into a name: lower case letters, digits and ._-"
            problems.append(RecipeProblem(child.location, ("matrix", name), message))
    if not node.is_map:
        problems.append(RecipeProblem(node.location, ("matrix",), "this must map variables to lists of values"))
    cells = [
        dict(zip(axes, row, strict=True)) for row in itertools.islice(itertools.product(*axes.values()), MAX_MATRIX + 1)
    ]
    if len(cells) > MAX_MATRIX:
        problems.append(RecipeProblem(node.location, ("matrix",), f"more than {MAX_MATRIX} combinations"))
    return cells[:MAX_MATRIX], problems


def _fits_a_name(value: Any) -> bool:
    return (
        isinstance(value, str | int) and not isinstance(value, bool) and bool(re.fullmatch(r"[a-z0-9._-]+", str(value)))
    )
