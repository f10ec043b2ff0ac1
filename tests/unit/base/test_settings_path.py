"""Files that settings name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

import pytest
from pydantic import BaseModel, ValidationError

from pipeline.base.settings_path import FOLDER, ExistingFile


class Files(BaseModel):
    file: ExistingFile


def named(path: str, folder: Path) -> Path:
    return Files.model_validate({"file": path}, context={FOLDER: folder}).file


def test_a_file_has_to_be_there(tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    (tmp_path / "folder").mkdir()
    assert named("there", tmp_path) == tmp_path / "there"
    for path in ("gone", "folder", "there/inside", "a\0b"):
        with pytest.raises(ValidationError, match="there is no file"):
            named(path, tmp_path)


def test_where_one_may_not_look_it_may_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> NoReturn:
        raise PermissionError

    monkeypatch.setattr(Path, "stat", refuse)
    monkeypatch.setattr(Path, "is_file", lambda path: False)  # as Python does from 3.14 on
    assert named("closed", tmp_path) == tmp_path / "closed"
