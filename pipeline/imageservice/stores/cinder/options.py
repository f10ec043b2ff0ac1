"""Declare the settings of a store in block storage (Cinder)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from pipeline.base.settings_path import ExistingFile
from pipeline.imageservice.stores.base_options import StoreOptions, StoreSecret


class CinderOptions(StoreOptions):
    """Images as volumes of OpenStack's block storage, through glance_store's driver. Times in seconds."""

    type: Literal["cinder"] = "cinder"
    auth_url: str = Field(pattern=r"^https?://[^@]+$", description="Keystone's address with /v3.")
    user: str = Field("glance", description="The user whose volumes the images are.")
    password: StoreSecret = Field(description="The password, as text, {file: PATH} or {environment: NAME}.")
    project: str = Field("service", description="The user's project.")
    user_domain_name: str = Field("Default", description="The user's domain.")
    project_domain_name: str = Field("Default", description="The project's domain.")
    region: str | None = Field(None, description="The region whose block storage is used.")
    volume_type: str | None = Field(None, description="The type of the volumes; else the cloud's default one.")
    ca_file: ExistingFile | None = Field(None, description="Certificates to trust instead of the system's.")
    more: dict[str, str | int | bool] = Field(
        default_factory=dict, description="Further options of the driver by its own names, as cinder_use_multipath."
    )

    def of_driver(self) -> dict[str, str | int | bool | None]:
        """Return them as the driver names them, with the password."""
        return {
            "cinder_store_auth_address": self.auth_url,
            "cinder_store_user_name": self.user,
            "cinder_store_password": self.password.read(),
            "cinder_store_project_name": self.project,
            "cinder_store_user_domain_name": self.user_domain_name,
            "cinder_store_project_domain_name": self.project_domain_name,
            "cinder_os_region_name": self.region,
            "cinder_volume_type": self.volume_type,
            "cinder_ca_certificates_file": str(self.ca_file) if self.ca_file else None,
            **self.more,
        }
