"""The default catalogue in the reference: its own command loads the files, and keeps what they say."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pipeline.host.system import process
from pipeline.image.metadefs import catalogue
from tests.environments.daemon import scratch
from tests.environments.venv import environment

pytestmark = pytest.mark.server


def told(document: dict[str, Any]) -> dict[str, Any]:
    """What a document says, without what the reference keeps of its own."""
    types = {one["name"]: one.get("prefix") or "" for one in document["resource_type_associations"]}
    objects = {one["name"]: one["properties"] for one in document.get("objects", ())}
    fields = {name: document.get(name) for name in ("display_name", "description", "visibility")}
    return {**fields, "types": types, "objects": objects, "properties": document.get("properties", {})}


def kept(file: Path) -> dict[str, Any]:
    """What stands in the reference's database, in the same form."""
    with contextlib.closing(sqlite3.connect(file)) as database:

        def of(what: str, namespace: int) -> dict[str, Any]:
            query = f"SELECT name, json_schema FROM metadef_{what} WHERE namespace_id = ?"
            return {name: json.loads(text) for name, text in database.execute(query, (namespace,))}

        found = {}
        query = "SELECT id, namespace, display_name, description, visibility FROM metadef_namespaces"
        for number, name, *fields in database.execute(query).fetchall():
            types = database.execute(
                "SELECT name, prefix FROM metadef_namespace_resource_types "
                "JOIN metadef_resource_types ON resource_type_id = id WHERE namespace_id = ?",
                (number,),
            )
            found[name] = {
                **dict(zip(("display_name", "description", "visibility"), fields, strict=True)),
                "types": {kind: prefix or "" for kind, prefix in types},
                "objects": of("objects", number),
                "properties": of("properties", number),
            }
        return found


def test_the_references_own_command_loads_it_as_it_is() -> None:
    manage = environment("glance").program("glance-manage")
    with scratch("glance-catalogue") as folder:
        (folder / "glance.conf").write_text(f"[database]\nconnection = sqlite:///{folder}/glance.sqlite\n")
        for words in (["db_sync"], ["db_load_metadefs", catalogue.FOLDER]):
            command = [manage, "--config-file", folder / "glance.conf", *words]
            process.run(command, cwd=folder, env={"PYTHONWARNINGS": "ignore"})
        theirs = kept(folder / "glance.sqlite")
    assert theirs == {str(one["namespace"]): told(dict(one)) for one in catalogue.documents()}
