"""``/v2/images/{id}/locations``: the newer way to make known data that lies in a store already."""

from __future__ import annotations

from typing import Any, NoReturn

import falcon
from sqlalchemy import Connection

from pipeline.imageservice import location_import
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import by_weight, location_document
from pipeline.imageservice.api.image_locations import HASH_LENGTHS
from pipeline.imageservice.api.lookup import find_image
from pipeline.imageservice.api.resource import Resource, answer_accepted, answer_json, read_json, refuse_body
from pipeline.imageservice.catalog import service_notes, tasks
from pipeline.imageservice.catalog.model import Image, ImageStatus
from pipeline.imageservice.catalog.tasks import Task
from pipeline.imageservice.errors import Conflict, Forbidden, Invalid, MethodNotAllowed

_LONGEST = 255


class Locations(Resource):
    """The locations of one image."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Every location, for other services of the cloud."""
        refuse_body(req)
        caller = caller_of(req)
        with self.service.database.read() as connection:
            image = find_image(connection, self.service.policy, caller, image_id)
        self.service.policy.require(caller, "fetch_image_location", image)
        places = by_weight(self.service, image.readable_locations)
        answer_json(resp, [location_document(place) for place in places])

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Add the first location of a queued image. What follows is a task of the image."""
        caller = caller_of(req)
        service = self.service
        context = context_of(req)
        context.image_id = image_id
        body = read_json(req, service.settings.api.max_body)
        url, validation = _checked(body, service.hash_algorithm)

        def allowed(connection: Connection, *, lock: bool) -> Image:
            image = find_image(connection, service.policy, caller, image_id, lock=lock)
            if image.status is not ImageStatus.QUEUED:
                raise Conflict(f"Image {image_id} is {image.status}; a location can be added to a queued image only.")
            service.policy.require(caller, "add_image_location", image)
            self._refuse_foreign_kinds(caller, url)
            return image

        with service.database.read() as connection:
            allowed(connection, lock=False)
        if _on_the_web(url):
            service.uri_filter.check(url, what="add location")

        def begin(connection: Connection) -> tuple[Image, Task]:
            image = allowed(connection, lock=True)
            task = tasks.create(
                connection,
                location_import.TYPE,
                owner=image.owner,
                input_={"image_id": image.id, "loc_url": url, "validation_data": validation},
                image_id=image.id,
                user_id=caller.user,
                request_id=context.request_id,
                delay=location_import.LEASE_SECONDS,
            )
            if not service_notes.put_if_absent(connection, image.id, service_notes.IMPORT_TASK, task.id):
                raise Conflict("Image has active task")
            return image, task

        _image, task = service.database.write(begin)
        service.notifier.task("task.create", task, caller)
        location_import.attach(service, task)
        answer_accepted(resp)

    def _refuse_foreign_kinds(self, caller: Caller, url: str) -> None:
        """Users may point at the web; what lies inside the cloud's stores is for its services to say."""
        if "service" in caller.roles or "service" in caller.service_roles:
            return
        if not _on_the_web(url) or not any(store.type == "http" for store in self.service.stores):
            raise Forbidden("Only services of the cloud may add locations other than http(s) ones in an http store.")

    def on_options(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> NoReturn:
        """Any other method: only POST is named, as clients know it."""
        raise MethodNotAllowed(("POST",))

    on_head = on_put = on_patch = on_delete = on_options


def _on_the_web(url: str) -> bool:
    return url.partition(":")[0].lower() in ("http", "https")


def _checked(body: Any, default_algorithm: str) -> tuple[str, dict[str, str]]:
    if not isinstance(body, dict) or not isinstance(body.get("url"), str) or not body["url"]:
        raise Invalid("Expected a JSON object with the location's url")
    if len(body["url"]) > _LONGEST:
        raise Invalid(f"The url is longer than {_LONGEST} characters")
    extra = sorted(set(body) - {"url", "validation_data"})
    if extra:
        raise Invalid(f"There is no such attribute: {extra[0][:64]}")
    given = body.get("validation_data", {})
    if not isinstance(given, dict) or not all(isinstance(value, str) for value in given.values()):
        raise Invalid("validation_data must be a JSON object of texts")
    # Block storage names the volume's store here; it says nothing about the data.
    values = {name: value for name, value in given.items() if name != "store"}
    return body["url"], _checked_validation(values, default_algorithm)


def _checked_validation(values: dict[str, str], default_algorithm: str) -> dict[str, str]:
    if not values:
        return {}
    extra = sorted(set(values) - {"os_hash_algo", "os_hash_value"})
    if extra:
        raise Invalid(f"validation_data: there is no such value: {extra[0][:64]}")
    for name in ("os_hash_algo", "os_hash_value"):
        if name not in values:
            raise Invalid(f"validation_data: {name} is missing")
    algorithm, digest = values["os_hash_algo"], values["os_hash_value"]
    if algorithm not in HASH_LENGTHS:
        raise Invalid(f"os_hash_algo: {algorithm[:32]!r} is not one of {', '.join(HASH_LENGTHS)}")
    wanted = HASH_LENGTHS[algorithm]
    if len(digest) != wanted or not all(character in "0123456789abcdefABCDEF" for character in digest):
        raise Invalid(f"os_hash_value is not a hex digest of {algorithm}, which has {wanted} digits")
    return {"os_hash_algo": algorithm, "os_hash_value": digest.lower()}
