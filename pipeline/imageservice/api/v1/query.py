"""Parse the query of ``GET /v1/images`` into what the catalog is asked."""

from __future__ import annotations

import dataclasses

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.images import query as images_query
from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.api.parameters import Parameters
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.model.images import ImageVisibility
from pipeline.imageservice.model.queries import Condition, Query
from pipeline.imageservice.schema import times

_PLAIN = {
    "name",
    "status",
    "container_format",
    "disk_format",
    "min_ram",
    "min_disk",
    "size_min",
    "size_max",
    "protected",
}
_PAGE = {"limit", "marker", "sort_key", "sort_dir"}


def read_query(parameters: Parameters, caller: Caller, options: ApiOptions) -> Query:
    """Return the list that is asked for; its marker is still to be found. Raises ``Invalid``."""
    translated: list[tuple[str, str]] = []
    since: Condition | None = None
    visibility: ImageVisibility | None = None
    for name, value in parameters.pairs:
        if name in _PAGE:
            translated.append((name, value))
        elif name in _PLAIN:
            # Here a colon is a letter like any other.
            translated.append((name, f"eq:{value}" if name in ("name", "status") else _checked(name, value)))
        elif name.startswith("property-"):
            translated.append((name.removeprefix("property-"), value))
        elif name == "changes-since":
            since = Condition("updated_at", "gte", times.read(value, name)[0])
        elif name == "is_public":
            visibility = _visibility(value)
    query = images_query.read_query(Parameters(tuple(translated)), caller, options)
    conditions = (*query.conditions, since) if since is not None else query.conditions
    return dataclasses.replace(query, conditions=conditions, visibility=visibility, member_status=None)


def _checked(name: str, value: str) -> str:
    if name == "protected":
        if value.lower() not in ("true", "false"):
            raise Invalid(f"protected: {value[:32]!r} is neither true nor false")
        return value.lower()
    if name in ("min_ram", "min_disk", "size_min", "size_max") and not value.isdecimal():
        raise Invalid(f"{name}: {value[:32]!r} is not a whole number")
    return value


def _visibility(value: str) -> ImageVisibility | None:
    """``none`` means both, which is the default set."""
    if value.lower() in ("true", "1"):
        return ImageVisibility.PUBLIC
    if value.lower() in ("false", "0"):
        return ImageVisibility.SHARED
    if value.lower() == "none":
        return None
    raise Invalid(f"is_public: {value[:32]!r} is neither true, false nor none")
