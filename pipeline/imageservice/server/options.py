"""Declare the settings of the HTTP server, apart from the address it listens on."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict, Field, field_validator

from pipeline.base.settings_path import ExistingFile


class TlsOptions(BaseModel):
    """Certificate and key for HTTPS."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    certificate: ExistingFile = Field(description="PEM file with the certificate and its chain.")
    key: ExistingFile = Field(description="PEM file with the private key, readable by the service only.")


class ServerOptions(BaseModel):
    """The HTTP server. Times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    processes: int = Field(2, ge=1, le=64, description="API processes.")
    workers: int = Field(1, ge=0, le=64, description="Processes for imports and other work that outlives a request.")
    request_threads: int = Field(
        16,
        ge=2,
        le=512,
        description="Threads of a process kept for requests that carry no image data.",
    )
    transfer_threads: int = Field(
        256,
        ge=2,
        le=4096,
        description="Uploads that a node serves at once for each of its processes, and as many downloads. One slot of "
        "each is kept for projects that have none; more wait their turn.",
    )
    store_threads: int = Field(
        16,
        ge=2,
        le=512,
        description="Deletions that a node works on at once for each of its processes; and as many checks of locations "
        "and signatures; and as many bodies of metadata that are long or come slowly, and as many long answers.",
    )
    least_rate: int = Field(
        10 << 10,
        ge=1,
        description="Bytes per second; when somebody waits, slower uploads, downloads and imports of the project that "
        "has the most are ended (408).",
    )
    least_rate_seconds: float = Field(
        60,
        gt=0,
        description="The time over which that rate is taken. After so long a project that has no slot gets one, "
        "whatever the others' rates.",
    )
    slot_wait: float = Field(150, gt=0, description="How long a request waits for its slot before it gets 503.")
    header_timeout: float = Field(20, gt=0, description="A client has so long to send a request's header.")
    idle_timeout: float = Field(
        900,
        gt=0,
        description="A client that moves no byte of image data for so long is given up; of anything else, after a "
        "minute at the latest.",
    )
    keep_alive: float = Field(75, ge=0, description="How long an idle connection is kept for a next request.")
    stop_timeout: float = Field(
        600, ge=0, description="How long a stopping service lets running uploads and downloads go on."
    )
    internal_redirect: str | None = Field(
        None,
        pattern=r"^/[A-Za-z0-9._/-]*[A-Za-z0-9._-]$",
        description="Where nginx in front of the service finds the folders of file stores (docs/nginx.conf): it then "
        "sends images itself.",
    )
    tls: TlsOptions | None = Field(None, description="Serve HTTPS.")
    trusted_proxies: list[str] = Field(
        default_factory=lambda: ["127.0.0.1", "::1"],
        description="Addresses and networks of proxies that are believed about scheme and client (X-Forwarded-Proto, "
        "X-Forwarded-For, Forwarded). What others send of these is for nothing, and never gets /metrics.",
    )

    @field_validator("trusted_proxies")
    @classmethod
    def _proxies(cls, value: list[str]) -> list[str]:
        for text in value:
            if text != "*":
                ipaddress.ip_network(text)
        return value

    @property
    def slots(self) -> Mapping[str, int]:
        """How many of each kind a node works on at once."""
        transfers, others = self.processes * self.transfer_threads, self.processes * self.store_threads
        return {
            **dict.fromkeys(("upload", "download"), transfers),
            **dict.fromkeys(("body", "answer", "check", "delete"), others),
        }
