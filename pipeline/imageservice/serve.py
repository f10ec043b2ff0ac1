"""Run the service: checks first, then the processes. ``python -m pipeline.imageservice.serve`` for all of it.

``api`` and ``worker`` as an argument run that part alone, for hosts that are to do only one of them.
"""

from __future__ import annotations

import argparse
import errno
import functools
import logging
import os
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.base import plain_text
from pipeline.base.errors import PipelineError
from pipeline.host.system import ports
from pipeline.imageservice.access.options import NoIdentity
from pipeline.imageservice.app import create_app
from pipeline.imageservice.catalog.database import migrate
from pipeline.imageservice.errors import ServiceError
from pipeline.imageservice.importing.worker import Worker
from pipeline.imageservice.lifecycle.metadefs import catalogue
from pipeline.imageservice.server import background, logs
from pipeline.imageservice.server.application import ImageApplication
from pipeline.imageservice.server.supervisor import Supervisor
from pipeline.imageservice.service import Service
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.stores.base import DriverContext
from pipeline.imageservice.stores.errors import StoreSilent
from pipeline.imageservice.stores.health import first_look
from pipeline.imageservice.stores.registry import make_store

log = logging.getLogger("imageservice.serve")

PARTS = ("all", "api", "worker")


def serve(settings: Settings, part: str = "all", *, tell: Callable[[str], None] = print) -> int:
    """Run the service, or a part of it, in the foreground; the exit status.

    Raises ``PipelineError`` when it cannot run: an occupied port, a store or database that can't be used.
    """
    service = prepare(settings)
    host, port = settings.address
    if part != "worker":
        require_free(host, port)
        scheme = "https" if settings.server.tls else "http"
        tell(f"image service on {scheme}://{host}:{port} (state in {settings.folder})")
        if isinstance(settings.identity, NoIdentity):
            tell("ATTENTION: identity is off; everybody on this machine may do everything with every image")
    if part == "worker":
        work(service)
        return 0
    helpers: dict[str, Callable[[], None]] = {}
    if part == "all":
        for number in range(settings.server.workers):
            helpers[f"worker {number + 1}"] = lambda: work(service)
    with background.noted(settings):
        return Supervisor(lambda: serve_api(service), helpers).run()


def prepare(settings: Settings) -> Service:
    """Check everything that can be checked before a process starts, and make what is made on first use."""
    settings.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    service = Service.from_settings(settings)
    migrate.prepare(service.database, embedded=settings.is_embedded)
    if settings.is_embedded:
        _keep_catalogue(service)
    for store in (service.staging, service.stores.default):
        try:
            store.check()
        except StoreSilent as error:
            log.warning("%s; the service starts without it", _explained(error))
        except ServiceError as error:
            raise PipelineError(_explained(error)) from None
    others = [options for options in settings.all_stores if options.id != service.stores.default.id]
    for fault in first_look(make_store(options, DriverContext()) for options in others).values():
        log.warning("%s; the service starts without it", fault)
    service.notifier.check()
    # A connection must not be carried into another process.
    service.database.close()
    service.stores.close()
    return service


def _explained(error: ServiceError) -> str:
    """Return what the operator gets to read, in whose settings the cause lies."""
    return f"{error.message}: {error.detail}" if error.detail else error.message


def _keep_catalogue(service: Service) -> None:
    """Load the default catalogue of metadata definitions at the first start, and after upgrades."""
    if catalogue.is_current(service.database):
        return
    report = catalogue.load(service.database)
    if report.changed:
        log.warning("metadata definitions that were changed here stay as they are: %s", ", ".join(report.changed))


def serve_api(service: Service) -> None:
    """Run the HTTP server, until it is told to stop."""
    sys.argv = sys.argv[:1]  # gunicorn would read our arguments as its own
    settings = service.settings
    counts = settings.folder / "metrics"
    shutil.rmtree(counts, ignore_errors=True)  # those of an earlier run would be added to ours
    for old in settings.folder.glob("slots-*"):  # of boots and settings before
        shutil.rmtree(old, ignore_errors=True)
    make = functools.partial(create_app, service, metrics_folder=counts)
    ImageApplication(settings.address, settings.server, make, log_level=settings.log_level).run()


def work(service: Service) -> None:
    """Run a worker for durable tasks, until it is told to stop."""
    worker = Worker(service)

    def stop(number: int, frame: Any) -> None:
        worker.stop()

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, stop)
    worker.run()


def require_free(host: str, port: int) -> None:
    """Raise ``PipelineError`` unless the service can listen there; says who does, where that can be seen."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family):
            return
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise PipelineError(
                f"nobody can listen on {host}:{port}: {error.strerror}",
                hint="set listen to an address of this machine, and a port that this user may take (above 1023)",
            ) from None
    who = ports.listener(port) or "another user's program"
    raise PipelineError(
        f"{host}:{port} is taken by {who}",
        hint=f"stop it, or let the service listen elsewhere: `listen: {host}:{port + 1}` in its settings",
    )


def main(arguments: list[str] | None = None) -> int:
    """Run the command line."""
    parser = argparse.ArgumentParser(prog="image service", description="Run the bundled image service.")
    parser.add_argument("part", nargs="?", choices=PARTS, default="all", help="what to run (default: all)")
    parser.add_argument("--settings", type=Path, help="the settings file")
    given = parser.parse_args(arguments)
    os.umask(0o027)  # what is made here is nobody else's business, unless a store's settings say so
    try:
        settings = Settings.load(given.settings)
        logs.set_up(settings.log_level)
        return serve(settings, given.part)
    except PipelineError as error:
        print(f"error: {plain_text.lines(str(error.in_full()))}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
