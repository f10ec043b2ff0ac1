"""Find all code that can change what a step makes, by following names from its ``run`` and ``inputs``.

Statically, and by definition: a function, class or constant counts when reached code names it, so that a change beside
it changes no key. What cannot be followed counts whole: classes, modules used as values, modules that do more than
define, data files beside a module that asks where it lies. The recipe that a step is given was made elsewhere: of its
classes count the methods whose names occur, and so of the step's own. ``without_effect`` lists what is followed but
does not count itself.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.engine.keys.definitions import Module, Name, Used
from pipeline.engine.keys.without_effect import WITHOUT_EFFECT

# With these, code may use whatever there is.
_ANYTHING = {("__import__",), ("eval",), ("exec",), ("globals",), ("importlib", "import_module")}
_BESIDE = {("__file__",), ("__path__",), ("importlib", "resources"), ("pkgutil", "get_data")}
_ENTRANCES = {"run", "inputs"}
_PARSED = "pydantic"


class Tree:
    """The modules of a checkout, each parsed once, when it is asked for. ``recipe``: where a recipe's classes are."""

    recipe = "pipeline.recipes.model"

    def __init__(
        self,
        root: Path,
        *,
        own: Collection[str] = ("pipeline",),
        without_effect: Mapping[str, str] = WITHOUT_EFFECT,
    ) -> None:
        self.root = root
        self.own = own
        self.without_effect = without_effect
        self._modules: dict[str, Module | None] = {}

    def module(self, name: str) -> Module | None:
        """Return the module of that name, if it is one of our ``own`` packages'."""
        if name not in self._modules:
            place = self.root.joinpath(*name.split("."))
            files = (place / "__init__.py", place.parent / f"{place.name}.py")
            path = next((each for each in files if name.split(".")[0] in self.own and each.is_file()), None)
            self._modules[name] = Module(name, path) if path else None
        return self._modules[name]

    def counts(self, name: str) -> bool:
        """Tell whether a definition, by its qualified name, can change bytes."""
        parts = name.split(".")
        return not any(".".join(parts[:length]) in self.without_effect for length in range(1, len(parts) + 1))

    @functools.cached_property
    def given(self) -> dict[str, tuple[Module, ast.ClassDef]]:
        """The classes of what a step is given: those of a recipe. What else its context has is without effect."""
        return {
            f"{module.name}.{name}": (module, node)
            for module in self.below(self.recipe)
            for name, (node, *_) in module.bound.items()
            if isinstance(node, ast.ClassDef)
        }

    def below(self, package: str) -> Iterator[Module]:
        """Yield all modules of a package."""
        for file in sorted(self.root.joinpath(*package.split(".")).rglob("*.py")):
            name = ".".join(file.relative_to(self.root).with_suffix("").parts).removesuffix(".__init__")
            if (module := self.module(name)) is not None:
                yield module

    def find(self, name: Name) -> tuple[Module | None, str]:
        """Return the module that binds an absolute name, and the name there, which is empty for the module itself.

        Of what isn't ours: nothing, and the package.
        """
        module = self.module(name[0])
        if module is None:
            return None, name[0]
        for place, part in enumerate(name[1:], 1):
            if part in module.bound:
                return module, part
            if part in module.imports:
                return self.find((*module.imports[part].split("."), *name[place + 1 :]))
            below = self.module(".".join(name[: place + 1]))
            if below is None:
                return module, ""
            module = below
        return module, ""


