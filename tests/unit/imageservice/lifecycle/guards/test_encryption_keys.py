"""Who may take the key of an encrypted image along: a key manager that counts what it is asked to delete."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.lifecycle.guards import encryption_keys
from pipeline.imageservice.lifecycle.guards.encryption_keys import KEY, POLICY
from pipeline.imageservice.model.images import Image


class KeyManager(ThreadingHTTPServer):
    """Remembers the paths that were deleted."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.deleted: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: KeyManager

    def do_DELETE(self) -> None:
        self.server.deleted.append(self.path)
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def manager() -> Iterator[KeyManager]:
    with KeyManager() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def _image(owner: str | None, key: str) -> Image:
    properties = {KEY: key, POLICY: "on_image_deletion"}
    return Image(id=str(uuid.uuid4()), owner=owner, created_at=1, updated_at=1, properties=properties)


def test_the_owner_takes_the_key_along(manager: KeyManager) -> None:
    key = str(uuid.uuid4())
    caller = Caller(project="ours", token="t")
    assert encryption_keys.delete_key(manager.url, caller, _image("ours", key)) is None
    assert manager.deleted == [f"/v1/secrets/{key}"]


@pytest.mark.parametrize("owner", ["theirs", None])
@pytest.mark.parametrize("project", ["ours", None])
def test_nobody_else_does(manager: KeyManager, owner: str | None, project: str | None) -> None:
    caller = Caller(project=project, token="t", is_admin=True, roles=frozenset({"admin"}))
    kept = encryption_keys.delete_key(manager.url, caller, _image(owner, str(uuid.uuid4())))
    assert kept is not None and "owner" in kept
    assert manager.deleted == []
