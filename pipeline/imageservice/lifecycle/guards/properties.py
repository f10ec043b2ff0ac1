"""Hold images' properties against the metadata definitions that bind their owner, as far as the settings say so.

Only what an act sets is looked at: what is stored stays right, whatever is defined later.
"""

from __future__ import annotations

import logging

from sqlalchemy import Connection

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.options import Validation
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.properties")

_SHOWN = 20


def check_new(service: Service, connection: Connection, caller: Caller, image: Image) -> tuple[str, ...]:
    """Check all properties of a new image; returns warnings. Raises ``Invalid``."""
    return _check(service, connection, image, list(image.properties), _is_refused(service, caller))


def check_changed(
    service: Service, connection: Connection, caller: Caller, before: Image, after: Image
) -> tuple[str, ...]:
    """Check the properties that a change sets to something else; returns warnings. Raises ``Invalid``."""
    return _check(service, connection, after, _changed(before, after), _is_refused(service, caller))


def warn_of_changed(service: Service, connection: Connection, before: Image, after: Image) -> None:
    """Log what is wrong in what the operator's own settings set: users could not mend it."""
    _check(service, connection, after, _changed(before, after), is_refused=False)


def _check(
    service: Service, connection: Connection, image: Image, names: list[str], is_refused: bool
) -> tuple[str, ...]:
    mode = service.settings.metadefs.validation
    if mode is Validation.OFF or not names:
        return ()
    findings = service.definitions.of_project(connection, image.owner).judge(image.properties, names)
    problems = [f"Property {one}" for one in findings.wrong]
    if problems and is_refused:
        raise Invalid("; ".join(problems[:_SHOWN]))
    if mode is Validation.WARN:
        problems += [f"Property {name}: no metadata definition knows it" for name in findings.unknown]
    for text in problems[:_SHOWN]:
        log.warning("image %s: %s", image.id, text)
    return tuple(problems[:_SHOWN])


def _changed(before: Image, after: Image) -> list[str]:
    return [name for name, value in after.properties.items() if before.properties.get(name) != value]


def _is_refused(service: Service, caller: Caller) -> bool:
    """Other services of the cloud act on images that they did not make, and cannot know what is defined here."""
    options = service.settings.metadefs
    is_service = "service" in caller.roles or bool(caller.service_roles)
    return options.validation is Validation.REFUSE and (options.refuse_services or not is_service)
