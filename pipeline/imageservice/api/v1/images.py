"""``/v1/images``: an image and its data in one request."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import falcon
from sqlalchemy import Connection

from pipeline.imageservice import deletion
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.image_changes import changed, check_operations
from pipeline.imageservice.api.image_create import new_image, store
from pipeline.imageservice.api.image_data import answer_download, request_source
from pipeline.imageservice.api.lookup import find_image, is_reachable
from pipeline.imageservice.api.parameters import parameters_of
from pipeline.imageservice.api.resource import Resource, answer_json, has_body
from pipeline.imageservice.api.v1 import headers
from pipeline.imageservice.api.v1.headers import Sent
from pipeline.imageservice.api.v1.query import read_query
from pipeline.imageservice.api.versions import public_url
from pipeline.imageservice.catalog import images, listing
from pipeline.imageservice.catalog.json_patch import Operation
from pipeline.imageservice.catalog.model import Image, ImageStatus
from pipeline.imageservice.data.control import Control
from pipeline.imageservice.data.download import Asked, open_download
from pipeline.imageservice.data.transfer import Source
from pipeline.imageservice.data.upload import upload
from pipeline.imageservice.errors import Conflict, Forbidden, Invalid
from pipeline.imageservice.service import Service

_BRIEF = ("id", "name", "disk_format", "container_format", "size", "checksum")


class Images(Resource):
    """All images: list and create. ``detail``: with everything that is known of each."""

    def __init__(self, service: Service, *, detail: bool) -> None:
        super().__init__(service)
        self._detail = detail

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A page of the images the caller sees."""
        caller, service = caller_of(req), self.service
        service.policy.require(caller, "get_images")
        parameters = parameters_of(req)
        query = read_query(parameters, caller, service.settings.api)
        with service.database.read() as connection:
            marker = parameters.one("marker")
            if marker is not None:
                found = images.find(connection, marker)
                if found is None or not is_reachable(connection, caller, found):
                    raise Invalid(f"Invalid marker: there is no image {marker[:64]}.")
                query = dataclasses.replace(query, marker=found)
            page = listing.page(connection, query)
        documents = [headers.document(image, _properties(service, caller, image)) for image in page]
        if not self._detail:
            documents = [{name: document[name] for name in _BRIEF} for document in documents]
        answer_json(resp, {"images": documents})


class NewImages(Images):
    """``/v1/images``, which makes images too."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """A new image, with its data or without."""
        caller, service = caller_of(req), self.service
        sent = headers.read(req)
        headers.check_status(sent, None)
        _refuse_location(sent)
        source = _source(req, sent)
        body = {name: value for name, value in sent.fields.items() if name != "owner" or value}
        body |= {name: value for name, value in sent.properties.items() if value is not None}
        image = new_image(service, caller, body)
        if source is not None and not image.has_formats:
            raise Invalid("Give x-image-meta-disk_format and x-image-meta-container_format along with the data")
        image = store(service, caller, image)
        context_of(req).image_id = image.id
        if source is not None:
            image = upload(service, caller, image.id, source, store_id=sent.store)
        _answer(service, caller, resp, image, 201)
        resp.set_header("Location", f"{public_url(service, req)}/v1/images/{image.id}")


class OneImage(Resource):
    """One image: look at, download, change, delete."""

    def on_head(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The metadata alone."""
        caller = caller_of(req)
        with self.service.database.read() as connection:
            image = find_image(connection, self.service.policy, caller, image_id)
        _describe(self.service, caller, resp, image)
        resp.status = 200

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """The data, and the metadata with it."""
        caller = caller_of(req)
        context_of(req).image_id = image_id
        download = open_download(self.service, caller, image_id, Asked())
        if download is None:
            with self.service.database.read() as connection:
                image = find_image(connection, self.service.policy, caller, image_id)
            _describe(self.service, caller, resp, image)
            resp.status = 204
            return
        _describe(self.service, caller, resp, download.image)
        answer_download(self, req, resp, download)

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Change the metadata, give it its data, or both."""
        caller, service = caller_of(req), self.service
        context_of(req).image_id = image_id
        sent = headers.read(req)
        _refuse_location(sent)
        source = _source(req, sent)
        keep = source is not None or (req.get_header("X-Glance-Registry-Purge-Props") or "").lower() == "false"

        def change(connection: Connection) -> Image:
            before = find_image(connection, service.policy, caller, image_id, lock=True)
            service.policy.require(caller, "modify_image", before)
            if source is not None and before.status is not ImageStatus.QUEUED:
                raise Conflict(f"Image {image_id} has its data already: its status is {before.status}")
            headers.check_status(sent, before)
            _check_fixed(sent, before, caller, has_data=source is not None)
            after = changed(service, caller, before, _operations(service, caller, sent, before, keep=keep))
            return images.save(connection, before, after) if after != before else before

        image = service.database.write(change)
        service.notifier.image("image.update", image, caller)
        if source is not None:
            image = upload(service, caller, image_id, source, store_id=sent.store)
        _answer(service, caller, resp, image, 200)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Delete the image and its data; 200, as these clients know it."""
        context_of(req).image_id = image_id
        deletion.delete(self.service, caller_of(req), image_id)
        resp.status = 200


