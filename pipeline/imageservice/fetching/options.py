"""Declare the settings of what users may have the service fetch."""

from __future__ import annotations

import ipaddress

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.base.urls import host_name


class FetchOptions(BaseModel):
    """What users may have the service fetch. Of a pair, the allowed list wins where it is not empty.

    Names compare without regard to case, a dot at the end, and the alphabet they are written in (NFKC, IDNA).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed_schemes: list[str] = Field(["http", "https"], description="Schemes that may be fetched from.")
    disallowed_schemes: list[str] = Field([], description="Schemes that may not.")
    allowed_hosts: list[str] = Field([], description="Hosts that may be fetched from; empty for any.")
    disallowed_hosts: list[str] = Field([], description="Hosts that may not.")
    allowed_ports: list[int] = Field([80, 443], description="Ports that may be fetched from.")
    disallowed_ports: list[int] = Field([], description="Ports that may not.")
    allowed_networks: list[str] = Field(
        [], description="Networks (CIDR) that may be reached although they are private, such as that of a mirror."
    )

    @field_validator("allowed_hosts", "disallowed_hosts")
    @classmethod
    def _hosts(cls, value: list[str]) -> list[str]:
        for text in value:
            if not host_name(text.strip("[]")):
                raise ValueError(f"not a host: {text!r}")
        return value

    @field_validator("allowed_networks")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for text in value:
            ipaddress.ip_network(text)
        return value
