"""What is followed from a step, in small trees; and for the real steps: what changes their keys, and what does not."""

from __future__ import annotations

import ast
import functools
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.engine import registry
from pipeline.engine.keys import code_digests
from pipeline.engine.keys.closure import Tree
from pipeline.engine.keys.without_effect import WITHOUT_EFFECT

STEPS = [f"{type(entry.step).__module__}.{type(entry.step).__name__}" for entry in registry.STEPS]
SAMPLE = 12  # changes of each kind tried for each step in an ordinary run

BASE = {
    "__init__": "",
    "steps/__init__": "",
    "recipes/__init__": "",
    "recipes/model/__init__": "",
    "recipes/model/recipe": """
        from pydantic import BaseModel
        class Part(BaseModel):
            size: int = 3
            @property
            def doubled(self): return self.size * 2
            @property
            def halved(self): return self.size // 2
        class Recipe(BaseModel):
            part: Part
        """,
    "tools": """
        import os
        LIMIT = 3
        OTHER = 4
        def used(): return LIMIT
        def unused(): return OTHER
        """,
    "steps/one": """
        from pipeline import tools
        class One:
            name = "one"
            def run(self, context): return tools.used()
            def inputs(self, recipe): return {}
            def outside(self, recipe): return []
        """,
}


def _dedent(text: str) -> str:
    lines = [line for line in text.split("\n") if line.strip()]
    indent = min((len(line) - len(line.lstrip()) for line in lines), default=0)
    return "".join(f"{line[indent:]}\n" for line in lines)


@pytest.fixture
def reached(tmp_path: Path) -> Callable[..., tuple[set[str], list[str]]]:
    """What is reached from ``pipeline.steps.one.One`` with some modules replaced: names without ``pipeline.``."""

    def find(**changed: str) -> tuple[set[str], list[str]]:
        digests = _write_and_find(tmp_path, changed)
        return {name.removeprefix("pipeline.") for name in digests[0]}, digests[1]

    return find


def _write_and_find(folder: Path, changed: dict[str, str]) -> tuple[dict[str, str], list[str]]:
    for name, text in {**BASE, **{name.replace("__in__", "/"): text for name, text in changed.items()}}.items():
        file = folder / "pipeline" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(_dedent(text))
    return code_digests.find("pipeline.steps.one.One", Tree(folder, without_effect={"pipeline.quiet": ""}))


def one(body: str, imports: str = "from pipeline import tools") -> dict[str, str]:
    methods = f"    def run(self, context):\n        {body}\n    def inputs(self, recipe): return {{}}\n"
    return {"steps__in__one": f"{imports}\nclass One:\n{methods}"}


def test_names_are_followed_and_nothing_beside_them(reached: Callable[..., tuple[set[str], list[str]]]) -> None:
    found, packages = reached()
    assert found == {"steps.one.One", "steps.one.One.run", "steps.one.One.inputs", "tools.used", "tools.LIMIT"}
    assert packages == []


@pytest.mark.parametrize(
    ("body", "imports", "more"),
    [
        ("return tools", "from pipeline import tools", {"tools.used", "tools.LIMIT", "tools.unused", "tools.OTHER"}),
        ("return getattr(tools, context.x)", "from pipeline import tools", {"tools.unused", "tools.OTHER"}),
        ("from pipeline import tools as t; return t.unused()", "", {"tools.unused", "tools.OTHER"}),
        ("return LIMIT", "from pipeline.tools import *", {"tools.LIMIT", "tools.unused"}),
        ("return pipeline.tools.LIMIT", "import pipeline.tools", {"tools.LIMIT"}),
        ("return used()", "from pipeline.tools import used", {"tools.used", "tools.LIMIT"}),
        ("return used()", "from ..tools import used", {"tools.used", "tools.LIMIT"}),
        ("return [tools.OTHER for tools in context.many] + tools.used()", "from pipeline import tools", {"tools.used"}),
        ("return run(['python', '-m', 'pipeline.tools'])", "", {"tools.unused"}),
        (
            "return import_module(context.x)",
            "from importlib import import_module",
            {"tools.unused", "recipes.model.recipe.Recipe"},
        ),
        ("return context.recipe.part.doubled", "", {"recipes.model.recipe.Part.doubled"}),
        ("return getattr(context.recipe.part, 'halved')", "", {"recipes.model.recipe.Part.halved"}),
    ],
)
def test_ways_to_use_something(
    reached: Callable[..., tuple[set[str], list[str]]], body: str, imports: str, more: set[str]
) -> None:
    found, _ = reached(**one(body, imports))
    expected = {
        name for name in more if name != "recipes.model.recipe.Recipe"
    }  # parsed: its result is the step's input
    assert expected <= found


