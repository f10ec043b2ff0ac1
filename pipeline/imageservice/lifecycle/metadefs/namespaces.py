"""Create, show, list, change and delete namespaces of metadata definitions."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.metadefs import definitions, namespaces, resource_types
from pipeline.imageservice.errors import Forbidden
from pipeline.imageservice.lifecycle.metadefs import room
from pipeline.imageservice.lifecycle.metadefs.binding import binding_of, note_writer
from pipeline.imageservice.lifecycle.metadefs.visibility import find_namespace, may_see, refuse_if_protected
from pipeline.imageservice.model.metadefs import (
    Association,
    Definition,
    DefinitionKind,
    MetadefNamespace,
    NamespaceFields,
    NamespaceQuery,
    NamespaceView,
)
from pipeline.imageservice.notifications import metadef_payloads as payloads
from pipeline.imageservice.service import Service

_ADDING = {
    DefinitionKind.OBJECT: "add_metadef_object",
    DefinitionKind.PROPERTY: "add_metadef_property",
    DefinitionKind.TAG: "add_metadef_tag",
}
_PLURALS = {DefinitionKind.OBJECT: "objects", DefinitionKind.PROPERTY: "properties", DefinitionKind.TAG: "tags"}


def create_namespace(
    service: Service,
    caller: Caller,
    fields: NamespaceFields,
    associations: Sequence[Association] = (),
    contents: Sequence[Definition] = (),
) -> NamespaceView:
    """Make a namespace with what it defines: all of it, or nothing.

    Raises ``Forbidden``, ``Duplicate``, ``LimitExceeded``.
    """
    service.policy.require(caller, "add_metadef_namespace")
    if associations:
        service.policy.require(caller, "add_metadef_resource_type_association")
    for kind in sorted({one.kind for one in contents}):
        service.policy.require(caller, _ADDING[kind])
    owner = _owner(caller, fields, caller.project)

    def work(connection: Connection) -> NamespaceView:
        room.check_namespaces(service, connection, owner)
        namespace = namespaces.add(connection, fields, owner, binding_of(caller, fields, owner))
        room.check_associations(service, connection, namespace.id, associations)
        room.check_types(service, connection, caller, associations)
        room.check_definitions(service, connection, namespace.id, contents)
        resource_types.associate(connection, namespace.id, associations)
        for kind in DefinitionKind:
            definitions.add(connection, namespace.id, [one for one in contents if one.kind is kind])
        return NamespaceView(
            namespace,
            resource_types.associations_of(connection, namespace.id),
            definitions.of_namespace(connection, namespace.id),
        )

    view = service.database.write(work)
    notify = service.notifier.other
    notify("metadef_namespace.create", payloads.namespace_payload(view.namespace), caller)
    for association in view.associations:
        payload = payloads.association_payload(view.namespace, association)
        notify("metadef_resource_type.create", payload, caller)
    for one in view.definitions:
        notify(f"metadef_{one.kind}.create", payloads.definition_payload(view.namespace, one), caller)
    return view


def show_namespace(service: Service, caller: Caller, name: str) -> NamespaceView:
    """Look at a namespace with all that is in it. Raises ``NotFound``, ``Forbidden``."""
    with service.database.read() as connection:
        namespace = find_namespace(connection, service, caller, name)
        for action in (
            "list_metadef_resource_types",
            "get_metadef_objects",
            "get_metadef_properties",
            "get_metadef_tags",
        ):
            service.policy.require(caller, action, namespace.target)
        return NamespaceView(
            namespace,
            resource_types.associations_of(connection, namespace.id),
            definitions.of_namespace(connection, namespace.id),
        )


def list_namespaces(
    service: Service, caller: Caller, query: NamespaceQuery, marker: str | None = None
) -> tuple[list[NamespaceView], bool]:
    """Find the namespaces that ``query`` asks for and the caller may see; whether more follow.

    Pages are full whatever the policy hides: it is asked before they are cut. Raises ``Forbidden``, and ``NotFound``
    for a marker that is no namespace the caller sees.
    """
    service.policy.require(caller, "get_metadef_namespaces")
    service.policy.require(caller, "list_metadef_resource_types")
    found: list[NamespaceView] = []
    with service.database.read() as connection:
        last = None if marker is None else find_namespace(connection, service, caller, marker)
        limit = query.limit
        while len(found) <= limit:
            asked = dataclasses.replace(query, limit=limit + 1, marker=last)
            page = namespaces.page(connection, asked)
            found += [view for view in page if may_see(service, caller, view.namespace)]
            if len(page) < asked.limit:
                break
            last = page[-1].namespace
    return found[:limit], len(found) > limit


def change_namespace(service: Service, caller: Caller, name: str, fields: NamespaceFields) -> MetadefNamespace:
    """Replace the fields of a namespace, its name among them; what it defines stays.

    Raises ``NotFound``, ``Forbidden``, ``Duplicate``, ``LimitExceeded``.
    """

    def work(connection: Connection) -> MetadefNamespace:
        before = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, "modify_metadef_namespace", before.target)
        # Whoever may edit what others own does not take it over by leaving the owner out; an administrator does, as
        # the protocol has it.
        owner = _owner(caller, fields, caller.project if caller.is_admin else before.owner, before.owner)
        if owner != before.owner:
            room.check_namespaces(service, connection, owner)
        return namespaces.change(connection, before, fields, owner, binding_of(caller, fields, owner))

    after = service.database.write(work)
    payload = payloads.namespace_payload(after) | {"namespace_old": name}
    service.notifier.other("metadef_namespace.update", payload, caller)
    return after


def delete_namespace(service: Service, caller: Caller, name: str) -> None:
    """Delete a namespace with everything in it. Raises ``NotFound``, ``Forbidden``."""

    def work(connection: Connection) -> MetadefNamespace:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, "delete_metadef_namespace", namespace.target)
        refuse_if_protected(namespace)
        namespaces.remove(connection, namespace)
        return namespace

    namespace = service.database.write(work)
    payload = payloads.deleted(payloads.namespace_payload(namespace))
    service.notifier.other("metadef_namespace.delete", payload, caller)


def clear_namespace(service: Service, caller: Caller, name: str, kind: DefinitionKind) -> None:
    """Delete everything of one kind in a namespace. Raises ``NotFound``, ``Forbidden``."""

    def work(connection: Connection) -> MetadefNamespace:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, "delete_metadef_namespace", namespace.target)
        if kind is DefinitionKind.TAG:
            service.policy.require(caller, "delete_metadef_tags", namespace.target)
        refuse_if_protected(namespace)
        note_writer(connection, caller, namespace, kind)
        definitions.clear(connection, namespace.id, kind)
        return namespace

    namespace = service.database.write(work)
    payload = payloads.deleted(payloads.namespace_payload(namespace))
    service.notifier.other(f"metadef_namespace.delete_{_PLURALS[kind]}", payload, caller)


def _owner(caller: Caller, fields: NamespaceFields, fallback: str | None, present: str | None = None) -> str | None:
    """Return who is to own a namespace: others than administrators give it to nobody else."""
    if fields.owner is None:
        return fallback
    if not caller.is_admin and fields.owner not in (caller.project, present):
        raise Forbidden("Only an administrator may give a namespace to another project.")
    return fields.owner
