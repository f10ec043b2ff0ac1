"""What the settings may say of a store that reads from web servers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.imageservice.stores.options import ExistingFile, StoreOptions


class HttpOptions(StoreOptions):
    """Images that lie on web servers; read only. The settings under ``fetch`` say which servers. Times in seconds."""

    type: Literal["http"] = "http"
    ca_file: ExistingFile | None = Field(None, description="Certificates to trust instead of the system's.")
    connect_timeout: float = Field(10, gt=0, description="How long to wait for a connection.")
    read_timeout: float = Field(60, gt=0, description="How long to wait for an answer, or for its next byte.")
    redirects: int = Field(5, ge=0, le=20, description="Redirects followed; each one passes the filter again.")
    user_agent: str = Field("image-service", min_length=1, description="What the service calls itself.")
