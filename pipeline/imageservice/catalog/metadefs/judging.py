"""Read the definitions that bind a project's images, and keep them as long as no definition changes."""

from __future__ import annotations

import threading
from collections import OrderedDict

from sqlalchemy import ColumnElement, Connection, and_, or_, select

from pipeline.base import json_text
from pipeline.image.definitions.judge import DefinedProperties
from pipeline.imageservice.catalog.database import tables
from pipeline.imageservice.catalog.metadefs import versions
from pipeline.imageservice.model.metadefs import EVERYBODY, IMAGE, DefinitionKind, NamespaceVisibility

_N, _A, _D = tables.metadef_namespaces, tables.metadef_associations, tables.metadef_definitions
_PROJECTS = 256
_PUBLIC = _N.c.visibility == str(NamespaceVisibility.PUBLIC)


class BindingDefinitions:
    """What binds whose images, one reading for all requests of a process. A look costs one statement, that of the
    count of changes.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[str | None, tuple[int, DefinedProperties]] = OrderedDict()

    def of_project(self, connection: Connection, project: str | None) -> DefinedProperties:
        """Return the definitions that bind the images of ``project``."""
        version = versions.current(connection)  # before what it counts: at worst something newer is read again
        everybodys = self._get(None, version)
        if everybodys is None:
            everybodys = self._put(None, version, _read(connection, and_(_N.c.binds == EVERYBODY, _PUBLIC)))
        if project is None:
            return everybodys
        found = self._get(project, version)
        if found is None:
            own = _read(connection, _of_project(project))
            own.add_all(everybodys)
            found = self._put(project, version, own)
        return found

    def _get(self, project: str | None, version: int) -> DefinedProperties | None:
        with self._lock:
            kept = self._kept.get(project)
            if kept is None or kept[0] != version:
                return None
            self._kept.move_to_end(project)
            return kept[1]

    def _put(self, project: str | None, version: int, found: DefinedProperties) -> DefinedProperties:
        with self._lock:
            self._kept[project] = (version, found)
            self._kept.move_to_end(project)
            while len(self._kept) > _PROJECTS:
                self._kept.popitem(last=False)
        return found


def _of_project(project: str) -> ColumnElement[bool]:
    """Return a project's own: what binds it alone, and what its administrators keep to it."""
    hidden = and_(_N.c.binds == EVERYBODY, _N.c.owner == project, ~_PUBLIC)
    return or_(and_(_N.c.binds == project, _N.c.owner == project), hidden)


def _read(connection: Connection, visible: ColumnElement[bool]) -> DefinedProperties:
    query = select(_N.c.namespace, _A.c.prefix, _D.c.kind, _D.c.name, _D.c.document)
    query = query.join(_A, _A.c.namespace_id == _N.c.id).join(_D, _D.c.namespace_id == _N.c.id)
    kinds = (str(DefinitionKind.PROPERTY), str(DefinitionKind.OBJECT))
    query = query.where(visible, _A.c.resource_type == IMAGE, _D.c.kind.in_(kinds)).order_by(_N.c.namespace)
    found = DefinedProperties()
    for namespace, prefix, kind, name, text in connection.execute(query):
        document = json_text.loads(text)
        is_property = kind == DefinitionKind.PROPERTY
        found.add(namespace, prefix or "", {name: document} if is_property else document.get("properties", {}))
    return found
