"""Declare the settings of imports."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from pipeline.base.settings_path import ExistingFile
from pipeline.imageservice.stores.options import AnyStoreOptions

Method = Literal["glance-direct", "web-download", "copy-image", "glance-download"]
Plugin = Literal["inject_image_metadata", "image_decompression", "image_conversion", "no_op"]


class _ImportModel(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DownloadOptions(_ImportModel):
    """Limits of what is fetched from elsewhere. Times in seconds."""

    total_seconds: float = Field(6 * 3600, gt=0, description="How long one fetch may take.")
    idle_seconds: float = Field(60, gt=0, description="A server that sends nothing for so long is given up.")
    connect_seconds: float = Field(20, gt=0, description="How long connecting may take.")
    redirects: int = Field(5, ge=0, le=20, description="Redirects that are followed, each checked as the first URI.")
    attempts: int = Field(
        5,
        ge=1,
        le=100,
        description="Attempts: in a row without a byte that stays, and as often from the first byte on where a server "
        "cannot send the rest of what it broke off.",
    )
    pause_seconds: float = Field(
        0.5,
        gt=0,
        description="The pause before the second attempt; it doubles up to 30 s, varies by a quarter, and lasts up to "
        "5 minutes where the server asks for that.",
    )
    rate: int | None = Field(None, gt=0, description="Bytes per second of one fetch at the most.")
    user_agent: str = Field("image-service", max_length=200, description="What the service calls itself.")
    ca_file: ExistingFile | None = Field(
        None, description="Certificates of authorities to trust, instead of the system's."
    )
    proxy: str | None = Field(
        None, pattern=r"^https?://[^/]+/?$", description="A proxy for every fetch; it then decides what can be reached."
    )


class ConversionOptions(_ImportModel):
    """The plugin ``image_conversion``."""

    output_format: Literal["raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"] = Field(
        "raw", description="What imported images are converted to."
    )
    signed: Literal["keep", "refuse"] = Field(
        "keep", description="Signed images are never converted: kept as they are, or refused."
    )
    seconds: float = Field(4 * 3600, gt=0, description="How long a conversion may take.")


class DecompressionOptions(_ImportModel):
    """The plugin ``image_decompression``: gzip, bzip2, xz, zstd, and zip with one member."""

    max_ratio: int = Field(
        200, ge=1, description="How many times larger than its file an image may become, beyond 1 GiB."
    )


class InjectionOptions(_ImportModel):
    """The plugin ``inject_image_metadata``."""

    properties: dict[str, str] = Field({}, description="Properties that every imported image gets.")
    ignore_roles: list[str] = Field(["admin"], description="Callers with one of these roles are spared.")


class StagingOptions(_ImportModel):
    """Where staged data lies."""

    shared: bool = Field(False, description="The staging folder is on a file system that all nodes share.")
    store: AnyStoreOptions | None = Field(None, description="A store for staged data instead of the folder.")
    node: str | None = Field(
        None,
        max_length=200,
        description="The name of this node, by default the host's; its staged data is found by it.",
    )
    lost_node_seconds: float = Field(
        3600, gt=0, description="Imports whose data lies on a node that has not been seen for so long are given up."
    )


class ImportOptions(_ImportModel):
    """How images are imported."""

    methods: list[Method] = Field(
        ["glance-direct", "web-download", "copy-image"], description="The ways of importing that are open."
    )
    plugins: list[Plugin] | None = Field(
        None,
        description="What is done with an imported image, in this order. Not set: disks whose stores are all RBD "
        "become raw, others stay as they are; `[]`: all do.",
    )
    conversion: ConversionOptions = Field(default_factory=ConversionOptions, description="Conversion of disk formats.")
    decompression: DecompressionOptions = Field(default_factory=DecompressionOptions, description="Decompression.")
    injection: InjectionOptions = Field(default_factory=InjectionOptions, description="Properties for all images.")
    download: DownloadOptions = Field(default_factory=DownloadOptions, description="Limits of fetching.")
    staging: StagingOptions = Field(default_factory=StagingOptions, description="Where staged data lies.")
    glance_download_properties: list[str] = Field(
        ["hw_", "trait:", "os_distro", "os_secure_boot", "os_type"],
        description="Properties (beginnings of their names) that glance-download takes over from the source.",
    )
    jobs: int = Field(
        4,
        ge=1,
        le=64,
        description="Imports a worker process does at once, the last of them for projects that have none at work "
        "on any node; and as many readings of data that was added by its location.",
    )
    worker_attempts: int = Field(20, ge=1, description="Workers an import may outlive before it is given up.")
    store_attempts: int = Field(3, ge=1, description="Attempts to write to a store that does not answer.")

    def does(self, plugin: Plugin) -> bool:
        """Return whether a plugin is named."""
        return plugin in (self.plugins or ())
