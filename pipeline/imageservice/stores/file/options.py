"""Declare what the settings may say of a store in files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from pipeline.imageservice.stores.base_options import StoreOptions


def _mode(value: Any) -> Any:
    """Read permission bits as people write them: YAML takes ``0644`` for an octal number, ``0o644`` for text."""
    if isinstance(value, str):
        if not re.fullmatch(r"0o?[0-7]{3}", value):
            raise ValueError(f"{value[:16]!r} are no permission bits: write them in octal, as 0o640")
        return int(value.replace("o", ""), 8)
    if isinstance(value, int) and not isinstance(value, bool) and re.fullmatch("[0-7]{3}", str(value)):
        meant = int(str(value), 8)
        if _plausible(meant):
            # 500 is what YAML makes of 0764, and what somebody wrote who means 0500.
            raise ValueError(f"{value} is a decimal number: write permission bits in octal, as 0o{value}")
    return value


def _plausible(mode: int) -> bool:
    """Whether the owner may read, and nobody more than those before them."""
    owner, group, others = mode >> 6, mode >> 3 & 7, mode & 7
    return owner >= 4 and not group & ~owner and not others & ~group


class FileDirectory(BaseModel):
    """One directory of a file store."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    path: Path = Field(description="An absolute path; made when it is missing.")
    weight: int = Field(0, description="The heaviest directories are filled first, of equal ones the emptiest.")
    mount: Path | None = Field(
        None,
        description="The mount point that the directory lies on or below, as of NFS: while nothing is mounted there, "
        "nothing is read or written.",
    )

    @field_validator("path")
    @classmethod
    def _absolute(cls, value: Path) -> Path:
        if not value.is_absolute():
            raise ValueError("a store's directory must be an absolute path")
        return value

    @model_validator(mode="after")
    def _below_mount(self) -> Self:
        if self.mount is not None and not (self.mount.is_absolute() and self.path.is_relative_to(self.mount)):
            raise ValueError(f"mount: {self.path} does not lie below {self.mount}")
        return self


@dataclass(frozen=True)
class Octal:
    """Marks numbers that are written in octal."""


FileMode = Annotated[int, BeforeValidator(_mode), Field(ge=0o400, le=0o777), Octal()]


class FileOptions(StoreOptions):
    """Images as files in one or several directories."""

    type: Literal["file"] = "file"
    directories: list[FileDirectory] = Field(min_length=1, description="Where the files lie.")
    holes: bool = Field(True, description="Blocks of zeros take no room (thin provisioning).")
    file_mode: FileMode = Field(
        0o640, description="Permission bits of the files in octal, e.g. `0o644` where nginx is to send them."
    )
    keep_cached: bool = Field(
        False, description="Leave what was written in the page cache; costs processor time on large images."
    )

    @field_validator("directories", mode="before")
    @classmethod
    def _plain_paths(cls, value: Any) -> Any:
        """Take a bare path for a directory without further options."""
        if isinstance(value, list):
            return [{"path": item} if isinstance(item, str | Path) else item for item in value]
        return value
