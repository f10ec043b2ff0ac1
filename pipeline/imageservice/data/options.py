"""What the settings may say of image data on its way."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class DataOptions(BaseModel):
    """How image data is moved. Sizes in bytes, times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: int = Field(
        256 << 20,
        ge=16 << 20,
        description="Memory of a process for image data on its way, however large the images.",
    )
    upload_lease: float = Field(
        60, ge=1, description="An upload whose process died is given up after so long; running ones renew it."
    )
    staging: Path | None = Field(None, description="Directory for staged images; by default below the service's home.")

    @model_validator(mode="after")
    def _absolute(self) -> Self:
        if self.staging is not None and not self.staging.is_absolute():
            raise ValueError("staging must be an absolute path")
        return self