def test_only_what_is_asked_of_a_recipe_counts(reached: Callable[..., tuple[set[str], list[str]]]) -> None:
    found, _ = reached(**one("return context.recipe.part.doubled", ""))
    assert {name for name in found if name.startswith("recipes")} == {"recipes.model.recipe.Part.doubled"}


def test_a_module_that_does_more_than_define_counts_whole(
    reached: Callable[..., tuple[set[str], list[str]]],
) -> None:
    """Even one that is only imported by one that is used."""
    found, _ = reached(tools="from pipeline import acts\ndef used(): pass", acts="import os\nos.umask(0)\nX = 1")
    assert {"acts", "acts.X"} <= found


def test_decorators_bases_defaults_and_globals_are_followed(
    reached: Callable[..., tuple[set[str], list[str]]],
) -> None:
    text = """
        BOUND = 1
        STATE = 2
        def deco(function): return function
        class Base: pass
        class Deep(Base):
            @deco
            def method(self, by=BOUND):
                global STATE
                STATE = 3
        def used(): return Deep()
        """
    found, _ = reached(tools=text)
    assert {f"tools.{name}" for name in ("BOUND", "STATE", "deco", "Base", "Deep", "used")} <= found


def test_packages_are_named(reached: Callable[..., tuple[set[str], list[str]]]) -> None:
    _, packages = reached(tools="import yaml\nimport requests\nimport os\ndef used(): return yaml.safe_load(os.sep)")
    assert packages == ["yaml"]


def test_what_has_no_effect_is_followed_all_the_same(reached: Callable[..., tuple[set[str], list[str]]]) -> None:
    found, _ = reached(
        tools="from pipeline import quiet, deep\ndef used(): quiet.say()",
        quiet="from pipeline import deep\ndef say(): deep.change()",
        deep="def change(): pass\ndef other(): pass",
    )
    assert "deep.change" in found
    assert not {name for name in found if name.startswith("quiet") or name == "deep.other"}


def test_data_beside_a_module_counts_by_content(tmp_path: Path) -> None:
    tools = 'from pathlib import Path\nHERE = Path(__file__).parent\ndef used(): return (HERE / "data").read_text()'
    first = _write_and_find(tmp_path, {"tools": tools})[0]
    (tmp_path / "pipeline" / "data").write_text("1")
    second = _write_and_find(tmp_path, {"tools": tools})[0]
    assert set(second) - set(first) == {"pipeline/data"}
    (tmp_path / "pipeline" / "data").write_text("2")
    assert _write_and_find(tmp_path, {"tools": tools})[0] != second


def test_the_same_name_from_elsewhere_is_a_change(tmp_path: Path) -> None:
    """Though both places are used anyway."""
    more = {"others": "def used(): return 1"}
    both = "from pipeline import tools, others\n"
    before = _write_and_find(
        tmp_path,
        {
            **more,
            **one(
                "a(), b(); return A",
                f"{both}from pipeline.tools import used as a\nfrom pipeline.others import used as b\nA = 1",
            ),
        },
    )
    after = _write_and_find(
        tmp_path,
        {
            **more,
            **one(
                "a(), b(); return A",
                f"{both}from pipeline.tools import used as b\nfrom pipeline.others import used as a\nA = 1",
            ),
        },
    )
    assert set(before[0]) == set(after[0]) and before != after


# The real steps


