"""Passwords and keys of back ends: written in the settings, or better in a file or the environment."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, model_validator


class Secret(BaseModel):
    """A secret: plain text, ``{file: PATH}`` or ``{environment: NAME}``. It is never printed.

    A file is read again each time the secret is needed, so that a renewed one is used at the next log-in.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    value: SecretStr | None = Field(None, description="The secret itself.")
    file: Path | None = Field(None, description="A file that holds it; a newline at its end does not count.")
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
        """The secret. Raises ``OSError`` or ``KeyError`` when it has gone."""
        if self.file is not None:
            return self.file.read_text().rstrip("\r\n")
        if self.environment is not None:
            return os.environ[self.environment]
        return self.value.get_secret_value() if self.value is not None else ""
