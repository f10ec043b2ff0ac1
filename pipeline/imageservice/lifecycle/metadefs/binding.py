"""Decide whose images a namespace's definitions are held against: everybody's only where administrators wrote them.

Where policy lets members write, a stranger's public definition would otherwise stop everybody's images.
"""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.metadefs import namespaces
from pipeline.imageservice.model.metadefs import EVERYBODY, DefinitionKind, MetadefNamespace, NamespaceFields


def binding_of(caller: Caller, fields: NamespaceFields, owner: str | None) -> str | None:
    """Return whom a namespace binds that ``caller`` writes down: everybody where an administrator gives it to the
    administrator's own project, to nobody, or protects it; else its owner; nobody where a stranger wrote it.
    """
    if caller.is_admin:
        return EVERYBODY if fields.protected or owner in (None, caller.project) else owner
    return owner if owner == caller.project else None


def operators_binding(owner: str | None) -> str | None:
    """Return whom a namespace binds that the operator loads: a file may be an export of a member's own."""
    return EVERYBODY if owner is None else owner


def adopted_binding(fields: NamespaceFields, admin_projects: Collection[str]) -> str | None:
    """Return whom a namespace of the reference's database binds, which keeps no writers: everybody where it is
    nobody's, one of the administrators' projects', or protected; else its owner.
    """
    owner = fields.owner
    return EVERYBODY if owner is None or fields.protected or owner in admin_projects else owner


def note_writer(
    connection: Connection, caller: Caller, namespace: MetadefNamespace, kind: DefinitionKind | None = None
) -> None:
    """Bind fewer, from now on, when somebody else than an administrator changes what a (locked) namespace defines:
    definitions of one kind, or without ``kind`` what it is for.

    Tags say nothing that images are held against: whoever may only tag must not end what others' definitions do.
    """
    if caller.is_admin or kind is DefinitionKind.TAG:
        return
    is_own = namespace.owner is not None and namespace.owner == caller.project
    binds = namespace.owner if is_own and namespace.binds is not None else None
    if binds != namespace.binds:
        namespaces.bind(connection, namespace, binds)
