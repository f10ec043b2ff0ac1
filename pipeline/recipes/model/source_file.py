"""Resolve a file that a recipe brings along: named relative to the recipe's folder, known elsewhere by its digest.

Recipes are hostile input: a name that leads out of the folder, also through a symbolic link, is refused unless the
caller allowed that place. What enters a content key is the digest, so that a checkout may lie anywhere.
"""

from __future__ import annotations

import functools
import hashlib
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, ValidationInfo
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


@dataclass(frozen=True)
class SourceFile:
    """``given`` is what the recipe says, ``path`` where that is."""

    given: str
    path: Path

    @property
    def sha256(self) -> str:
        """The digest of the file as it is now, in hex. Remembered while size and times stay as they are."""
        state = self.path.stat()
        return _sha256(self.path, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            _resolve,
            serialization=core_schema.plain_serializer_function_ser_schema(
                lambda value: {"name": value.path.name, "sha256": value.sha256}, when_used="json"
            ),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return {"type": "string", "minLength": 1, "description": "A file, relative to the recipe's folder."}


def _resolve(value: Any, info: ValidationInfo) -> SourceFile:
    if isinstance(value, SourceFile):
        return value
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("this must be the name of a file")
    context = info.context or {}
    folder = Path(context.get("folder", ".")).resolve()
    allowed = [folder, *(Path(location).resolve() for location in context.get("allowed", ()))]
    path = (folder / value).resolve()
    if not any(path.is_relative_to(location) for location in allowed):
        raise ValueError(f"{value} lies outside the recipe's folder; copy it there or allow its place")
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise ValueError(f"{value} cannot be read: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        raise ValueError(f"{value} is not a regular file")
    return SourceFile(value, path)


@functools.lru_cache(maxsize=512)
def _sha256(path: Path, *state: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
