"""Declare the settings of the HTTP interface."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.base.settings_path import SettingsPath

_DISK_FORMATS = ["ami", "ari", "aki", "vhd", "vhdx", "vmdk", "raw", "qcow2", "vdi", "iso", "ploop"]
_CONTAINER_FORMATS = ["ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed"]


class ApiOptions(BaseModel):
    """How the API presents itself."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    public_endpoint: str | None = Field(
        None,
        pattern=r"^https?://[^/?#]+(/[^?#]*)?$",
        description="The URL clients reach the service by, for links; by default what the request names.",
    )
    disk_formats: list[str] = Field(_DISK_FORMATS, min_length=1, description="Disk formats that images may have.")
    container_formats: list[str] = Field(
        _CONTAINER_FORMATS, min_length=1, description="Container formats that images may have."
    )
    hosts: list[Annotated[str, Field(pattern=r"^[^\s/:@\[\]]+$|^\[?[0-9A-Fa-f:.]+\]?$")]] = Field(
        [],
        description="Further names and addresses that the service is called by, without ports. A request to another "
        "name gets 421 where identity is `none`; elsewhere links hold no host then.",
    )
    default_limit: int = Field(25, ge=1, description="Entries of a page when the client names no limit.")
    max_limit: int = Field(1000, ge=1, description="Entries of a page at the most.")
    show_direct_url: bool = Field(False, description="Show `direct_url`, the address of an image's first location.")
    show_locations: bool = Field(False, description="Show and accept `locations` in image documents.")
    image_schema: SettingsPath | None = Field(
        None,
        description="A JSON file with further typed properties, as in the reference's schema-image.json.",
    )
    max_request_id: int = Field(64, ge=16, le=255, description="Characters of a request id that a client may send.")
    max_body: int = Field(4 << 20, ge=1024, description="Bytes of a JSON body at the most.")
    patch_operations: int = Field(
        2000, ge=1, description="Operations of one patch at the most; some clients send one for each property."
    )
    page_bytes: int = Field(
        16 << 20,
        ge=1,
        description="Bytes of properties and tags after which a page of images ends; it has one at least.",
    )
    cors_origins: list[str] = Field([], description="Origins whose pages may call the API; `*` for any.")
    version_1: bool = Field(False, description="Serve the v1 calls of old tools too.")
    secure_hash: bool = Field(True, description="Read data that is added by its location, to know its digests.")
    hash_attempts: int = Field(3, ge=1, description="Attempts at reading such data.")
    tasks_hours: float = Field(48, gt=0, description="Hours that an ended task stays readable.")
    metrics: bool = Field(True, description="Serve /metrics for Prometheus.")
    metrics_networks: list[str] = Field(
        ["127.0.0.0/8", "::1/128"], description="Networks (CIDR) whose hosts may read /metrics."
    )
    healthcheck_stores: Literal["default", "all", "none"] = Field(
        "default", description="Which stores' failure makes /healthcheck answer 503."
    )
    disable_file: SettingsPath | None = Field(
        None, description="While this file exists, /healthcheck answers 503, so that load balancers leave the node out."
    )

    @field_validator("metrics_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for text in value:
            ipaddress.ip_network(text)
        return value
