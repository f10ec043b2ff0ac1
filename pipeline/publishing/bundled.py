"""Look after the bundled image service from outside: a process to start and an address to reach it at."""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from pipeline.base import yaml_source
from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT, Home
from pipeline.base.owner import Owner
from pipeline.host.system import process
from pipeline.publishing.cloud import connect

_DEFAULT = "127.0.0.1:9292"
_EVERYWHERE = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]", "": "127.0.0.1"}  # noqa: S104  (compared with, not bound to)


def ensure_running(home: Home) -> bool:
    """Have the service run and the cloud ``bundled`` lead to it; whether it had to be started.

    Raises ``PipelineError`` when somebody else's service has its address: our token is none of its business.
    """
    address = endpoint(home)
    started = not _answers(address)
    if not started and not _runs_from(home):
        raise PipelineError(
            f"another image service than the one of {home.root} answers at {address}",
            hint=f"stop that one, or give this one another address: `listen` in {home.service / 'settings.yaml'}",
        )
    if started:
        _start(home)
    if not _answers(address):
        raise PipelineError(
            f"the image service was started, but nothing answers at {address}", hint="./inv service.status"
        )
    connect.write_entry(home, address, _token(home))
    return started


def endpoint(home: Home) -> str:
    """Return where the service listens, as its settings say."""
    settings = home.service / "settings.yaml"
    data = yaml_source.load(settings).data if settings.is_file() else None
    known = data if isinstance(data, dict) else {}
    host, _, port = str(known.get("listen") or _DEFAULT).rpartition(":")
    server = known.get("server")
    scheme = "https" if isinstance(server, dict) and server.get("tls") else "http"
    return f"{scheme}://{_EVERYWHERE.get(host, host)}:{port}"


def _runs_from(home: Home) -> bool:
    """Whether the service that keeps its state in this home runs, in the background or the foreground."""
    try:
        owner = Owner.find((home.service / "service.pid").read_text())
    except OSError:
        return False
    return owner is not None and owner.is_alive()


def _answers(address: str) -> bool:
    """Whether an image service answers there; how well is for later requests to find out."""
    location = urlsplit(address)
    host = location.hostname or ""
    connection = (
        # Whose certificate it is does not matter yet: nothing secret is sent here.
        http.client.HTTPSConnection(host, location.port, timeout=5, context=_trusting())
        if location.scheme == "https"
        else http.client.HTTPConnection(host, location.port, timeout=5)
    )
    try:
        connection.request("GET", "/versions")
        return connection.getresponse().status in (200, 300)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _start(home: Home) -> None:
    kept = {name: os.environ[name] for name in ("PIPELINE_HOME", "PIPELINE_CACHE") if name in os.environ}
    process.run(
        [sys.executable, "-m", "pipeline.cli", "service.start"],
        env={**kept, "PIPELINE_HOME": str(home.root)},
        cwd=CHECKOUT,
        timeout=120,
        hint="./inv serve shows what the service says",
    )


def _token(home: Home) -> str:
    file: Path = home.service / "token"
    try:
        return file.read_text().strip()
    except OSError as error:
        raise PipelineError(
            f"the token of the bundled image service cannot be read: {file}: {error.strerror}",
            hint="run as the user who started the service",
        ) from None
