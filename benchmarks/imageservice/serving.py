"""The service in processes of its own, for as long as it is measured.

``python -m benchmarks.imageservice.serving SETTINGS [--discard]`` is what runs in them: the service with a yardstick's
path beside its own, and with stores that forget everything when asked to.
"""

from __future__ import annotations

import argparse
import dataclasses
import http.client
import json
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import falcon

from pipeline.host.system import process
from pipeline.imageservice.app import create_app
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.server.application import ImageApplication
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.stores.base import StoredObject, Writer
from pipeline.imageservice.stores.collection import Stores
from pipeline.imageservice.stores.file.store import FileStore
from tests.environments.daemon import free_port


class Client:
    """One kept connection."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(self, method: str, path: str, body: Any = None, token: str = "token-of-admin", **headers: str) -> Any:
        """One request; its answer as data."""
        sent = {"X-Auth-Token": token, "Content-Type": "application/json", **headers}
        self._connection.request(method, path, json.dumps(body) if body is not None else None, sent)
        answer = self._connection.getresponse()
        data = answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{method} {path}: {answer.status} {data[:200]!r}")
        return json.loads(data) if data else None


@dataclasses.dataclass(frozen=True)
class Served:
    """A running service. ``pid``: of its first process, whose children are the others."""

    service: Service
    port: int
    pid: int


@contextmanager
def served(folder: Path, *, discard: bool = False, **more: Mapping[str, Any]) -> Iterator[Served]:
    """Provide the service with one process, its state in ``folder``; ``more`` settings, by section."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "settings.yaml"
    settings.write_text(json.dumps({**_settings(folder, port), **more}))
    service = Service.from_settings(Settings.load(settings))
    migrate.prepare(service.database, embedded=True)
    with (folder / "log").open("wb") as log:
        command = [sys.executable, "-m", __spec__.name, str(settings), *(["--discard"] if discard else [])]
        with process.started(command, log=log) as child:
            _wait(port)
            yield Served(service, port, child.pid)
    service.database.close()


def _settings(folder: Path, port: int) -> dict[str, Any]:
    tokens = [
        {"name": "admin", "token": "token-of-admin", "user": "u", "project": "cloud", "roles": ["admin"]},
        {"name": "few", "token": "token-of-few", "user": "u", "project": "few", "roles": ["member"]},
    ]
    return {
        "folder": str(folder),
        "listen": f"127.0.0.1:{port}",
        "identity": {"kind": "static", "tokens": tokens},
        "server": {"processes": 1},
    }


def _wait(port: int) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            Client(port).call("GET", "/trivial")
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError("the service did not start")


class _Trivial:
    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        resp.content_type = "application/json"
        resp.data = json.dumps({f"field {number}": "value" for number in range(20)}).encode()


class _Forgetful(FileStore):
    """Takes every byte and keeps none."""

    def writer(self, name: str, *, size: int | None, attempt: str) -> Writer:
        return _Forgetting(f"file://{self.directories[0]}/{name}")

    def delete(self, uri: str) -> None:
        """There is nothing."""


class _Forgetting(Writer):
    def __init__(self, uri: str) -> None:
        self._uri, self._size = uri, 0

    def write(self, data: memoryview) -> None:
        self._size += len(data)

    def commit(self, *, replace: bool = False) -> StoredObject:
        return StoredObject(self._uri, self._size)

    def abort(self) -> None:
        """There is nothing."""

    def undo(self) -> None:
        """There is nothing."""


def _serve(file: Path, discard: bool) -> None:
    settings = Settings.load(file)
    service = Service.from_settings(settings)
    for store in service.stores:
        store.check()
    if discard:
        forgetful = [_Forgetful(store.options) for store in service.stores if isinstance(store, FileStore)]
        service = dataclasses.replace(service, stores=Stores(forgetful, service.stores.default.id))

    def make() -> Any:
        app = create_app(service)
        app.add_route("/trivial", _Trivial())
        _let_through(app)
        return app

    sys.argv = sys.argv[:1]
    ImageApplication(settings.address, settings.server, make).run()


def _let_through(app: Any) -> None:
    """Let the yardstick's path through, which has no version: the middleware must not answer it itself."""
    from pipeline.imageservice.api import versions

    setattr(versions, "_OURS", (*versions._OURS, "/trivial"))  # noqa: B010 - its type names our paths only


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("settings", type=Path)
    parser.add_argument("--discard", action="store_true")
    options = parser.parse_args()
    _serve(options.settings, options.discard)
