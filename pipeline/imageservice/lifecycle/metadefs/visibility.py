"""Find a namespace for a caller. What the caller cannot see does not exist: 404, before any other rule is asked."""

from __future__ import annotations

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.metadefs import namespaces
from pipeline.imageservice.errors import Forbidden, NotFound
from pipeline.imageservice.model.metadefs import MetadefNamespace, NamespaceVisibility
from pipeline.imageservice.service import Service

_LONGEST = 80


def find_namespace(
    connection: Connection, service: Service, caller: Caller, name: str, *, lock: bool = False
) -> MetadefNamespace:
    """Return the namespace, if the caller can see it; with ``lock`` nobody else changes it or its contents until the
    transaction ends.

    Raises ``NotFound``.
    """
    namespace = namespaces.find(connection, name, lock=lock) if 0 < len(name) <= _LONGEST else None
    if namespace is None or not may_see(service, caller, namespace):
        raise NotFound(f"Namespace {name[:_LONGEST]} not found")
    return namespace


def may_see(service: Service, caller: Caller, namespace: MetadefNamespace) -> bool:
    """Return whether the namespace is in view (public, own, all of them for administrators) and policy agrees."""
    is_open = namespace.visibility is NamespaceVisibility.PUBLIC
    is_own = caller.project is not None and namespace.owner == caller.project and not caller.read_only
    if not (is_open or is_own or caller.is_admin):
        return False
    return service.policy.may(caller, "get_metadef_namespace", namespace.target)


def refuse_if_protected(namespace: MetadefNamespace) -> None:
    """Raise ``Forbidden`` when nothing may be deleted of the namespace, whoever asks."""
    if namespace.protected:
        raise Forbidden(f"Namespace {namespace.namespace} is protected: neither it nor its contents can be deleted.")
