from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError

_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXT
_DATA = st.recursive(
    _SCALARS, lambda below: st.lists(below, max_size=4) | st.dictionaries(_TEXT, below, max_size=4), max_leaves=20
)


def _paths(data: Any, path: tuple[str | int, ...] = ()) -> set[tuple[str | int, ...]]:
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return {path, *(deeper for key, value in items for deeper in _paths(value, (*path, key)))}


@given(data=_DATA)
def test_what_was_written_is_read_with_a_place_for_every_value(data: Any) -> None:
    text = yaml.safe_dump(data)
    source = yaml_source.loads(text, name="x")
    assert source.data == data
    if data is not None:
        assert set(source.positions) == _paths(data)
    lines = text.count("\n") + 1
    assert all(1 <= location.line <= lines for location in source.positions.values())


@given(text=st.text())
@example("a: !!python/object:os.system {}")
@example("? {a: b}\n: c")
@example("a: 2024-99-99")
@example("[" * 5000)
@example("a: &x [*x]")
@example("\x00")
@example("a: 0x_\n")
@example("!!int ''")
@example("!!binary '&'")
@example("!!set {a, b}")
@example("!!bool x")
@example("!!timestamp x")
@example("!!float x")
def test_any_text_is_read_or_refused_with_a_place(text: str) -> None:
    try:
        yaml_source.loads(text, name="recipe.yaml")
    except PipelineError as error:
        assert error.message.startswith("recipe.yaml:")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", "r.yaml:3: the key 'a' is given twice"),
        ("a: [1, 2\nb: 3\n", "r.yaml:2: not valid YAML: "),
        ("a:\n  - !!python/name:os.system x\n", "r.yaml:2: could not determine a constructor"),
        ("a: 1\nb: 2024-99-99\n", "r.yaml:2: '2024-99-99' is not a valid timestamp"),
        ("? [a]\n: b\n", "r.yaml:1: a key must be plain text"),
        ("--- a\n--- b\n", "r.yaml:2: not valid YAML: "),
    ],
)
def test_the_message_says_what_is_wrong_and_where(text: str, message: str) -> None:
    with pytest.raises(PipelineError) as caught:
        yaml_source.loads(text, name="r.yaml")
    assert caught.value.message.startswith(message)


def test_aliases_cannot_blow_up() -> None:
    lines = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(PipelineError, match="too large or nested too deeply"):
        yaml_source.loads("\n".join(lines))


def test_an_alias_stands_where_its_anchor_does() -> None:
    source = yaml_source.loads("a: &x\n  b: 1\nc: *x\n", name="r")
    assert source.data == {"a": {"b": 1}, "c": {"b": 1}}
    assert str(source.position(("c",))) == "r:3"
    assert str(source.position(("c", "b"))) == "r:2"


def test_something_missing_stands_where_its_parent_does() -> None:
    source = yaml_source.loads("a:\n  b:\n    c: 1\n", name="r")
    assert str(source.position(("a", "b", "missing", 0))) == "r:2"
    assert str(source.position(("nothing",))) == "r:1"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    for name, content, message in [
        ("latin.yaml", "a: \xe9".encode("latin-1"), "not UTF-8 at byte 3"),
        ("huge.yaml", b"#" * (yaml_source.MAX_BYTES + 1), "larger than 1 MiB"),
    ]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(PipelineError, match=message):
            yaml_source.load(tmp_path / name, name=name)
    with pytest.raises(PipelineError, match="there is no such file"):
        yaml_source.load(tmp_path / "none.yaml")
    with pytest.raises(PipelineError, match="Is a directory"):
        yaml_source.load(tmp_path)


def test_an_empty_file_has_no_data(tmp_path: Path) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    assert yaml_source.load(tmp_path / "empty.yaml").data is None
