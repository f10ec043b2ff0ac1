"""Declare the settings of a store in Swift."""

from __future__ import annotations

import configparser
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.base.settings_path import SettingsPath, resolved
from pipeline.imageservice.stores.base_options import ObjectOptions, StoreSecret

_MIB = 1 << 20
# The names of a reference file's options, and ours.
_REFERENCE = {
    "auth_address": "auth_url",
    "auth_version": "auth_version",
    "user": "user",
    "key": "key",
    "application_credential_id": "application_credential_id",
    "application_credential_secret": "application_credential_secret",
    "user_domain_id": "user_domain_id",
    "user_domain_name": "user_domain_name",
    "project_domain_id": "project_domain_id",
    "project_domain_name": "project_domain_name",
}


class SwiftOptions(ObjectOptions):
    """Images as objects of one account in Swift. Times in seconds."""

    type: Literal["swift"] = "swift"
    reference: str = Field(
        "ref1",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description="The account's name in addresses: swift+config://REFERENCE/CONTAINER/IMAGE.",
    )
    reference_file: SettingsPath | None = Field(
        None, description="A file such as glance-swift.conf, whose section `reference` says where and who to log in as."
    )
    auth_url: str = Field(description="Where to log in: Keystone's address with /v3, or that of tempauth.")
    auth_version: Literal["1", "3"] = Field("3", description="3 for Keystone, 1 for tempauth and its like.")
    user: str | None = Field(None, description="The user, or PROJECT:USER.")
    key: StoreSecret | None = Field(None, description="The password, as text, {file: PATH} or {environment: NAME}.")
    project: str | None = Field(None, description="The project, where `user` does not name it.")
    user_domain_name: str | None = Field(None, description="The user's domain, by name.")
    user_domain_id: str | None = Field(None, description="The user's domain, by id; `default` where nothing is said.")
    project_domain_name: str | None = Field(None, description="The project's domain, by name.")
    project_domain_id: str | None = Field(None, description="The project's domain, by id; else `default`.")
    application_credential_id: str | None = Field(None, description="An application credential instead of a user.")
    application_credential_secret: StoreSecret | None = Field(None, description="Its secret.")
    region: str | None = Field(None, description="The region whose object store is used.")
    interface: Literal["public", "internal", "admin"] = Field("public", description="Which of its endpoints.")
    service_type: str = Field("object-store", description="Its type in the catalogue.")
    endpoint: str | None = Field(None, description="The account's address, instead of the catalogue's.")
    container: str = Field("glance", pattern=r"^[^/?#\s]{1,200}$", description="The container that holds the images.")
    containers_seed: int = Field(
        0, ge=0, le=32, description="Spread images over containers named by so many characters of their ids."
    )
    create_container: bool = Field(False, description="Make containers when they are missing.")
    segment_size: int = Field(
        16 * _MIB, ge=1 * _MIB, le=512 * _MIB, description="Bytes of one segment; smaller images are single objects."
    )
    segments_at_once: int = Field(3, ge=1, le=32, description="Segments of one image sent at the same time.")

    @model_validator(mode="before")
    @classmethod
    def _from_reference_file(cls, data: Any, info: ValidationInfo) -> Any:
        if not isinstance(data, dict) or not data.get("reference_file"):
            return data
        parser = configparser.RawConfigParser()
        section = str(data.get("reference", "ref1"))
        try:
            parser.read_string(resolved(str(data["reference_file"]), info).read_text())
        except OSError as error:
            raise ValueError(f"reference_file: {data['reference_file']} cannot be read: {error.strerror}") from None
        except (configparser.Error, UnicodeDecodeError):
            raise ValueError(
                f"reference_file: {data['reference_file']} is not a file of sections and options"
            ) from None
        if not parser.has_section(section):
            raise ValueError(f"reference_file: {data['reference_file']} has no section [{section}]")
        found = {ours: parser.get(section, theirs, fallback=None) for theirs, ours in _REFERENCE.items()}
        return {**{name: value for name, value in found.items() if value}, **data}

    @field_validator("auth_url")
    @classmethod
    def _address(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username:
            raise ValueError("write an address: https://HOST/v3, without credentials")
        return value.rstrip("/")

    @model_validator(mode="after")
    def _somebody(self) -> Self:
        user = self.user is not None and self.key is not None
        application = self.application_credential_id is not None and self.application_credential_secret is not None
        if user == application:
            raise ValueError("give user and key, or application_credential_id and application_credential_secret")
        if application and self.auth_version == "1":
            raise ValueError("application credentials need auth_version 3")
        if user and self.auth_version == "3" and not self.project and ":" not in str(self.user):
            raise ValueError("project: is missing, and user does not name it (PROJECT:USER)")
        return self