class Copy:
    """A copy of the product in which one module at a time is changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        shutil.copytree(CHECKOUT / "pipeline", root / "pipeline", ignore=shutil.ignore_patterns("__pycache__"))
        self.tree = Tree(root)

    @functools.cache  # noqa: B019 - as long as the test
    def found(self, step: str) -> tuple[dict[str, str], list[str]]:
        return code_digests.find(step, self.tree)

    def changed(self, step: str, module: str, text: str) -> bool:
        """Whether the code of ``step`` is another one with ``text`` in place of a module."""
        path = self.path(module)
        before = path.read_bytes()
        path.write_text(text)
        try:
            tree = Tree(self.root)
            # All others stay as they are, parsed already.
            tree._modules = {name: each for name, each in self.tree._modules.items() if name != module}
            return code_digests.find(step, tree) != self.found(step)
        finally:
            path.write_bytes(before)

    def path(self, module: str) -> Path:
        found = self.tree.module(module)
        assert found is not None
        return found.path

    def place(self, qualified: str) -> tuple[str, list[ast.stmt], ast.Module]:
        """The module of a definition, the statements that are it, and the tree that they are part of."""
        parts = qualified.split(".")
        module = next(name for n in range(len(parts), 0, -1) if self.tree.module(name := ".".join(parts[:n])))
        tree = ast.parse(self.path(module).read_bytes())
        body: list[ast.stmt] = tree.body
        nodes = [each for each in body if not isinstance(each, ast.Import | ast.ImportFrom) and not _names(each)]
        nodes = [each for each in nodes if not _is_silent(each)]
        for name in parts[len(module.split(".")) :]:
            nodes = [each for each in body if name in _names(each)]
            body = [inner for each in nodes if isinstance(each, ast.ClassDef) for inner in each.body]
        if qualified in STEPS:
            nodes = [each for each in body if not isinstance(each, ast.FunctionDef) and not _is_silent(each)]
        return module, nodes, tree


def _names(statement: ast.stmt) -> set[str]:
    if isinstance(statement, ast.FunctionDef | ast.ClassDef):
        return {statement.name}
    targets = statement.targets if isinstance(statement, ast.Assign) else [getattr(statement, "target", None)]
    return {part.id for each in targets if each for part in ast.walk(each) if isinstance(part, ast.Name)}


def _changes(nodes: list[ast.stmt]) -> list[tuple[Any, Any, Any]]:
    """Everything that could be changed in a definition, and to what: each constant, each default, each statement."""
    found: list[Any] = []
    for each in [part for node in nodes for part in _effective(node)]:
        if isinstance(each, ast.Constant):
            found.append((each, "value", _another(each.value)))
        if isinstance(each, ast.arguments):
            found += [(each.defaults, index, ast.Constant("another default")) for index in range(len(each.defaults))]
        for body in [getattr(each, name, None) for name in ("body", "orelse", "finalbody")]:
            if isinstance(body, list):
                found += [(body, index, ast.Raise()) for index, part in enumerate(body) if not _is_silent(part)]
    return found


def _effective(node: ast.AST) -> Iterator[ast.AST]:
    """All parts of code but annotations and docstrings."""
    yield node
    for name, value in ast.iter_fields(node):
        if name not in ("annotation", "returns"):
            for each in value if isinstance(value, list) else [value]:
                if isinstance(each, ast.AST) and not _is_silent(each):
                    yield from _effective(each)


def _is_silent(node: ast.AST) -> bool:
    text = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    return text or (isinstance(node, ast.Pass | ast.Raise) and getattr(node, "exc", 1) is None)


def _another(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float() | complex():
            return value + 1
        case str():
            return f"{value}x"
        case bytes():
            return value + b"x"
    return "another"


def _silenced(text: str) -> str:
    """The same code with other docstrings, annotations, comments, positions; and with something new beside it."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef() | ast.AsyncFunctionDef():
                if node.returns:
                    node.returns = ast.Constant("another")
            case ast.arg() if node.annotation:
                node.annotation = ast.Constant("another")
            case ast.AnnAssign() if "ClassVar" not in ast.unparse(node.annotation):
                node.annotation = ast.Constant("another")
            case ast.Expr(value=ast.Constant(value=str())):
                node.value = ast.Constant("Another text.")
    return f"# A comment.\n\n\n{ast.unparse(tree)}\n\n\ndef something_new() -> int:\n    return 1\n"


@pytest.fixture(scope="module")
def product(tmp_path_factory: pytest.TempPathFactory) -> Copy:
    return Copy(tmp_path_factory.mktemp("product"))


def _definitions(found: dict[str, str]) -> list[str]:
    return sorted(name for name in found if "/" not in name)


