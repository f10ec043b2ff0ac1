"""List namespaces of metadata definitions: 1,000 of 50 properties each, beside 20 of them.

In one process, without a socket: what is measured is the service's own work and its SQLite database's.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from falcon import testing
from sqlalchemy import event

from benchmarks import figures
from pipeline.imageservice.app import create_app
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.catalog.metadefs import definitions, namespaces, resource_types
from pipeline.imageservice.model.metadefs import (
    Association,
    Definition,
    DefinitionKind,
    NamespaceFields,
    NamespaceVisibility,
)
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings

BASE = "/v2/metadefs/namespaces"
PROPERTIES = 50
FEW, MANY = 20, 1000


def main() -> int:
    """Measure; 1 when a limit is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=100)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory() as folder:
        services = {number: _filled(Path(folder) / str(number), number) for number in (FEW, MANY)}
        took: dict[int, list[float]] = {number: [] for number in services}
        for _ in range(rounds):
            for number, (client, _service) in services.items():
                began = time.perf_counter()
                _get(client, f"{BASE}?limit=25")
                took[number].append(time.perf_counter() - began)
        client, service = services[MANY]
        page = _statements(client, service, f"{BASE}?limit=25")
        whole = _statements(client, service, f"{BASE}/N7")
    few, many = (statistics.median(took[number]) * 1000 for number in (FEW, MANY))
    print(f"first page of 25: {many:.2f} ms of {MANY} namespaces, {few:.2f} ms of {FEW}: {many / few:.2f} ×")
    print(f"statements: {page} for a page, {whole} for a namespace in full")
    figures.note("first page of 1000 namespaces", many, "ms", n=rounds)
    figures.note("… to that of 20", many / few, "×", n=rounds, most=1.5)
    figures.note("statements for a page", page, "", most=2)
    figures.note("statements for a namespace in full", whole, "", most=3)
    return int(many / few > 1.5 or page > 2 or whole > 3)


def _filled(folder: Path, number: int) -> tuple[testing.TestClient, Service]:
    service = Service.from_settings(
        Settings.model_validate(
            {"folder": str(folder), "identity": {"kind": "none"}, "api": {"hosts": ["falconframework.org"]}}
        )
    )
    migrate.upgrade(service.database)
    contents = [
        Definition(DefinitionKind.PROPERTY, f"p{one}", {"title": "P", "type": "string", "enum": ["a", "b"]})
        for one in range(PROPERTIES)
    ]

    def fill(connection: Any) -> None:
        for one in range(number):
            fields = NamespaceFields(f"N{one}", description="D" * 100, visibility=NamespaceVisibility.PUBLIC)
            namespace = namespaces.add(connection, fields, "owner", "owner")
            resource_types.associate(
                connection, namespace.id, [Association("OS::Glance::Image"), Association("OS::Nova::Flavor")]
            )
            definitions.add(connection, namespace.id, contents)

    service.database.write(fill)
    return testing.TestClient(create_app(service)), service


def _get(client: testing.TestClient, path: str) -> None:
    answer = client.simulate_get(path)
    if answer.status_code != 200:
        raise RuntimeError(f"{path}: {answer.status} {answer.text}")


def _statements(client: testing.TestClient, service: Service, path: str) -> int:
    said: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if statement.lstrip().upper().startswith("SELECT"):
            said.append(statement)

    event.listen(service.database.engine, "before_cursor_execute", note)
    _get(client, path)
    event.remove(service.database.engine, "before_cursor_execute", note)
    return len(said)
