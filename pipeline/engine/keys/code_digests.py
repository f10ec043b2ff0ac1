"""Tell the code of a step as its key holds it: digests of definitions, of data files, and versions of packages.

Finding them takes about as long as all the rest of a plan, so they are remembered in the cache as long as no file of
the product changes.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

from pipeline.base import atomic, json_text
from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.keys.closure import Closure, Tree
from pipeline.steps.step import Step

_PRODUCT = "pipeline"
_CODE = {".py", ".pyc"}
_FILE = "code-digests.json"


def of(step: Step) -> dict[str, str]:
    """Return what can change what ``step`` makes: name of a definition, file or package → its digest or version.

    It is that of when it was asked for first: as long as a process lives it runs the code that it has loaded.
    """
    module, name = type(step).__module__, type(step).__qualname__.partition(".")[0]
    found, packages = _remembered(f"{module}.{name}")
    return {**found, **{f"package {package}": _version(package) for package in packages}}


def find(step: str, tree: Tree) -> tuple[dict[str, str], list[str]]:
    """Return the digests of what a step, by its qualified name, uses of a checkout; and the packages it uses."""
    closure = Closure(tree, step)
    files = {file for folder in closure.folders for file in folder.rglob("*") if file.is_file()}
    data = {str(file.relative_to(tree.root)): _digest(file) for file in files if file.suffix not in _CODE}
    return {**closure.digests, **data}, sorted(closure.packages)


@functools.cache
def _remembered(step: str) -> tuple[dict[str, str], list[str]]:
    if not step.startswith(f"{_PRODUCT}."):
        return find(step, _tree(step.partition(".")[0]))
    file, stamp = Home.default().cache / _FILE, _stamp()
    known: dict[str, Any] = {}
    try:
        held = json_text.loads(file.read_bytes())
        known = held["steps"] if held["stamp"] == stamp else {}
        digests, packages = known[step]
        return dict(digests), list(packages)
    except (OSError, ValueError, LookupError, TypeError):
        found = find(step, _tree(_PRODUCT))
    try:
        atomic.write_text(file, json.dumps({"stamp": stamp, "steps": {**known, step: found}}))
    except OSError:
        pass  # a cache that nobody may write to only costs time
    return found


@functools.cache
def _tree(package: str) -> Tree:
    return Tree(CHECKOUT, own={_PRODUCT, package})


@functools.cache
def _stamp() -> str:
    """Return a digest of every file of the product."""
    digest = hashlib.sha256()
    for file in sorted((CHECKOUT / _PRODUCT).rglob("*")):
        if file.suffix != ".pyc" and file.is_file():
            digest.update(f"{file.relative_to(CHECKOUT)} {file.stat().st_size}\n".encode())
            digest.update(file.read_bytes())
    return digest.hexdigest()


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()[:32]


@functools.cache
def _version(package: str) -> str:
    """Return the distributions with files of a package, and versions; without any, a digest of its first file."""
    found = importlib.util.find_spec(package)
    if found is None:
        return "not installed"
    named = [name for name, record in _records() if f"\n{package}/" in record or f"\n{package}." in record]
    if named:
        return ", ".join(sorted(named))
    return _digest(Path(found.origin)) if found.origin and Path(found.origin).is_file() else "of unknown version"


@functools.cache
def _records() -> list[tuple[str, str]]:
    """Return what is installed, as ``name-version``, and the list of its files (PEP 376); metadata takes far longer."""
    lists = [file for place in sys.path for file in Path(place or ".").glob("*.dist-info/RECORD")]
    return [(file.parent.name.removesuffix(".dist-info"), f"\n{file.read_text(errors='replace')}") for file in lists]
