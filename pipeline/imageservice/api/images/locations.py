"""Answer ``/v2/images/{id}/locations``: the newer way to make known data that lies in a store already."""

from __future__ import annotations

from typing import Any, NoReturn

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.documents import location_document
from pipeline.imageservice.api.resource import (
    SMALL_BODY,
    Resource,
    answer_accepted,
    answer_json,
    read_json,
    refuse_body,
)
from pipeline.imageservice.errors import Invalid, MethodNotAllowed
from pipeline.imageservice.lifecycle.locations import copies, location_import
from pipeline.imageservice.lifecycle.locations.copies import HASH_LENGTHS

_LONGEST = 255


class Locations(Resource):
    """The locations of one image."""

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Answer with every location, for other services of the cloud."""
        refuse_body(req)
        found = copies.fetch(self.service, caller_of(req), image_id)
        answer_json(resp, [location_document(location) for location in found])

    def on_post(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Add the first location of a queued image. What follows is a task of the image."""
        context = context_of(req)
        context.image_id = image_id
        body = read_json(req, SMALL_BODY)
        url, validation = _checked(body)
        location_import.add(self.service, caller_of(req), image_id, url, validation, context.request_id)
        answer_accepted(resp)

    def on_options(self, req: falcon.Request, resp: falcon.Response, **parts: str) -> NoReturn:
        """Answer any other method: only POST is named, as clients know it."""
        raise MethodNotAllowed(("POST",))

    on_head = on_put = on_patch = on_delete = on_options


def _checked(body: Any) -> tuple[str, dict[str, str]]:
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
    return body["url"], _checked_validation(values)


def _checked_validation(values: dict[str, str]) -> dict[str, str]:
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
    digits = HASH_LENGTHS[algorithm]
    if len(digest) != digits or not all(character in "0123456789abcdefABCDEF" for character in digest):
        raise Invalid(f"os_hash_value is not a hex digest of {algorithm}, which has {digits} digits")
    return {"os_hash_algo": algorithm, "os_hash_value": digest.lower()}
