"""The bundled image service as an operator sets it up: any settings, a database and an identity service of its own."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.base.home import CHECKOUT
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings
from tests.environments.daemon import daemon, free_port
from tests.environments.imageservice import answers
from tests.environments.keystone import Keystone


@dataclass(frozen=True)
class ImageService:
    """The running service; ``log`` is what its processes print."""

    url: str
    folder: Path
    log: Path


@contextlib.contextmanager
def image_service(folder: Path, settings: Mapping[str, Any], *, part: str = "all") -> Iterator[ImageService]:
    """Run the service with ``settings`` and its state in ``folder``, on a free port.

    A database other than the embedded one gets its tables first, as an operator would make them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    file, log = folder / "settings.yaml", folder / "log"
    file.write_text(yaml.safe_dump({"folder": str(folder), "listen": f"127.0.0.1:{port}", **settings}))
    url = f"http://127.0.0.1:{port}"
    if settings.get("database", {}).get("url"):
        _upgrade(file)
    command = [sys.executable, "-m", "pipeline.imageservice.serve", part, "--settings", str(file)]
    with daemon(command, ready=lambda: part == "worker" or answers(url), log=log, cwd=CHECKOUT):
        yield ImageService(url, folder, log)


def with_keystone(keystone: Keystone) -> dict[str, Any]:
    """The settings that let ``keystone`` say who callers are."""
    return {"identity": {"kind": "keystone", "options": keystone.authtoken}}


def _upgrade(file: Path) -> None:
    database = Service.from_settings(Settings.load(file)).database
    try:
        migrate.upgrade(database)
    finally:
        database.close()
