"""Parse the queries of lists of namespaces and of what they define."""

from __future__ import annotations

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.api.parameters import Parameters, read_directions, read_integer, read_limit
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.model.metadefs import (
    DEFINITION_SORT_KEYS,
    NAMESPACE_SORT_KEYS,
    DefinitionKind,
    DefinitionQuery,
    NamespaceQuery,
    NamespaceVisibility,
)


def read_namespaces(parameters: Parameters, caller: Caller, options: ApiOptions) -> NamespaceQuery:
    """Return the list of namespaces that is asked for; ``marker`` is left to be looked up. Raises ``Invalid``."""
    visibility = parameters.one("visibility")
    types = (parameters.one("resource_types") or "").split(",")
    return NamespaceQuery(
        project=None if caller.read_only else caller.project,
        sees_all=caller.is_admin,
        limit=read_limit(parameters, options),
        sort_key=_sort_key(parameters, NAMESPACE_SORT_KEYS),
        descending=_descending(parameters),
        visibility=_visibility(visibility) if visibility else None,
        resource_types=tuple(name for name in types if name),
    )


def read_definitions(parameters: Parameters, kind: DefinitionKind) -> DefinitionQuery:
    """Return the list of a namespace's objects or tags that is asked for. Raises ``Invalid``."""
    limit = parameters.one("limit")
    number = read_integer(limit, "limit") if limit else None
    least = 1 if kind is DefinitionKind.OBJECT else 0
    if number is not None and number < least:
        raise Invalid("limit param must be positive")
    visibility = parameters.one("visibility")
    if visibility and visibility != "shared":  # of no effect here, as in the reference, but not any text
        _visibility(visibility)
    return DefinitionQuery(
        kind=kind,
        limit=number,
        sort_key=_sort_key(parameters, DEFINITION_SORT_KEYS),
        descending=_descending(parameters),
        marker=parameters.one("marker") or None,
    )


def _sort_key(parameters: Parameters, known: tuple[str, ...]) -> str:
    key = parameters.one("sort_key") or "created_at"
    if key not in known:
        raise Invalid(f"Invalid sort key: {key[:64]!r}; use {', '.join(known)}")
    return key


def _descending(parameters: Parameters) -> bool:
    directions = read_directions(parameters.all("sort_dir")[-1:])
    return directions[0] if directions else True


def _visibility(text: str) -> NamespaceVisibility:
    try:
        return NamespaceVisibility(text)
    except ValueError:
        raise Invalid(f"Invalid visibility value: {text[:64]!r}; use {', '.join(NamespaceVisibility)}") from None