class Closure:
    """What was reached: ``digests`` by qualified name, ``folders`` with data, ``packages`` as they are imported."""

    def __init__(self, tree: Tree, step: str) -> None:
        self.tree = tree
        self.digests: dict[str, str] = {}
        self.folders: set[Path] = set()
        self.packages: set[str] = set()
        self._attributes = set(_ENTRANCES)
        self._seen: set[str] = set()
        self._loaded: set[str] = set()
        self._waiting: list[tuple[Module, Used]] = []
        self._members = dict(tree.given)
        self._enter(step)
        while self._waiting:
            self._use(*self._waiting.pop())
            if not self._waiting:
                self._reach_members()

    def _enter(self, step: str) -> None:
        module, name = self.tree.find(tuple(step.split(".")))
        if module is None or not name:
            raise PipelineError(f"{step} cannot be found in {self.tree.root}", hint="a step is a class of a module")
        for node in module.bound[name]:
            if isinstance(node, ast.ClassDef):
                self._members[step] = module, node
                rest = [each for each in node.body if not isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)]
                self._count(module, name, [*node.decorator_list, *node.bases, *rest])

    def _reach_members(self) -> None:
        """Count of what is given the methods that any reached code asks for, and those that Python itself calls."""
        for qualified, (module, node) in self._members.items():
            for each in node.body:
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):
                    special = each.name.startswith("__") and _PARSED not in each.name
                    if special or each.name in self._attributes:
                        self._count(module, f"{qualified.removeprefix(f'{module.name}.')}.{each.name}", [each])

    def _use(self, module: Module, used: Used) -> None:
        self._attributes |= used.attributes
        for root, *attributes in used.names:
            for imports in (module.imports, used.imports):
                if root in imports:
                    self._reach((*imports[root].split("."), *attributes))
            if root in module.bound:
                self._reach_definition(module, root)
            origin = {**module.imports, **used.imports}.get(root, root)
            self._look(module, (*origin.split("."), *attributes))
        for text in used.attributes:
            # As ``python -m`` is told it.
            if text.split(".")[0] in self.tree.own and self.tree.module(text):
                self._reach(tuple(text.split(".")))

    def _look(self, module: Module, name: Name) -> None:
        if name[:1] in _BESIDE or name[:2] in _BESIDE:
            self.folders.add(module.path.parent)
        if name[:1] in _ANYTHING or name[:2] in _ANYTHING:
            for each in self.tree.below("pipeline"):
                self._reach_all(each)

    def _reach(self, name: Name) -> None:
        module, own = self.tree.find(name)
        if module is None:
            if own not in sys.stdlib_module_names:
                self.packages.add(own)
        elif own in module.bound:
            self._reach_definition(module, own)
        else:
            if name[-1] == "__file__":
                self.folders.add(module.path.parent)
            self._reach_all(module)

    def _reach_all(self, module: Module) -> None:
        for name in module.bound:
            self._reach_definition(module, name)
        for star in module.stars:
            self._reach(tuple(star.split(".")))
        if module.loose:
            self._count(module, "", module.loose)

    def _reach_definition(self, module: Module, name: str) -> None:
        qualified = f"{module.name}.{name}"
        if qualified not in self._members or not self._is_parsed(*self._members[qualified]):
            self._count(module, name, None)

    def _count(self, module: Module, name: str, nodes: Iterable[ast.AST] | None) -> None:
        qualified = f"{module.name}.{name}".rstrip(".")
        if qualified in self._seen:
            return
        self._seen.add(qualified)
        self._load(module)
        digest, used = module.definition(name) if nodes is None else module.read(list(nodes))
        if self.tree.counts(qualified):
            self.digests[qualified] = digest
        self._waiting.append((module, used))

    def _load(self, module: Module) -> None:
        """Follow what happens when a module is imported: it and all it imports do what they do beside defining."""
        if module.name in self._loaded:
            return
        self._loaded.add(module.name)
        above = [module.name.rpartition(".")[0], *module.imports.values(), *module.stars]
        for name in above:
            found = self.tree.module(name) or self.tree.module(name.rpartition(".")[0])
            if found is not None:
                self._load(found)
        if module.loose or module.stars:
            self._reach_all(module)

    def _is_parsed(self, module: Module, node: ast.ClassDef) -> bool:
        """Tell whether objects of a class come from a recipe's text alone: the step is given the result."""
        for base in node.bases:
            name = ast.unparse(base)
            origin = module.imports.get(name, f"{module.name}.{name}")
            above = self._members.get(origin)
            if origin.startswith(f"{_PARSED}.") or (above and self._is_parsed(*above)):
                return True
        return False
