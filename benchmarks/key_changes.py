"""How often the code in steps' keys changed in the past: by definition, by file, by the lists that were kept by hand.

    python -m benchmarks.key_changes [--last N] [--until COMMIT] [--hand] [--show STEP]

Reads the checkout's own history. By file, a key holds every module that is imported below the step's; by definition,
what ``engine.keys.closure`` follows. ``--hand`` also runs each commit's own code for its lists (``sources()``, some
seconds a commit). ``--show`` names the definitions behind each change of a step. A commit that the lists by hand did
not notice, but definitions do, is a miss of theirs. Ends with 1 if definitions change more than a third as often as
files.
"""

from __future__ import annotations

import argparse
import ast
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pipeline.base.home import CHECKOUT
from pipeline.engine.keys import code_digests
from pipeline.engine.keys.closure import Tree
from pipeline.engine.keys.without_effect import WITHOUT_EFFECT

_REGISTRY = "pipeline.engine.registry"
_HAND = """
import json
from pipeline.engine import registry
try:
    from pipeline.engine.keys.content_key import sources
except ImportError:
    from pipeline.engine.keys import sources
print(json.dumps({type(entry.step).__name__: sources(entry.step) for entry in registry.STEPS}))
"""
# Steps whose classes had other names before.
_RENAMED = ["Offline", "Products", "Claims", "Digest", "BootTest", "FirmwareTest", "Scan", "Sign"]
_CLASSES = {name: f"{name}Step" for name in _RENAMED}
Code = Mapping[str, Mapping[str, str]]


@dataclass
class State:
    """A commit: of each step the code by definition, by file and by hand."""

    commit: str
    definitions: Code
    files: Code
    hand: Code = field(default_factory=dict)


class PastTree(Tree):
    """The product as it was. ``names`` are the former names of modules, by those they have now."""

    def __init__(self, root: Path, names: Mapping[str, str]) -> None:
        super().__init__(root, without_effect={_former(name, names): reason for name, reason in WITHOUT_EFFECT.items()})
        # Before the models were a package.
        if not (root / "pipeline/recipes/model").is_dir():
            self.recipe = "pipeline.recipes"

    def steps(self) -> dict[str, str]:
        """Return the qualified names of the steps' classes, by what they are called now."""
        registry = self.module(_REGISTRY)
        assert registry is not None
        named = [registry.imports.get(name[0], "") for name in registry.definition("STEPS")[1].names]
        found = [each for each in named if each.startswith("pipeline.steps.") and each.rpartition(".")[2][0].isupper()]
        return {_CLASSES.get(each.rpartition(".")[2], each.rpartition(".")[2]): each for each in found}

    def files(self, step: str) -> dict[str, str]:
        """All modules that are imported below a step's, with digests."""
        found: dict[str, str] = {}
        waiting = [step]
        while waiting:
            name = waiting.pop()
            module = self.module(name) or self.module(name.rpartition(".")[0])
            if module is not None and module.name not in found:
                found[module.name], imported = _file(module.path.read_bytes(), module.package)
                waiting += [*imported, module.name.rpartition(".")[0]]
        return found


@functools.cache
def _file(text: bytes, package: str) -> tuple[str, list[str]]:
    """Return a digest of a file, and what it imports anywhere but for type checkers."""
    nodes: list[ast.AST] = [ast.parse(text)]
    found: list[str] = []
    while nodes:
        node = nodes.pop()
        if isinstance(node, ast.Import):
            found += [each.name for each in node.names]
        elif isinstance(node, ast.ImportFrom):
            above = package.rsplit(".", node.level - 1)[0] + "." if node.level else ""
            found += [f"{above}{node.module}.{each.name}" for each in node.names]
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            nodes += ast.iter_child_nodes(node)
    return str(hash(text)), found


def _former(name: str, names: Mapping[str, str]) -> str:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        if (module := ".".join(parts[:length])) in names:
            return ".".join([names[module], *parts[length:]])
    return name


def _git(*words: str | Path) -> bytes:
    return subprocess.run(["git", "-C", CHECKOUT, *words], check=True, stdout=subprocess.PIPE).stdout


def states(until: str, last: int, folder: Path, *, hand: bool) -> Iterator[State]:
    """Yield the newest commits, newest first."""
    names: dict[str, str] = {}
    _note_renames(names, f"{until}..HEAD")
    for commit in _git("rev-list", f"-{last + 1}", until).decode().split():
        root = folder / commit
        root.mkdir()
        archive = _git("archive", commit, "pipeline")
        subprocess.run(["tar", "-x", "-C", root], input=archive, check=True)
        tree = PastTree(root, names)
        found = tree.steps()
        yield State(
            commit,
            {name: code_digests.find(step, tree)[0] for name, step in found.items()},
            {name: tree.files(step) for name, step in found.items()},
            _by_hand(root) if hand else {},
        )
        _note_renames(names, f"{commit}^..{commit}")
        subprocess.run(["rm", "-r", root], check=True)


def _note_renames(names: dict[str, str], commits: str) -> None:
    """Follow each module's name one step back."""
    listed = _git("log", "-M", "--diff-filter=R", "--name-status", "--format=", commits, "--", "pipeline").decode()
    for line in listed.splitlines():
        _, old, new = (part.removesuffix(".py").replace("/", ".") for part in line.split("\t"))
        now = next((name for name, former in names.items() if former == new), new)
        names[now] = old


def _by_hand(root: Path) -> Code:
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONDONTWRITEBYTECODE": "1"}
    told = subprocess.run(
        [sys.executable, "-P", "-c", _HAND], cwd=root, env=environment, check=True, stdout=subprocess.PIPE
    )
    return {_CLASSES.get(name, name): files for name, files in json.loads(told.stdout).items()}


def table(found: list[State], shown: str | None) -> bool:
    """Print how often each step's code changed; whether definitions did a third as often as files at the most."""
    print("| step | list by hand | missed by it | files | definitions | share |\n|---|---|---|---|---|---|")
    pairs = list(zip(found[1:], found, strict=False))
    total = [0, 0, 0, 0]
    for step in found[0].definitions:
        counts = [0, 0, 0, 0]
        for old, new in pairs:
            by = [_changed(old, new, kind, step) for kind in ("hand", "files", "definitions")]
            for place, yes in enumerate((by[0], by[2] and not by[0], by[1], by[2])):
                counts[place] += bool(yes)
            if by[2] and step == shown:
                print(f"{new.commit[:8]}: {', '.join(sorted(by[2]))}", file=sys.stderr)
        total = [one + other for one, other in zip(total, counts, strict=True)]
        print(f"| {step} | {' | '.join(map(str, counts))} | {counts[3] / (counts[2] or 1):.2f} |")
    print(f"| all | {' | '.join(map(str, total))} | {total[3] / total[2]:.2f} |")
    return total[3] * 3 <= total[2]


def _changed(old: State, new: State, kind: str, step: str) -> set[str]:
    before, after = getattr(old, kind).get(step), getattr(new, kind).get(step)
    if before is None or after is None:
        return set()  # the step was new then
    return {name for name in {*before, *after} if before.get(name) != after.get(name)}


def main() -> int:
    """Measure, print, judge."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--last", type=int, default=150, help="commits")
    parser.add_argument("--until", default="HEAD")
    parser.add_argument("--hand", action="store_true")
    parser.add_argument("--show", metavar="STEP")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = list(states(options.until, options.last, Path(folder), hand=options.hand))
    return 0 if table(found, options.show) else 1


if __name__ == "__main__":
    sys.exit(main())
