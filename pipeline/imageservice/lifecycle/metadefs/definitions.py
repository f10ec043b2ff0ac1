"""Show, add, change and delete what a namespace defines: objects, properties, tags."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.metadefs import definitions, resource_types
from pipeline.imageservice.errors import NotFound
from pipeline.imageservice.lifecycle.metadefs import room
from pipeline.imageservice.lifecycle.metadefs.binding import note_writer
from pipeline.imageservice.lifecycle.metadefs.visibility import find_namespace, refuse_if_protected
from pipeline.imageservice.model.metadefs import Definition, DefinitionKind, DefinitionQuery, MetadefNamespace
from pipeline.imageservice.notifications import metadef_payloads as payloads
from pipeline.imageservice.service import Service


@dataclass(frozen=True, slots=True)
class _Actions:
    """The policies of one kind of definition."""

    list: str
    show: str
    add: str
    modify: str
    remove: str


_ACTIONS = {
    DefinitionKind.OBJECT: _Actions(
        "get_metadef_objects",
        "get_metadef_object",
        "add_metadef_object",
        "modify_metadef_object",
        "delete_metadef_object",
    ),
    DefinitionKind.PROPERTY: _Actions(
        "get_metadef_properties",
        "get_metadef_property",
        "add_metadef_property",
        "modify_metadef_property",
        "remove_metadef_property",
    ),
    DefinitionKind.TAG: _Actions(
        "get_metadef_tags", "get_metadef_tag", "add_metadef_tag", "modify_metadef_tag", "delete_metadef_tag"
    ),
}


def list_definitions(
    service: Service, caller: Caller, name: str, query: DefinitionQuery
) -> tuple[MetadefNamespace, list[Definition]]:
    """Find a namespace's definitions of one kind. Raises ``Forbidden``, and ``NotFound``, also for the marker."""
    actions = _ACTIONS[query.kind]
    with service.database.read() as connection:
        namespace = find_namespace(connection, service, caller, name)
        service.policy.require(caller, actions.list, namespace.target)
        found = definitions.listed(connection, namespace.id, query)
    # All of one namespace have one target, so the rule hides all of its objects or none.
    is_hidden = query.kind is DefinitionKind.OBJECT and not service.policy.may(caller, actions.show, namespace.target)
    return namespace, [] if is_hidden else found


def show_definition(
    service: Service,
    caller: Caller,
    name: str,
    kind: DefinitionKind,
    definition: str,
    resource_type: str | None = None,
) -> tuple[MetadefNamespace, Definition]:
    """Look at one definition. With ``resource_type``, ``definition`` is a property's name with the prefix it has there.

    Raises ``NotFound``, ``Forbidden``.
    """
    with service.database.read() as connection:
        namespace = find_namespace(connection, service, caller, name)
        service.policy.require(caller, _ACTIONS[kind].show, namespace.target)
        if resource_type:
            service.policy.require(caller, "get_metadef_resource_type", namespace.target)
            definition = _without_prefix(connection, namespace, resource_type, definition)
        return namespace, definitions.get(connection, namespace.id, kind, definition)


def add_definition(
    service: Service, caller: Caller, name: str, definition: Definition
) -> tuple[MetadefNamespace, Definition]:
    """Add one definition. Raises ``NotFound``, ``Forbidden``, ``Duplicate``, ``LimitExceeded``."""

    def work(connection: Connection) -> tuple[MetadefNamespace, Definition]:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, _ACTIONS[definition.kind].add, namespace.target)
        room.check_definitions(service, connection, namespace.id, [definition])
        note_writer(connection, caller, namespace, definition.kind)
        return namespace, definitions.add(connection, namespace.id, [definition])[0]

    namespace, written = service.database.write(work)
    _notify(service, caller, "create", namespace, written)
    return namespace, written


def change_definition(
    service: Service, caller: Caller, name: str, old_name: str, after: Definition
) -> tuple[MetadefNamespace, Definition]:
    """Replace one definition, its name with it. Raises as ``add_definition``."""

    def work(connection: Connection) -> tuple[MetadefNamespace, Definition]:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, _ACTIONS[after.kind].modify, namespace.target)
        before = definitions.get(connection, namespace.id, after.kind, old_name)
        room.check_definitions(service, connection, namespace.id, [after], [before])
        note_writer(connection, caller, namespace, after.kind)
        return namespace, definitions.change(connection, namespace.id, before, after)

    namespace, written = service.database.write(work)
    _notify(service, caller, "update", namespace, written, name_old=old_name)
    return namespace, written


def remove_definition(service: Service, caller: Caller, name: str, kind: DefinitionKind, definition: str) -> None:
    """Delete one definition. Raises ``NotFound``, ``Forbidden``."""

    def work(connection: Connection) -> tuple[MetadefNamespace, Definition]:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, _ACTIONS[kind].remove, namespace.target)
        known = definitions.get(connection, namespace.id, kind, definition)
        refuse_if_protected(namespace)
        note_writer(connection, caller, namespace, kind)
        definitions.remove(connection, namespace.id, known)
        return namespace, known

    namespace, known = service.database.write(work)
    _notify(service, caller, "delete", namespace, known)


def set_tags(
    service: Service, caller: Caller, name: str, tags: Sequence[Definition], *, append: bool
) -> list[Definition]:
    """Give a namespace exactly these tags, or with ``append`` these too.

    Raises ``NotFound``, ``Forbidden`` (also where a protected namespace would lose a tag), ``Duplicate``,
    ``LimitExceeded``.
    """

    def work(connection: Connection) -> tuple[MetadefNamespace, list[Definition]]:
        namespace = find_namespace(connection, service, caller, name, lock=True)
        service.policy.require(caller, "add_metadef_tags", namespace.target)
        if not append:
            _drop_tags(connection, namespace, tags)
        room.check_definitions(service, connection, namespace.id, tags)
        return namespace, definitions.add(connection, namespace.id, tags)

    namespace, written = service.database.write(work)
    for tag in written:
        _notify(service, caller, "create", namespace, tag)
    return written


def _drop_tags(connection: Connection, namespace: MetadefNamespace, tags: Sequence[Definition]) -> None:
    kept = {tag.name for tag in tags}
    known = definitions.listed(connection, namespace.id, DefinitionQuery(DefinitionKind.TAG))
    if any(tag.name not in kept for tag in known):
        refuse_if_protected(namespace)
    definitions.clear(connection, namespace.id, DefinitionKind.TAG)


def _without_prefix(connection: Connection, namespace: MetadefNamespace, resource_type: str, name: str) -> str:
    known = {one.name: one.prefix or "" for one in resource_types.associations_of(connection, namespace.id)}
    if resource_type not in known:
        raise NotFound(f"The namespace {namespace.namespace} is not associated with {resource_type[:80]}.")
    prefix = known[resource_type]
    if not prefix or not name.startswith(prefix):
        raise NotFound(
            f"Property {name[:160]} does not start with the expected resource type association prefix of '{prefix}'."
        )
    return name.removeprefix(prefix)


def _notify(
    service: Service, caller: Caller, event: str, namespace: MetadefNamespace, one: Definition, **more: str
) -> None:
    payload = payloads.definition_payload(namespace, one) | more
    if event == "delete":
        payload = payloads.deleted(payload)
    service.notifier.other(f"metadef_{one.kind}.{event}", payload, caller)
