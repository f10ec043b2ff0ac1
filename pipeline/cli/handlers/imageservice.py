"""Carry out ``./inv serve`` and ``./inv service.*``: run, start, watch and stop the image service."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.plain_text import one_line
from pipeline.base.terminal import SafeConsole
from pipeline.cli.handlers import service_settings
from pipeline.cli.task import Exit
from pipeline.imageservice.access.options import StaticIdentity
from pipeline.imageservice.server import background, logs
from pipeline.imageservice.settings import Settings


def serve(file: str = "") -> None:
    """Run the service here until it is told to stop."""
    from pipeline.imageservice import serve as service  # brings the whole service with it

    settings = service_settings.load(file)
    logs.set_up(settings.log_level)
    _print_clients(settings)
    status = service.serve(settings)
    if status:
        raise SystemExit(status)


def start(file: str = "") -> None:
    """Start the service in the background."""
    from pipeline.imageservice import serve as service

    settings = service_settings.load(file)
    if background.status(settings).pid is None:
        # Here, so that what is wrong is told by this command and not in a log.
        service.prepare(settings)
        service.require_free(*settings.address)
    state = background.start(settings, Path(file).absolute() if file else None)
    print(f"the image service runs on {state.address} (process {state.pid}, log {state.log})")
    _print_clients(settings)


def stop(file: str = "", *, now: bool = False) -> None:
    """Stop the service in the background."""
    settings = service_settings.load(file)
    console = SafeConsole(stderr=True)
    with console.status("waiting for running uploads and downloads") if not now else console.status("stopping"):
        ran = background.stop(settings, at_once=now)
    print("the image service has ended" if ran else "the image service was not running")


def status(file: str = "", *, as_json: bool = False) -> None:
    """Tell how the service is; ends with status 1 when it does not answer."""
    settings = service_settings.load(file)
    state = background.status(settings)
    if as_json:
        print(json.dumps({"pid": state.pid, "answers": state.answers, "address": state.address, "log": str(state.log)}))
    elif state.pid is None:
        other = f", but something answers on {state.address}" if state.answers else ""
        print(f"the image service does not run{other}")
    else:
        print(f"the image service runs on {state.address} (process {state.pid}, log {state.log})")
        if not state.answers:
            print("it does not answer")
        _print_clients(settings)
    if state.pid is None or not state.answers:
        raise SystemExit(Exit.FAILED)


def reconcile(
    file: str = "", *, mend: bool = False, digests: bool = False, store: str = "", as_json: bool = False
) -> None:
    """Tell how catalog and stores differ; ends with status 1 when something was found and not mended."""
    from pipeline.imageservice.importing.maintenance import reconcile as room

    service = service_settings.service(file)
    if store and store not in service.stores:
        known = ", ".join(one.id for one in service.stores)
        raise PipelineError(f"there is no store {store!r}", hint=f"configured are: {known}")
    open_ones = found = 0
    for one in room.reconcile(service, mend=mend, digests=digests, only=store or None):
        found += 1
        open_ones += not one.mended
        if as_json:
            print(json.dumps({**asdict(one), "kind": str(one.kind)}))
        else:
            print(
                one_line(
                    "  ".join(part for part in (str(one.kind), one.store, one.image, one.detail, one.mended) if part)
                )
            )
    if not found and not as_json:
        print("the catalog and the stores agree")
    if open_ones:
        raise SystemExit(Exit.FAILED)


def scrub(file: str = "", *, restore: str = "") -> None:
    """Remove the data of deleted images that is due, or bring an image back."""
    from pipeline.imageservice.lifecycle import deletion

    service = service_settings.service(file)
    if restore:
        image = deletion.restore(service, restore)
        print(one_line(f"image {image.id} ({image.name or 'without a name'}) is back"))
        return
    options = service.settings.database
    done = deletion.finish_pending(service, older_than=options.scrub_after if options.delayed_delete else 0)
    print(f"the data of {done} deleted image{'' if done == 1 else 's'} was removed")


def _print_clients(settings: Settings) -> None:
    """How clients get in, where the service made its only token itself."""
    identity = settings.identity
    if not isinstance(identity, StaticIdentity) or identity.tokens is not None:
        return
    token = settings.folder / "token"
    print(f"its administrator's token is in {token}")
    home = Home.default()
    if token.is_file() and settings == Settings.load():
        from pipeline.publishing import bundled
        from pipeline.publishing.cloud import connect  # brings openstacksdk with it

        connect.write_entry(home, bundled.endpoint(home), token.read_text().strip())
        print(f"for clients: export OS_CLIENT_CONFIG_FILE={connect.entry_file(home)} OS_CLOUD={connect.BUNDLED}")