def _try(product: Copy, step: str, definition: str, chance: random.Random | None) -> list[str]:
    """Change one thing in a definition, or with ``chance`` one of them; return what the step's key did not notice."""
    module, nodes, tree = product.place(definition)
    changes = _changes(nodes)
    missed = []
    for place, name, new in [chance.choice(changes)] if chance and changes else changes:
        old = place[name] if isinstance(place, list) else getattr(place, name)
        for value in (new, old):
            place.__setitem__(name, value) if isinstance(place, list) else setattr(place, name, value)
            if value is new and not product.changed(step, module, ast.unparse(tree)):
                missed.append(f"{definition}: {ast.dump(old) if isinstance(old, ast.AST) else old!r}")
    return missed


@pytest.mark.parametrize("step", STEPS)
def test_whatever_is_changed_in_its_code_changes_a_key(product: Copy, step: str) -> None:
    chance = random.Random(step)
    names = _definitions(product.found(step)[0])
    tried = [chance.choice(names) for _ in range(SAMPLE)]
    assert [missed for name in tried for missed in _try(product, step, name, chance)] == []


@pytest.mark.long
@pytest.mark.parametrize("part", range(8))
def test_every_change_of_every_definition_changes_a_key(product: Copy, part: int) -> None:
    """Each with the first step that uses it: what a definition is, is the same for all."""
    first = {name: step for step in reversed(STEPS) for name in _definitions(product.found(step)[0])}
    assert len(first) > 500
    wanted = sorted(first)[part::8]
    assert [missed for name in wanted for missed in _try(product, first[name], name, None)] == []


@pytest.mark.parametrize("step", STEPS)
def test_what_is_changed_beside_its_code_changes_no_key(product: Copy, step: str) -> None:
    """Docstrings, annotations, comments, new definitions; constants of definitions that it does not use."""
    chance = random.Random(step)
    found = product.found(step)[0]
    modules = sorted({product.place(name)[0] for name in _definitions(found)})
    for module in chance.sample(modules, min(SAMPLE // 2, len(modules))):
        text = product.path(module).read_text()
        assert not product.changed(step, module, _silenced(text)), module
        parsed = product.tree.module(module)
        assert parsed is not None
        unused = [
            name for name in parsed.bound if not any(f"{each}.".startswith(f"{module}.{name}.") for each in found)
        ]
        for name in [each for each in unused if product.tree.counts(f"{module}.{each}")]:
            _, nodes, tree = product.place(f"{module}.{name}")
            for each in [each for node in nodes for each in _effective(node) if isinstance(each, ast.Constant)][:1]:
                each.value = _another(each.value)
                assert not product.changed(step, module, ast.unparse(tree)), f"{module}.{name}"


@pytest.mark.parametrize(
    ("module", "old", "new", "steps"),
    [
        (
            "pipeline.steps.reproducible",
            '_NAMESPACE = uuid.UUID("',
            '_NAMESPACE = uuid.UUID("f',
            ["InstallTiny", "InstallDebian"],
        ),
        ("pipeline.host.media.file_tree", "0o755", "0o700", ["InstallTiny"]),
    ],
)
def test_what_lists_by_hand_missed(product: Copy, module: str, old: str, new: str, steps: list[str]) -> None:
    """Every UUID, and the mode of every folder: with others the old disk was published as one that had not changed."""
    text = product.path(module).read_text()
    assert old in text
    for step in [each for each in STEPS if each.rpartition(".")[2] in steps]:
        assert product.changed(step, module, text.replace(old, new))


def test_a_changed_guest_file_changes_the_key_of_its_step(product: Copy) -> None:
    step = next(each for each in STEPS if each.endswith(".InstallTiny"))
    file = product.root / "pipeline/steps/tiny/guest/etc/profile"
    before = file.read_bytes()
    file.write_bytes(before + b"# more\n")
    try:
        digests, _ = code_digests.find(step, product.tree)
    finally:
        file.write_bytes(before)
    held = product.found(step)[0]
    assert {name for name in digests if digests[name] != held[name]} == {"pipeline/steps/tiny/guest/etc/profile"}


def test_the_list_of_what_has_no_effect_is_short_and_true() -> None:
    tree = Tree(CHECKOUT)
    assert len(WITHOUT_EFFECT) <= 25
    for name, reason in WITHOUT_EFFECT.items():
        module, own = tree.find(tuple(name.split(".")))
        assert module is not None and (own in module.bound or module.name == name), name
        assert reason
