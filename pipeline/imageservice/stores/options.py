"""What a store's settings may say: one closed model a back end."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

# Ids that begin so are the service's own (staging, tasks) and never listed.
RESERVED_PREFIX = "os_glance_"


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    return path


ExistingFile = Annotated[Path, AfterValidator(_existing)]


class StoreOptions(BaseModel):
    """What every store has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", description="The name users and addresses know the store by."
    )
    description: str = Field("", max_length=255, description="Shown to users beside the id.")
    weight: int = Field(0, description="Downloads are tried from the store of the greatest weight first.")
    read_only: bool = Field(False, description="Serve what is there, take nothing new.")

    @field_validator("id")
    @classmethod
    def _not_reserved(cls, value: str) -> str:
        if value.startswith(RESERVED_PREFIX):
            raise ValueError(f"ids beginning with {RESERVED_PREFIX} are the service's own")
        return value


class WebOptions(StoreOptions):
    """What every store has that is reached over HTTP. Times in seconds."""

    ca_file: ExistingFile | None = Field(None, description="Certificates to trust instead of the system's.")
    connect_timeout: float = Field(10, gt=0, description="How long to wait for a connection.")
    read_timeout: float = Field(60, gt=0, description="How long to wait for an answer, or for its next byte.")


class ObjectOptions(WebOptions):
    """What every object store has."""

    attempts: int = Field(3, ge=1, le=10, description="How often a request is tried before the store counts as down.")


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
        """A bare path means a directory without further options."""
        if isinstance(value, list):
            return [{"path": item} if isinstance(item, str | Path) else item for item in value]
        return value
