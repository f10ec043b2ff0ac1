"""Declare the settings of image data on its way."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from pipeline.base.settings_path import SettingsPath


class DataOptions(BaseModel):
    """How image data is moved and judged. Sizes in bytes, times in seconds."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    memory: int = Field(
        256 << 20,
        ge=16 << 20,
        description="Memory of a process for image data on its way, however large the images.",
    )
    upload_lease: float = Field(
        60, ge=1, description="An upload or import whose process died is taken for dead after so long."
    )
    staging: SettingsPath = Field(
        Path("staging"), description="Where staged images lie, in the service's folder unless it is absolute."
    )
    require_format_match: bool = Field(
        True, description="Refuse data that is not in the image's disk format; unsafe data is refused in any case."
    )
    tolerated_checks: list[str] = Field(
        [],
        description="Safety checks of the library that don't refuse an image, as `gpt.mbr` for sloppy partition "
        "tables, or `vmdk.descriptor` for names that are not ASCII; the service's own parsers judge such images still.",
    )
    raw_must_be_raw: bool = Field(
        False,
        description="Refuse a disk image of another format, or a compressed file, that is declared `raw`. It is "
        "refused anyway where images are converted, where its own format is not among `api.disk_formats`, and where "
        "only RBD stores are to have it; else the answer's header `X-Openstack-Image-Content`, the task and the log "
        "tell what it is.",
    )
    max_virtual_size: int = Field(16 << 40, gt=0, description="The largest disk an image may claim to be.")
    allow_encrypted: bool = Field(True, description="Take encrypted QCOW2 images.")
    certificates: SettingsPath | None = Field(
        None,
        description="Folder of certificates (PEM, named by their id) that image signatures are checked with; "
        "by default that of the pipeline.",
    )
    key_manager: str | None = Field(
        None,
        description="URL of the key manager (Barbican) that holds certificates, or `catalog` to take it from the "
        "caller's token; asked with the caller's token for ids that are not in the folder, and to delete the key of an "
        "encrypted volume's image with the image, where its cinder_encryption_key_deletion_policy says so.",
    )
    trusted_certificates: list[str] | None = Field(
        None,
        description="Ids of certificates, in the folder or the key manager, as in Nova's `trusted_image_certificates`: "
        "signed images are taken only if the certificate that signed them is vouched for by these alone, up to a "
        "self-signed one among them, and all are in date. Without it certificates are not judged.",
    )