class _Checked:
    """A request's body that must have the digest its headers promise."""

    def __init__(self, source: Source, checksum: str) -> None:
        self._source, self._wanted = source, checksum
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size = source.size

    @property
    def ended(self) -> bool:
        """See ``Source``."""
        return self._source.ended

    def readinto(self, view: memoryview, control: Control) -> int:
        """See ``Source``. Raises ``Invalid`` at the end, when the digest is another one."""
        count = self._source.readinto(view, control)
        self._digest.update(view[:count])
        if not count and self._digest.hexdigest() != self._wanted:
            raise Invalid("The data does not have the checksum that x-image-meta-checksum promises")
        return count


def _source(req: falcon.Request, sent: Sent) -> Source | None:
    """The request's data; ``None`` when it has none. A body of another type than octets is a mistake."""
    if not has_body(req):
        return None
    source = request_source(req)
    if sent.size is not None:
        if source.size is not None and source.size != sent.size:
            raise Invalid(f"x-image-meta-size says {sent.size} bytes, the request has {source.size}")
        source.size = sent.size
    return _Checked(source, sent.checksum) if sent.checksum else source


def _refuse_location(sent: Sent) -> None:
    if sent.location is not None:
        raise Invalid("x-image-meta-location is not offered: add locations with the second version of the API")


def _check_fixed(sent: Sent, image: Image, caller: Caller, *, has_data: bool) -> None:
    if "id" in sent.fields and sent.fields["id"] != image.id:
        raise Forbidden("An image's id cannot be changed.")
    if has_data or caller.is_admin:
        return
    for name in ("size", "checksum"):
        value = getattr(sent, name)
        if value is not None and value != getattr(image, name):
            raise Forbidden(f"x-image-meta-{name} cannot be changed once an image has its data.")


def _operations(service: Service, caller: Caller, sent: Sent, image: Image, *, keep: bool) -> list[Operation]:
    """The headers as a patch: what they name is set; further properties go unless they are kept."""
    fields = {name: value for name, value in sent.fields.items() if name != "id"}
    if not image.status.formats_may_change:
        # These clients send everything they know of an image; what stays as it is, is no change.
        fields = {
            name: value
            for name, value in fields.items()
            if name not in ("disk_format", "container_format") or value != getattr(image, name)
        }
    operations = [Operation("replace", name, value) for name, value in fields.items()]
    for name, value in sent.properties.items():
        if value is not None:
            operations.append(Operation("add", name, value))
    if not keep:
        seen = _properties(service, caller, image)
        operations += [Operation("remove", name) for name in seen if sent.properties.get(name) is None]
    check_operations(service, operations)
    return operations


def _properties(service: Service, caller: Caller, image: Image) -> dict[str, str | None]:
    return service.protections.readable(caller, dict(image.properties))


def _describe(service: Service, caller: Caller, resp: falcon.Response, image: Image) -> None:
    for name, value in headers.render(image, _properties(service, caller, image)).items():
        resp.set_header(name, value)
    if image.checksum:
        resp.set_header("ETag", image.checksum)


def _answer(service: Service, caller: Caller, resp: falcon.Response, image: Image, status: int) -> None:
    document: dict[str, Any] = headers.document(image, _properties(service, caller, image))
    answer_json(resp, {"image": document}, status)
    if image.checksum:
        resp.set_header("ETag", image.checksum)
