"""Decide whether a recipe may use the secrets that it names.

A recipe of this checkout (git tracks it and every file it is made of) was read by whoever committed it. One from
elsewhere could name any secret of this machine and send it where it likes; the machine's owner grants it each secret by
name, in the file ``secrets.allow`` of the home.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.host.system import process

FILE = "secrets.allow"


@dataclass(frozen=True)
class Denied:
    """A secret that a recipe names and was not granted, and what to write where to grant it."""

    recipe: str
    secret: str
    file: Path

    def __str__(self) -> str:
        """Say it as one line of a list of mistakes."""
        return (
            f"the secret {self.secret} was not granted to this recipe, which is not committed here; if you trust it "
            f"and its kickstart, write '{self.recipe}: [{self.secret}]' into {self.file}"
        )


def denied(
    recipe: str, secrets: Iterable[str], files: Iterable[Path], home: Path, *, recipes: Path
) -> Iterator[Denied]:
    """Yield the ``secrets`` that ``recipe``, made of ``files``, may not use. ``recipes``: the folder of our recipes.

    Raises ``PipelineError`` when the list of grants is none, or can be written by others.
    """
    requested = sorted(set(secrets))
    if not requested or all(_is_committed(file, recipes) for file in files):
        return
    granted = _granted(home / FILE).get(recipe, set())
    yield from (Denied(recipe, secret, home / FILE) for secret in requested if secret not in granted)


def _is_committed(file: Path, folder: Path) -> bool:
    """Whether the checkout that ``folder`` lies in has committed exactly these bytes under this file's own place.

    A checkout within it may be anybody's: its settings could have git run programs, so that git is never called there.
    """
    git = ["git", "-c", "safe.directory=*", "-C", str(folder)]
    top = process.run([*git, "rev-parse", "--show-toplevel"], check=False, timeout=30)
    root, place = Path(top.stdout.removesuffix("\n")).resolve(), file.resolve()
    if top.status != 0 or not place.is_relative_to(root):
        return False
    committed = process.run(
        [*git, "rev-parse", "--verify", "--quiet", f"HEAD:{place.relative_to(root)}"], check=False, timeout=30
    )
    found = process.run([*git, "hash-object", "--no-filters", "--", place], check=False, timeout=30)
    return committed.status == found.status == 0 and committed.stdout == found.stdout


def _granted(file: Path) -> dict[str, set[str]]:
    if not file.exists():
        return {}
    if file.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PipelineError(f"{file} can be written by others", hint=f"chmod go-w {file}")
    content = yaml_source.load(file).data
    if content is None:
        return {}
    if not isinstance(content, dict) or not all(
        isinstance(names, list) and all(isinstance(name, str) for name in names) for names in content.values()
    ):
        raise PipelineError(
            f"{file}: this maps recipes to lists of secrets", hint="for example: 'my-recipe: [my-secret]'"
        )
    return {str(recipe): set(names) for recipe, names in content.items()}
