"""Declare what the settings may say of a store in files."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from pipeline.imageservice.stores.base_options import StoreOptions


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


class FileOptions(StoreOptions):
    """Images as files in one or several directories."""

    type: Literal["file"] = "file"
    directories: list[FileDirectory] = Field(min_length=1, description="Where the files lie.")
    holes: bool = Field(True, description="Blocks of zeros take no room (thin provisioning).")
    file_mode: int = Field(
        0o640, ge=0o400, le=0o777, description="Permission bits of the files, e.g. 0o644 where nginx is to send them."
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
