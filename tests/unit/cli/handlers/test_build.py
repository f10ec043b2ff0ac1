"""What ``./inv build``, ``plan`` and ``publish`` take for recipes."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.cli.handlers import build as build_handler


def test_a_source_is_what_the_recipes_are_installed_from(tmp_path: Path) -> None:
    media = tmp_path / "windows.iso"
    media.write_bytes(b"media")
    (recipe,) = build_handler.load(["windows-2022"], source=str(media))
    assert recipe.install.file.path == media  # type: ignore[union-attr]
    (recipe,) = build_handler.load(["windows-2022"])
    assert recipe.install.file is None  # type: ignore[union-attr]


def test_a_source_that_is_none_is_told(tmp_path: Path) -> None:
    with pytest.raises(PipelineError, match="there is no such file"):
        build_handler.load(["windows-2022"], source=str(tmp_path / "windows.iso"))
    with pytest.raises(PipelineError, match="recipe tiny takes no file"):
        build_handler.load(["tiny"], source=str(tmp_path))


@pytest.mark.parametrize("bound", ["jobs", "guests"])
def test_bounds_below_nothing_are_refused(bound: str) -> None:
    # With them, nothing could ever start.
    with pytest.raises(PipelineError, match=f"--{bound} -1: at least 1"):
        build_handler.build(["tiny"], **{bound: -1})  # type: ignore[arg-type]


def test_settings_are_names_and_values() -> None:
    with pytest.raises(PipelineError, match="--set nothing: write it as name=value"):
        build_handler.load(["tiny"], ["nothing"])
