"""Declare what the settings may say of any store; each back end adds its own in its room."""

from __future__ import annotations

import os
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from pipeline.base.settings_path import ExistingFile, SettingsPath

# Ids that begin so are the service's own (staging, tasks) and never listed.
RESERVED_PREFIX = "os_glance_"


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


class StoreSecret(BaseModel):
    """A secret: plain text, ``{file: PATH}`` or ``{environment: NAME}``. It is never printed.

    A file is read again each time the secret is needed, so that a renewed one is used at the next log-in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: SecretStr | None = Field(None, description="The secret itself.")
    file: SettingsPath | None = Field(None, description="A file that holds it; a newline at its end does not count.")
    environment: str | None = Field(None, description="The environment variable that holds it.")

    @model_validator(mode="before")
    @classmethod
    def _plain(cls, data: Any) -> Any:
        return {"value": data} if isinstance(data, str) else data

    @model_validator(mode="after")
    def _there(self) -> Self:
        if sum(source is not None for source in (self.value, self.file, self.environment)) != 1:
            raise ValueError("give one of: the secret itself, file, environment")
        try:
            found = self.read()
        except OSError as error:
            raise ValueError(f"{self.file} cannot be read: {error.strerror}") from None
        except KeyError:
            raise ValueError(f"the environment has no variable {self.environment}") from None
        if not found:
            raise ValueError("the secret is empty")
        return self

    def read(self) -> str:
        """Read the secret. Raises ``OSError`` or ``KeyError`` when it has gone."""
        if self.file is not None:
            return self.file.read_text().rstrip("\r\n")
        if self.environment is not None:
            return os.environ[self.environment]
        return self.value.get_secret_value() if self.value is not None else ""
