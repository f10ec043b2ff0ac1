"""Rows of the reference's database that no client could have written."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy

from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.metadefs import definitions, namespaces, resource_types
from pipeline.imageservice.catalog.metadefs.judging import BindingDefinitions
from pipeline.imageservice.lifecycle.metadefs import adopt
from pipeline.imageservice.lifecycle.other_catalog import opened
from pipeline.imageservice.model.metadefs import EVERYBODY

_TIMES = "created_at DATETIME, updated_at DATETIME"
_INSIDE = "id INTEGER PRIMARY KEY, namespace_id INTEGER, name VARCHAR(80)"
TABLES = f"""
CREATE TABLE metadef_namespaces (id INTEGER PRIMARY KEY, namespace VARCHAR(80), display_name VARCHAR(80),
  description TEXT, visibility VARCHAR(32), protected BOOLEAN, owner VARCHAR(255), {_TIMES});
CREATE TABLE metadef_objects ({_INSIDE}, description TEXT, required TEXT, json_schema TEXT, {_TIMES});
CREATE TABLE metadef_properties ({_INSIDE}, json_schema TEXT, {_TIMES});
CREATE TABLE metadef_tags ({_INSIDE}, {_TIMES});
CREATE TABLE metadef_resource_types (id INTEGER PRIMARY KEY, name VARCHAR(80), protected BOOLEAN, {_TIMES});
CREATE TABLE metadef_namespace_resource_types (resource_type_id INTEGER, namespace_id INTEGER,
  properties_target VARCHAR(80), prefix VARCHAR(80), {_TIMES});
INSERT INTO metadef_namespaces (id, namespace, owner, created_at) VALUES
  (1, 'loaded', 'admin', '2020-01-02 03:04:05.000000'), (2, ' ', 'p', NULL), (3, 'twins', 'p', NULL),
  (4, 'broken', 'p', NULL), (5, 'plain', 'p', NULL);
UPDATE metadef_namespaces SET visibility = 'private' WHERE id > 1;
INSERT INTO metadef_objects (namespace_id, name, required, json_schema) VALUES (1, 'o', 'a,b', 'null');
INSERT INTO metadef_tags (namespace_id, name) VALUES (3, 'Tag'), (3, 'tag'), (5, 'tag');
INSERT INTO metadef_properties (namespace_id, name, json_schema) VALUES (4, 'p', 'no JSON');
INSERT INTO metadef_resource_types (id, name) VALUES (7, 'OS::New::Thing');
INSERT INTO metadef_namespace_resource_types (resource_type_id, namespace_id, prefix) VALUES (7, 1, 'p_');
"""


@pytest.fixture
def theirs(tmp_path: Path) -> str:
    url = f"sqlite:///{tmp_path}/theirs.db"
    with sqlalchemy.create_engine(url).begin() as connection:
        for statement in TABLES.split(";"):
            connection.execute(sqlalchemy.text(statement)) if statement.strip() else None
    return url


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path}/ours.db")
    migrate.upgrade(database)
    yield database
    database.close()


@pytest.mark.parametrize("apply", [False, True])
def test_what_cannot_be_is_named_and_left_out(theirs: str, ours: Database, apply: bool) -> None:
    with opened(theirs, {}, optional=adopt.TABLES) as other:
        report = adopt.adopt(ours, other, apply=apply)
    assert report.taken == 2
    said = "\n".join(report.problems)
    assert len(report.problems) == 3
    for part in ("namespace   of", "namespace twins of", "the tag tag more than once", "properties.p"):
        assert part in said
    with ours.read() as connection:
        names = [one.namespace for one in namespaces.everything(connection)]
    assert names == (["loaded", "plain"] if apply else [])


def test_what_their_loader_left_out_is_for_everybody(theirs: str, ours: Database) -> None:
    with opened(theirs, {}, optional=adopt.TABLES) as other:
        adopt.adopt(ours, other, apply=True)
    with ours.read() as connection:
        found = namespaces.find(connection, "loaded")
        assert found is not None
        [one] = definitions.of_namespace(connection, found.id)
        [association] = resource_types.associations_of(connection, found.id)
    assert (str(found.visibility), found.owner, found.binds, found.protected) == ("public", None, EVERYBODY, False)
    assert found.created_at == 1_577_934_245_000_000
    assert dict(one.document) == {"required": ["a", "b"]}
    assert (association.name, association.prefix) == ("OS::New::Thing", "p_")


@pytest.mark.parametrize(
    ("change", "admins", "binds"),
    [
        ("", [], "p"),
        ("", ["q", "p"], EVERYBODY),
        ("protected = 1", [], EVERYBODY),
        ("owner = 'admin'", [], EVERYBODY),
        ("owner = NULL", [], EVERYBODY),
    ],
)
def test_whom_adopted_definitions_bind(theirs: str, ours: Database, change: str, admins: list[str], binds: str) -> None:
    statements = [
        f"UPDATE metadef_namespaces SET visibility = 'public'{change and f', {change}'} WHERE id = 5",
        'INSERT INTO metadef_properties VALUES (9, 5, \'size\', \'{"type": "integer", "title": "S"}\', NULL, NULL)',
        "UPDATE metadef_resource_types SET name = 'OS::Glance::Image'",
        "UPDATE metadef_namespace_resource_types SET namespace_id = 5",
    ]
    with sqlalchemy.create_engine(theirs).begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
    with opened(theirs, {}, optional=adopt.TABLES) as other:
        said = adopt.adopt(ours, other, apply=False, admin_projects=admins)
        assert adopt.adopt(ours, other, apply=True, admin_projects=admins) == said
    is_owned = "owner" not in change
    assert said.binding == (["plain"] if binds == EVERYBODY and is_owned else [])
    assert said.own == (["plain"] if binds == "p" else [])
    with ours.read() as connection:
        wrong = {
            project: BindingDefinitions().of_project(connection, project).judge({"p_size": "x"}, ["p_size"]).wrong
            for project in ("p", "stranger")
        }
    assert len(wrong["p"]) == 1
    assert len(wrong["stranger"]) == (1 if binds == EVERYBODY else 0)


def test_a_database_from_before_there_were_definitions(tmp_path: Path, ours: Database) -> None:
    with opened(f"sqlite:///{tmp_path}/empty.db", {}, optional=adopt.TABLES) as other:
        assert adopt.adopt(ours, other, apply=True) == adopt.MetadefsReport()
