"""The bundled image service as its users run it: all its processes, on a port of its own, state in a scratch folder."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from pipeline.base.home import CHECKOUT
from tests.environments.daemon import daemon, free_port, scratch

TOKENS = {"admin": "admin", "alice": "member", "bob": "member", "rita": "reader"}


@dataclass(frozen=True)
class ImageService:
    """A running service. Each user has a project and a token of the same name: ``admin-token``, ``alice-token`` …

    ``rita`` is a reader in alice's project.
    """

    url: str
    folder: Path
    child: subprocess.Popen[bytes]
    authority: Path | None = None  # who vouches for its certificate, where it speaks TLS

    @property
    def log(self) -> Path:
        """What its processes have said."""
        return self.folder / "log"

    def session(self, user: str = "alice") -> requests.Session:
        """A connection that is kept, for requests of one user."""
        session = requests.Session()
        session.trust_env = False
        session.verify = str(self.authority) if self.authority else True
        session.headers["X-Auth-Token"] = f"{user}-token"
        return session

    def request(self, method: str, path: str, user: str = "alice", **options: Any) -> requests.Response:
        """One request on a connection of its own."""
        with self.session(user) as session:
            return session.request(method, self.url + path, timeout=60, **options)

    def create(self, user: str = "alice", **fields: Any) -> str:
        """A new image, raw and bare unless told otherwise; its id."""
        body = {"name": "x", "disk_format": "raw", "container_format": "bare", **fields}
        answer = self.request("POST", "/v2/images", user, json={k: v for k, v in body.items() if v is not None})
        assert answer.status_code == 201, answer.text
        return str(answer.json()["id"])

    def show(self, image_id: str, user: str = "alice") -> dict[str, Any]:
        """The image's document."""
        answer = self.request("GET", f"/v2/images/{image_id}", user)
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        return document

    def upload(self, image_id: str, data: Any, user: str = "alice", **headers: str) -> requests.Response:
        """``PUT …/file``."""
        headers = {"Content-Type": "application/octet-stream", **headers}
        return self.request("PUT", f"/v2/images/{image_id}/file", user, data=data, headers=headers)

    def files(self, store: str = "*") -> list[Path]:
        """Every file in the stores, unfinished ones too."""
        return sorted(path for path in (self.folder / "stores").glob(f"{store}/*") if path.is_file())

    def processes(self) -> list[int]:
        """The ids of all its processes, parents first."""
        found = [self.child.pid]
        for pid in found:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            with contextlib.suppress(OSError):
                found.extend(int(child) for child in children.read_text().split())
        return found


@contextlib.contextmanager
def image_service(
    folder: Path | None = None, *, authority: Path | None = None, **settings: Any
) -> Iterator[ImageService]:
    """Run the service with ``settings`` beside the usual ones of a test: two file stores, tokens, short leases.

    ``folder``: where a service has run before. ``authority``: who vouches for the certificate in ``server.tls``.
    """
    with contextlib.ExitStack() as stack:
        folder = folder or stack.enter_context(scratch("imageservice"))
        port = free_port()
        file = folder / "settings.yaml"
        file.write_text(json.dumps(_settings(folder, port, settings)))
        url = f"{'https' if authority else 'http'}://127.0.0.1:{port}"
        words: list[str | Path] = [sys.executable, "-m", "pipeline.imageservice.serve", "--settings", file]
        ready = daemon(
            words,
            ready=lambda: answers(url, authority),
            log=folder / "log",
            cwd=CHECKOUT,
            env={"PIPELINE_HOME": str(folder)},
        )
        yield ImageService(url, folder, stack.enter_context(ready), authority)


def answers(url: str, authority: Path | None = None) -> bool:
    """Whether an image service answers there."""
    try:
        return (
            requests.get(f"{url}/versions", timeout=5, verify=str(authority) if authority else True).status_code == 200
        )
    except requests.RequestException:
        return False


def _settings(folder: Path, port: int, more: Mapping[str, Any]) -> dict[str, Any]:
    tokens = [
        {
            "name": user,
            "token": f"{user}-token",
            "user": user,
            "project": "alice" if user == "rita" else user,
            "roles": [role],
        }
        for user, role in TOKENS.items()
    ]
    usual: dict[str, Any] = {
        "folder": str(folder),
        "listen": f"127.0.0.1:{port}",
        "identity": {"kind": "static", "tokens": tokens},
        "stores": [
            {"id": name, "type": "file", "directories": [str(folder / "stores" / name)]} for name in ("one", "two")
        ],
        "data": {"upload_lease": 2},
        "server": {"processes": 2, "idle_timeout": 3, "stop_timeout": 5},
    }
    merged = {**usual, **more}
    for name in ("data", "server"):
        merged[name] = {**usual[name], **more.get(name, {})}
    return merged
