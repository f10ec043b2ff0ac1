"""Declare the settings of the database."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, SecretStr


class DatabaseOptions(BaseModel):
    """Where the catalog is kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr | None = Field(
        None,
        description="sqlite:////folder/file.db, postgresql://user:password@host/name or mariadb://… ; by default a "
        "SQLite file in the service's folder, which the service upgrades by itself.",
    )
    connections: int = Field(16, ge=1, le=1000, description="Connections of one worker process at the most.")
    patience: float = Field(60, gt=0, description="Seconds that a write waits for others before it gives up.")
    delayed_delete: bool = Field(
        False, description="Keep the data of deleted images for `scrub_after`, during which they can be restored."
    )
    scrub_after: float = Field(0, ge=0, description="Seconds after which the data of deleted images goes.")
    scrub_interval: float = Field(
        30,
        ge=1,
        le=86400,
        description="Seconds between a worker's looks for deleted images whose data is due; it may go so much later.",
    )
    keep_deleted_days: float = Field(
        30, ge=0, description="Days after which the rows of deleted images are purged; their ids stay taken for ever."
    )
