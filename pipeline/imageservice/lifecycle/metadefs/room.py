"""Bound what metadata definitions may take of the database: how many, and how large together.

What is counted in a namespace stands still, since that is locked. What is counted across namespaces is counted after
the writer has taken its turn (``versions.bump``), so that two at once cannot both take the last place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.metadefs import definitions, namespaces, resource_types, versions
from pipeline.imageservice.errors import LimitExceeded
from pipeline.imageservice.model.metadefs import Association, Definition
from pipeline.imageservice.service import Service

_PLURALS = {"object": "objects", "property": "properties", "tag": "tags"}


def check_namespaces(service: Service, connection: Connection, owner: str | None) -> None:
    """Raise ``LimitExceeded`` when the project may own no further namespace."""
    limit = service.settings.quotas.metadef_namespaces
    if limit < 0:
        return
    versions.bump(connection)
    if namespaces.count(connection, owner) >= limit:
        raise LimitExceeded(f"The limit of {limit} namespaces of metadata definitions is reached by the project.")


def check_definitions(
    service: Service,
    connection: Connection,
    namespace_id: str,
    added: Sequence[Definition],
    removed: Sequence[Definition] = (),
) -> None:
    """Raise ``LimitExceeded`` when the (locked) namespace has no room for ``added`` once ``removed`` are gone.

    All documents of a namespace together are no more than one request may bring, so that what is exported can be
    loaded again and what is shown has a bound.
    """
    weight = definitions.weigh(connection, namespace_id)
    limit = service.settings.quotas.metadef_definitions
    more, less = Counter(one.kind for one in added), Counter(one.kind for one in removed)
    for kind, number in more.items():
        if limit >= 0 and number > less[kind] and weight.counts[kind] + number - less[kind] > limit:
            raise LimitExceeded(f"A namespace may have {limit} {_PLURALS[kind]} at the most.")
    longest = service.settings.api.max_body
    growth = sum(map(definitions.size_of, added)) - sum(map(definitions.size_of, removed))
    if growth > 0 and weight.size + growth > longest:
        raise LimitExceeded(f"The definitions of a namespace may take {longest} bytes together at the most.")


def check_associations(
    service: Service, connection: Connection, namespace_id: str, added: Sequence[Association]
) -> None:
    """Raise ``LimitExceeded`` when the (locked) namespace may be for no further types of resources."""
    limit = service.settings.quotas.metadef_definitions
    if added and limit >= 0 and resource_types.count(connection, namespace_id) + len(added) > limit:
        raise LimitExceeded(f"A namespace may be associated with {limit} resource types at the most.")


def check_types(service: Service, connection: Connection, caller: Caller, added: Sequence[Association]) -> None:
    """Raise ``LimitExceeded`` when others than administrators would make too many types of resources known.

    They are everybody's and outlast the namespaces that named them, so that no limit of a project bounds them. Where
    there is no room, those that no namespace is for any more make it.
    """
    limit, names = service.settings.quotas.metadef_resource_types, [one.name for one in added]
    if caller.is_admin or limit < 0 or not names:
        return
    versions.bump(connection)
    if resource_types.count_with(connection, names) <= limit:
        return
    resource_types.forget_unused(connection)
    if resource_types.count_with(connection, names) > limit:
        raise LimitExceeded(f"The limit of {limit} types of resources is reached.")
