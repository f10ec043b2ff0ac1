"""Describe metadata definitions: namespaces with what they define, and the resources that is for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

# Whom a namespace binds that an administrator wrote.
EVERYBODY = "*"
# The type of resource whose properties are held against definitions.
IMAGE = "OS::Glance::Image"


class NamespaceVisibility(StrEnum):
    """Who a namespace is for."""

    PUBLIC = "public"
    PRIVATE = "private"


class DefinitionKind(StrEnum):
    """What a namespace can define. The values are the words of the API's paths, in the singular."""

    OBJECT = "object"
    PROPERTY = "property"
    TAG = "tag"

    def key(self, name: str) -> str:
        """Return what ``name`` is unique by: tags differ by more than case."""
        return name.casefold() if self is DefinitionKind.TAG else name


@dataclass(frozen=True, slots=True)
class NamespaceFields:
    """What a client says of a namespace. Without ``owner`` it is the caller's project's."""

    namespace: str
    display_name: str | None = None
    description: str | None = None
    visibility: NamespaceVisibility = NamespaceVisibility.PRIVATE
    protected: bool = False
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class MetadefNamespace:
    """One namespace, without its contents. Times in microseconds; ``id`` stays when it is renamed.

    ``binds``: the project whose images its definitions are held against, ``EVERYBODY``, or nobody.
    """

    id: str
    namespace: str
    display_name: str | None
    description: str | None
    visibility: NamespaceVisibility
    protected: bool
    owner: str | None
    created_at: int
    updated_at: int
    binds: str | None = None

    @property
    def target(self) -> dict[str, Any]:
        """The namespace as policies see it."""
        return {
            "project_id": self.owner,
            "owner": self.owner,
            "namespace": self.namespace,
            "visibility": str(self.visibility),
            "protected": self.protected,
        }


@dataclass(frozen=True, slots=True)
class Definition:
    """An object, a property or a tag. ``document`` is what the client sent; times are 0 until it is stored."""

    kind: DefinitionKind
    name: str
    document: Mapping[str, Any]
    created_at: int = 0
    updated_at: int = 0


@dataclass(frozen=True, slots=True)
class Association:
    """That a namespace is for resources of the type ``name``, and what its properties begin with there."""

    name: str
    prefix: str | None = None
    properties_target: str | None = None
    created_at: int = 0
    updated_at: int = 0


# What a fresh service knows of other services' resources (migration 0006 writes them down).
FIRST_RESOURCE_TYPES = (
    "OS::Cinder::Volume",
    "OS::Glance::Image",
    "OS::Nova::Aggregate",
    "OS::Nova::Flavor",
    "OS::Nova::Server",
    "OS::Trove::Instance",
)


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A type of resource that namespaces can be for."""

    name: str
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class NamespaceView:
    """A namespace with its associations and, where it is shown in full, what it defines."""

    namespace: MetadefNamespace
    associations: tuple[Association, ...] = ()
    definitions: tuple[Definition, ...] = ()

    def prefix_for(self, resource_type: str) -> str:
        """Return what properties begin with on resources of a type; empty without one."""
        return next((one.prefix or "" for one in self.associations if one.name == resource_type), "")


NAMESPACE_SORT_KEYS = (
    "created_at", "updated_at", "namespace", "display_name", "description", "visibility", "protected", "owner", "id"
)  # fmt: skip
DEFINITION_SORT_KEYS = ("created_at", "updated_at", "name")


@dataclass(frozen=True, slots=True)
class NamespaceQuery:
    """A list of namespaces. ``project``: whose private ones are seen beside public ones; ``sees_all``: everybody's."""

    project: str | None
    sees_all: bool
    limit: int
    sort_key: str = "created_at"
    descending: bool = True
    visibility: NamespaceVisibility | None = None
    resource_types: tuple[str, ...] = ()
    marker: MetadefNamespace | None = None


@dataclass(frozen=True, slots=True)
class DefinitionQuery:
    """A list of a namespace's definitions; ``limit`` ``None`` for all, ``marker`` the name the page begins after."""

    kind: DefinitionKind
    limit: int | None = None
    sort_key: str = "created_at"
    descending: bool = True
    marker: str | None = None
