"""Answer ``/v1/images``: an image and its data in one request."""

from __future__ import annotations

import hashlib

import falcon

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.images.data import answer_download, request_source, tell_content
from pipeline.imageservice.api.parameters import parameters_of
from pipeline.imageservice.api.resource import Resource, answer_json, has_body
from pipeline.imageservice.api.v1 import headers
from pipeline.imageservice.api.v1.headers import Sent
from pipeline.imageservice.api.v1.query import read_query
from pipeline.imageservice.api.versions import public_url
from pipeline.imageservice.cancellation.cancel_token import CancelToken
from pipeline.imageservice.data.transfer import Source
from pipeline.imageservice.errors import Conflict, Forbidden, Invalid, LimitExceeded
from pipeline.imageservice.lifecycle import deletion
from pipeline.imageservice.lifecycle.patch import patch_as
from pipeline.imageservice.lifecycle.records.create import create
from pipeline.imageservice.lifecycle.records.listing import HiddenMarker, list_images
from pipeline.imageservice.lifecycle.records.view import ImageView, show
from pipeline.imageservice.lifecycle.transfer.download import DownloadRequest, open_download
from pipeline.imageservice.lifecycle.transfer.upload import UploadResult, upload
from pipeline.imageservice.model.images import Image, ImageStatus
from pipeline.imageservice.schema.json_patch import Operation
from pipeline.imageservice.service import Service

_BRIEF = ("id", "name", "disk_format", "container_format", "size", "checksum")


class V1Images(Resource):
    """All images: list and create. ``detail``: with everything that is known of each."""

    def __init__(self, service: Service, *, detail: bool) -> None:
        super().__init__(service)
        self._detail = detail

    def on_get(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Answer with a page of the images the caller sees."""
        caller, service = caller_of(req), self.service
        parameters = parameters_of(req)
        query = read_query(parameters, caller, service.settings.api)
        marker = parameters.one("marker")
        try:
            page = list_images(service, caller, query, marker)
        except HiddenMarker:
            raise Invalid(f"Invalid marker: there is no image {(marker or '')[:64]}.") from None
        if page.was_cut:
            # Old clients take a short page for the last one.
            raise LimitExceeded(f"These images have too much metadata for one page; ask with limit={len(page.images)}")
        documents = [headers.document(image) for image in page.images]
        if not self._detail:
            documents = [{name: document[name] for name in _BRIEF} for document in documents]
        answer_json(resp, {"images": documents})


class V1NewImages(V1Images):
    """``/v1/images``, which makes images too."""

    def on_post(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Create an image, with its data or without."""
        caller, service = caller_of(req), self.service
        sent = headers.read(req)
        headers.check_status(sent, None)
        _refuse_location(sent)
        source = _source(req, sent)
        body = {name: value for name, value in sent.fields.items() if name != "owner" or value}
        body |= {name: value for name, value in sent.properties.items() if value is not None}
        view = create(service, caller, body, with_data=source is not None)
        image_id = context_of(req).image_id = view.image.id
        if source is not None:
            done = self._filled(caller, image_id, source, sent.store)
            tell_content(resp, done)
            view = done.view
        _answer(resp, view, 201)
        resp.set_header("Location", f"{public_url(service, req)}/v1/images/{image_id}")

    def _filled(self, caller: Caller, image_id: str, source: Source, store: str | None) -> UploadResult:
        """Give a new image its data. It goes with any failure: its id was never told, and a next POST makes another."""
        try:
            return upload(self.service, caller, image_id, source, store_id=store)
        except BaseException:
            deletion.take_back(self.service, caller, image_id)
            raise


class V1Image(Resource):
    """One image: look at, download, change, delete."""

    def on_head(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Answer with the metadata alone."""
        _describe(resp, show(self.service, caller_of(req), image_id))
        resp.status = 200

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Answer with the data, and the metadata with it."""
        caller = caller_of(req)
        context_of(req).image_id = image_id
        download = open_download(self.service, caller, image_id, DownloadRequest())
        if download is None:
            _describe(resp, show(self.service, caller, image_id))
            resp.status = 204
            return
        _describe(resp, download.view)
        answer_download(self, req, resp, download)

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Change the metadata, give it its data, or both."""
        caller, service = caller_of(req), self.service
        context_of(req).image_id = image_id
        sent = headers.read(req)
        _refuse_location(sent)
        source = _source(req, sent)
        keep = source is not None or (req.get_header("X-Glance-Registry-Purge-Props") or "").lower() == "false"

        def choose(before: ImageView) -> list[Operation]:
            image = before.image
            if source is not None and image.status is not ImageStatus.QUEUED:
                raise Conflict(f"Image {image_id} has its data already: its status is {image.status}")
            headers.check_status(sent, image)
            _check_fixed(sent, image, caller, has_data=source is not None)
            return _operations(sent, before, keep=keep)

        view = patch_as(service, caller, image_id, choose)
        if source is not None:
            done = upload(service, caller, image_id, source, store_id=sent.store)
            tell_content(resp, done)
            view = done.view
        _answer(resp, view, 200)

    def on_delete(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Delete the image and its data; 200, as these clients know it."""
        context_of(req).image_id = image_id
        deletion.delete(self.service, caller_of(req), image_id)
        resp.status = 200


class _Checked:
    """A request's body that must have the digest its headers promise."""

    def __init__(self, source: Source, checksum: str) -> None:
        self._source, self._expected = source, checksum
        self._digest = hashlib.md5(usedforsecurity=False)
        self.size = source.size

    @property
    def ended(self) -> bool:
        """See ``Source``."""
        return self._source.ended

    def readinto(self, view: memoryview, cancel_token: CancelToken) -> int:
        """See ``Source``. Raises ``Invalid`` at the end, when the digest is another one."""
        count = self._source.readinto(view, cancel_token)
        self._digest.update(view[:count])
        if not count and self._digest.hexdigest() != self._expected:
            raise Invalid("The data does not have the checksum that x-image-meta-checksum promises")
        return count


def _source(req: falcon.Request, sent: Sent) -> Source | None:
    """Return the request's data; ``None`` when it has none. A body of another type than octets is a mistake."""
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


def _operations(sent: Sent, view: ImageView, *, keep: bool) -> list[Operation]:
    """Return the headers as a patch: what they name is set; further properties go unless they are kept."""
    fields = {name: value for name, value in sent.fields.items() if name != "id"}
    image = view.image
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
        operations += [Operation("remove", name) for name in view.properties if sent.properties.get(name) is None]
    return operations


def _describe(resp: falcon.Response, view: ImageView) -> None:
    for name, value in headers.render(view).items():
        resp.set_header(name, value)
    _mark(resp, view)


def _answer(resp: falcon.Response, view: ImageView, status: int) -> None:
    answer_json(resp, {"image": headers.document(view)}, status)
    _mark(resp, view)


def _mark(resp: falcon.Response, view: ImageView) -> None:
    if view.image.checksum:
        resp.set_header("ETag", view.image.checksum)
