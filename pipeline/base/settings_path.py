"""Resolve paths in a settings file, which may be relative to the folder of what the settings are for."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, ValidationInfo

FOLDER = "folder"  # of the context that the settings are checked in


def resolved(path: Path | str, info: ValidationInfo) -> Path:
    """Return ``path``, in the folder that the context names unless it is absolute; ``~`` is no folder here."""
    folder = (info.context or {}).get(FOLDER)
    return Path(folder) / path if folder is not None else Path(path)


def _existing(path: Path) -> Path:
    try:
        there = stat.S_ISREG(path.stat().st_mode)
    except PermissionError:  # commands may be run by somebody who cannot look there; newer ``is_file`` hide that
        there = True
    except (OSError, ValueError):
        there = False
    if not there:
        raise ValueError(f"there is no file {path}")
    return path


SettingsPath = Annotated[Path, AfterValidator(resolved)]
ExistingFile = Annotated[SettingsPath, AfterValidator(_existing)]
