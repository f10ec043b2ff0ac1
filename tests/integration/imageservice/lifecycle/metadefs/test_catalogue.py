"""The default catalogue: loaded at a first start, brought up to date, and what somebody changed stays."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.cli.handlers import catalog as catalog_handler
from pipeline.cli.handlers import metadefs as handler
from pipeline.image.metadefs import catalogue as shipped
from pipeline.imageservice import serve
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.catalog.database import backup, migrate
from pipeline.imageservice.catalog.database.connection import Database
from pipeline.imageservice.catalog.metadefs import namespaces, versions
from pipeline.imageservice.lifecycle.metadefs import catalogue, files
from pipeline.imageservice.lifecycle.metadefs.catalogue import Existing
from pipeline.imageservice.lifecycle.metadefs.definitions import remove_definition
from pipeline.imageservice.lifecycle.metadefs.namespaces import change_namespace, create_namespace
from pipeline.imageservice.model.metadefs import DefinitionKind, MetadefNamespace, NamespaceFields
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings

DOCUMENTS = [dict(one) for one in shipped.documents()]
WATCHDOG, TPM, SIGNATURES = "OS::Compute::Watchdog", "OS::Compute::TPM", "OS::Glance::Signatures"
ADMIN = Caller("ops", "u", frozenset({"admin", "member", "reader"}), is_admin=True)


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("postgresql", marks=pytest.mark.server),
        pytest.param("mariadb", marks=pytest.mark.server),
    ]
)
def service(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    settings: dict[str, Any] = {"folder": tmp_path / "service"}
    if request.param != "sqlite":
        settings["database"] = {"url": str(request.getfixturevalue(f"{request.param}_url"))}
    service = Service.from_settings(Settings.model_validate(settings))
    service.settings.folder.mkdir(exist_ok=True)
    migrate.upgrade(service.database)
    yield service
    service.database.close()


sqlite_only = pytest.mark.parametrize("service", ["sqlite"], indirect=True)


def known(database: Database) -> dict[str, MetadefNamespace]:
    with database.read() as connection:
        return {one.namespace: one for one in namespaces.everything(connection)}


def upgraded(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """As a newer version of the service has it."""
    documents = copy.deepcopy(DOCUMENTS)
    change({document["namespace"]: document for document in documents})
    monkeypatch.setattr(shipped, "documents", lambda: iter(documents))
    monkeypatch.setattr(shipped, "digest", lambda: "of the newer one")


def test_a_first_start_loads_it_and_a_second_one_does_nothing(tmp_path: Path) -> None:
    settings = Settings(folder=tmp_path / "service")
    database = serve.prepare(settings).database
    found = known(database)
    assert len(found) == 32
    assert {(one.visibility, one.owner, one.binds) for one in found.values()} == {("public", None, "*")}
    with database.read() as connection:
        before = versions.current(connection)
    serve.prepare(settings)
    with database.read() as connection:
        assert versions.current(connection) == before


@sqlite_only
def test_what_was_loaded_is_what_is_shipped(service: Service, tmp_path: Path) -> None:
    report = catalogue.load(service.database)
    assert len(report.created) == 32
    files.export(service, tmp_path / "out")
    exported = {file.name for file in (tmp_path / "out").iterdir()}
    assert len(exported) == 32
    again = catalogue.load(service.database)
    assert len(again.unchanged) == 32


def test_an_upgrade_changes_what_nobody_changed(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue.load(service.database)
    create_namespace(service, ADMIN, NamespaceFields("Our::Own"))
    remove_definition(service, ADMIN, SIGNATURES, DefinitionKind.PROPERTY, "img_signature")
    service.database.write(lambda connection: namespaces.remove(connection, known(service.database)[TPM]))

    def newer(by_name: dict[str, Any]) -> None:
        for name in (WATCHDOG, TPM, SIGNATURES):
            by_name[name]["description"] = "Newer."

    upgraded(monkeypatch, newer)
    assert not catalogue.is_current(service.database)
    report = catalogue.load(service.database)
    assert (report.updated, report.changed, report.deleted) == ([WATCHDOG], [SIGNATURES], [TPM])
    found = known(service.database)
    assert found[WATCHDOG].description == "Newer." != found[SIGNATURES].description
    assert TPM not in found and "Our::Own" in found
    assert catalogue.is_current(service.database)
    # What was left once is left the next time, too: it is still not what was loaded.
    assert catalogue.load(service.database).changed == [SIGNATURES]


@sqlite_only
def test_a_change_of_the_fields_counts_and_taking_it_back_does(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue.load(service.database)
    (fields,) = [one for one in DOCUMENTS if one["namespace"] == WATCHDOG]
    said = {name: fields[name] for name in ("namespace", "display_name", "description", "visibility")}
    change_namespace(service, ADMIN, WATCHDOG, NamespaceFields(**said, protected=False))
    assert catalogue.load(service.database).changed == [WATCHDOG]
    assert catalogue.load(service.database, Existing.OVERWRITE).updated == [WATCHDOG]
    assert known(service.database)[WATCHDOG].protected
    upgraded(monkeypatch, lambda by_name: by_name[WATCHDOG].update(description="Newer."))
    assert catalogue.load(service.database).updated == [WATCHDOG]


@sqlite_only
def test_one_of_the_same_name_is_somebodys_own(service: Service) -> None:
    create_namespace(service, ADMIN, NamespaceFields(WATCHDOG, description="ours"))
    report = catalogue.load(service.database)
    assert report.changed == [WATCHDOG] and len(report.created) == 31
    assert known(service.database)[WATCHDOG].owner == "ops"


def test_the_operators_limits_are_for_others(tmp_path: Path) -> None:
    settings = Settings.model_validate(
        {"folder": tmp_path, "quotas": {"metadef_definitions": 1, "metadef_namespaces": 1}}
    )
    assert len(known(serve.prepare(settings).database)) == 32


def test_the_command_loads_it_and_brings_back_what_was_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"folder: {tmp_path / 'service'}\ndatabase: {{url: 'sqlite:///{tmp_path / 'other.db'}'}}\n")
    catalog_handler.upgrade(str(file), expand=False)
    assert known(Database(f"sqlite:///{tmp_path / 'other.db'}")) == {}
    arguments = {"merge": False, "prefer_new": False, "overwrite": False}
    handler.load(str(file), "", **arguments)
    assert "32 namespaces made" in capsys.readouterr().out
    handler.unload(str(file))
    handler.load(str(file), "", **arguments)
    assert "32 namespaces made" in capsys.readouterr().out


def test_an_upgrade_of_the_database_brings_it_up_to_date(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"folder: {tmp_path / 'service'}\ndatabase: {{url: 'sqlite:///{tmp_path / 'other.db'}'}}\n")
    catalog_handler.upgrade(str(file), expand=False)
    handler.load(str(file), "", merge=False, prefer_new=False, overwrite=False)
    upgraded(monkeypatch, lambda by_name: by_name[WATCHDOG].update(description="Newer."))
    capsys.readouterr()
    catalog_handler.upgrade(str(file), expand=False)
    assert "0 namespaces made, 1 brought up to date, 31 unchanged" in capsys.readouterr().out


def test_a_backup_is_restored_over_it_but_not_over_changes(tmp_path: Path) -> None:
    service = serve.prepare(Settings(folder=tmp_path / "one"))
    create_namespace(service, ADMIN, NamespaceFields("Our::Own"))
    backup.backup(service.database, tmp_path / "saved")
    fresh = serve.prepare(Settings(folder=tmp_path / "two"))
    backup.restore(fresh.database, tmp_path / "saved")
    assert len(known(fresh.database)) == 33 and catalogue.is_current(fresh.database)
    changed = serve.prepare(Settings(folder=tmp_path / "three"))
    remove_definition(changed, ADMIN, SIGNATURES, DefinitionKind.PROPERTY, "img_signature")
    with pytest.raises(Exception, match="metadata definitions of its own"):
        backup.restore(changed.database, tmp_path / "saved")
