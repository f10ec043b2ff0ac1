"""Declare the settings of identity, policy, property protections and quotas."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from pipeline.base.settings_path import SettingsPath


class OptionsModel(BaseModel):
    """A closed, frozen part of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _off(value: Any) -> Any:
    """YAML takes the word for a truth."""
    return "off" if value is False else value


class StaticToken(OptionsModel):
    """A token that stands for one user in one project."""

    name: str = Field("operator", pattern=r"^[A-Za-z0-9._-]{1,64}$", description="What the log calls the token.")
    token: SecretStr | None = Field(None, min_length=8, description="The token itself; better keep it in a file.")
    token_file: SettingsPath | None = Field(
        None, description="A file that holds the token, mode 0600; made with a random token when it is missing."
    )
    user: str = Field("operator", description="The user id requests with this token are made by.")
    project: str = Field("operator", description="The project they are made for, which owns what they create.")
    roles: list[str] = Field(
        ["admin"], description="Roles in that project: admin, member, reader, service, or your own."
    )

    @model_validator(mode="after")
    def _one_source(self) -> StaticToken:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("give either token or token_file")
        return self


class StaticIdentity(OptionsModel):
    """A fixed list of tokens: the embedded service's way."""

    kind: Literal["static"] = "static"
    tokens: list[StaticToken] | None = Field(
        None, min_length=1, description="The tokens; by default one for an administrator, in the file `token`."
    )


class NoIdentity(OptionsModel):
    """Everybody who reaches the service is the same caller. On loopback only."""

    kind: Literal["none"] = "none"
    user: str = Field("anyone", description="The user id of every request.")
    project: str = Field("anyone", description="The project of every request.")
    roles: list[str] = Field(["admin"], description="The roles of every request.")


class KeystoneIdentity(OptionsModel):
    """Tokens of OpenStack's identity service, checked by keystonemiddleware."""

    kind: Literal["keystone"] = "keystone"
    options: dict[str, Any] = Field(
        default_factory=dict,
        description="The options of keystonemiddleware's section [keystone_authtoken]: auth_url, auth_type, username, "
        "project_name, user_domain_name, project_domain_name, www_authenticate_uri, memcached_servers, …",
    )
    password_file: SettingsPath | None = Field(None, description="A file with the service user's password, mode 0600.")
    config_file: SettingsPath | None = Field(
        None, description="An oslo.config file with the section [keystone_authtoken], such as glance-api.conf."
    )
    service_roles: list[str] = Field(["service"], description="Roles that make a token good as a service token.")


IdentityOptions = Annotated[StaticIdentity | NoIdentity | KeystoneIdentity, Field(discriminator="kind")]


class PolicyOptions(OptionsModel):
    """Who may do what, where it is not the default."""

    file: SettingsPath | None = Field(
        None,
        description="An oslo.policy file (YAML or JSON), or an environment file of TripleO with "
        "GlanceApiPolicies; its rules replace the defaults.",
    )
    folders: list[SettingsPath] = Field([], description="Folders with further policy files.")
    property_protections: SettingsPath | None = Field(
        None, description="Rules for custom properties, as in the reference's property-protections file."
    )
    property_protection_format: Literal["roles", "policies"] = Field(
        "roles", description="What the rules name: roles, or policies of the policy file."
    )


class QuotaLimits(OptionsModel):
    """Limits of one project. Sizes in MiB; what is missing is not limited."""

    image_size_total: int | None = Field(None, ge=0, description="MiB stored, each copy in a store counted.")
    image_stage_total: int | None = Field(None, ge=0, description="MiB in staging.")
    image_count_total: int | None = Field(None, ge=0, description="Images.")
    image_count_uploading: int | None = Field(None, ge=0, description="Images whose data is on its way.")


class QuotaOptions(OptionsModel):
    """How much each project may have."""

    source: Annotated[Literal["off", "settings", "keystone"], BeforeValidator(_off)] = Field(
        "off",
        description="Where the limits of projects come from: nowhere, `default` and `projects` below, or the unified "
        "limits of the identity service (a limit that is not registered there is 0).",
    )
    default: QuotaLimits = Field(default_factory=QuotaLimits, description="For projects not named below.")
    projects: dict[str, QuotaLimits] = Field(default_factory=dict, description="Limits by project id.")
    keystone_service: str = Field("image", description="Type or name of the service the limits are registered for.")
    keystone_region: str | None = Field(None, description="Region the limits are registered for.")
    cache_seconds: float = Field(30, ge=0, description="How long limits of the identity service are remembered.")
    user_storage: str = Field(
        "0",
        pattern=r"^\d+\s*(B|KB|MB|GB|TB)?$",
        description="Bytes a project may store (`500 GB`; base 1024; 0: no limit), when `source` is off.",
    )
    image_members: int = Field(128, description="Projects an image may be shared with; negative: no limit.")
    image_properties: int = Field(128, description="Custom properties of an image; negative: no limit.")
    property_bytes: int = Field(65_535, ge=255, description="Bytes (UTF-8) of a custom property's value.")
    image_metadata_bytes: int = Field(
        1 << 20, ge=1 << 10, description="Bytes (UTF-8) of an image's custom properties and tags together."
    )
    image_tags: int = Field(128, description="Tags of an image; negative: no limit.")
    image_locations: int = Field(10, description="Locations of an image; negative: no limit.")
    metadef_namespaces: int = Field(
        1000, description="Namespaces of metadata definitions that a project may own; negative: no limit."
    )
    metadef_definitions: int = Field(
        1000,
        description="Objects, properties, tags and resource types of one namespace, of each kind; negative: no limit.",
    )
    metadef_resource_types: int = Field(
        10_000,
        description="Types of resources that are known, for others than administrators to add to; negative: no limit.",
    )
    image_size: int = Field(1 << 40, gt=0, description="Bytes of one image.")

    @property
    def user_storage_bytes(self) -> int:
        """``user_storage`` in bytes."""
        digits = self.user_storage.rstrip("BKMGT ")
        return int(digits) << (10 * " KMGT".index(self.user_storage.removeprefix(digits).strip()[:-1] or " "))


class Validation(StrEnum):
    """What becomes of images whose properties are wrong by the metadata definitions."""

    OFF = "off"
    WARN = "warn"
    REFUSE = "refuse"


class MetadefOptions(OptionsModel):
    """What metadata definitions do."""

    validation: Annotated[Validation, BeforeValidator(_off)] = Field(
        Validation.OFF,
        alias="validate",
        description="Whether images' properties are held against the metadata definitions when they are set: `warn` "
        "says what is wrong or unknown in the log and in the answer, `refuse` takes no wrong one.",
    )
    refuse_services: bool = Field(
        False, description="Whether `refuse` is for other services of the cloud, too (role `service`); they are warned."
    )
