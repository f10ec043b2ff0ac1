"""Declare the settings of a store that reads from web servers."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.imageservice.stores.base_options import ObjectOptions


class HttpOptions(ObjectOptions):
    """Images that lie on web servers; read only. The settings under ``fetch`` say which servers. Times in seconds."""

    type: Literal["http"] = "http"
    redirects: int = Field(5, ge=0, le=20, description="Redirects followed; each one passes the filter again.")
    user_agent: str = Field("image-service", min_length=1, description="What the service calls itself.")
