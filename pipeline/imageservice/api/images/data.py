"""Answer ``/v2/images/{id}/file`` and ``/v2/images/{id}/stage``: the bytes of an image."""

from __future__ import annotations

import falcon

from pipeline.imageservice.api.context import caller_of, context_of
from pipeline.imageservice.api.resource import Resource, refuse_body
from pipeline.imageservice.data.sources import FromStream
from pipeline.imageservice.data.transfer import Source
from pipeline.imageservice.data.wsgi_environ import CONNECTION, SEND_FILE, SOURCE
from pipeline.imageservice.errors import Invalid, NotFound, UnsupportedContent
from pipeline.imageservice.lifecycle.transfer.download import DownloadRequest, ImageDownload, open_download
from pipeline.imageservice.lifecycle.transfer.staging import stage
from pipeline.imageservice.lifecycle.transfer.upload import UploadResult, upload

_OCTETS = "application/octet-stream"
_CONTENT = "X-Openstack-Image-Content"  # what was declared raw and is none
_STORE = "X-Openstack-Image-Store"  # the one whose bytes these are
_PROXY = "X-Image-Service-Proxy"


class ImageFile(Resource):
    """``/v2/images/{image_id}/file``."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Upload."""
        caller = caller_of(req)
        context_of(req).image_id = image_id
        source = request_source(req)
        done = upload(self.service, caller, image_id, source, store_id=req.get_header("X-Image-Meta-Store"))
        tell_content(resp, done)
        resp.status = 204

    def on_get(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Download, all of it or one range."""
        refuse_body(req)
        caller = caller_of(req)
        context_of(req).image_id = image_id
        asked = DownloadRequest(
            req.get_header("Range"), req.get_header("Content-Range"), req.get_param("prefer"), req.get_param("store")
        )
        download = open_download(self.service, caller, image_id, asked)
        if download is None:
            resp.status = 204
            return
        answer_download(self, req, resp, download)


class ImageStage(Resource):
    """``/v2/images/{image_id}/stage``."""

    def on_put(self, req: falcon.Request, resp: falcon.Response, image_id: str) -> None:
        """Put data into staging, for an import to take."""
        caller = caller_of(req)
        context_of(req).image_id = image_id
        if "glance-direct" not in self.service.import_methods:
            raise NotFound("Image data cannot be staged here: glance-direct is not enabled")
        tell_content(resp, stage(self.service, caller, image_id, request_source(req)))
        resp.status = 204


def tell_content(resp: falcon.Response, done: UploadResult) -> None:
    """Say in a header what was declared raw and is none."""
    if done.content is not None:
        resp.set_header(_CONTENT, done.content)


def answer_download(resource: Resource, req: falcon.Request, resp: falcon.Response, download: ImageDownload) -> None:
    """Answer with the data of an open download."""
    if _hand_to_proxy(resource, req, resp, download):
        return
    connection = req.env.get(CONNECTION)
    if connection is not None:
        download.slot.moved, download.slot.cut = connection.taken, connection.cut
    else:
        download.slot.arrived()  # nobody can tell how fast it is taken
    resp.status = 200
    resp.content_type = _OCTETS
    resp.content_length = download.reader.length
    _describe(resp, download)
    if download.part is not None:
        resp.status = 206
        resp.set_header("Content-Range", download.part.content_range)
    send_file = req.env.get(SEND_FILE)
    file = download.reader.file
    if send_file is not None and file is not None:
        resp.stream = send_file(file, download.reader.length, check=download.cancel_token.check, done=download.ended)
    else:
        resp.stream = download.blocks(resource.service.buffers)


def _describe(resp: falcon.Response, download: ImageDownload) -> None:
    resp.set_header(_STORE, download.store.id)
    if download.image.checksum:
        resp.set_header("Content-MD5", download.image.checksum)


def _hand_to_proxy(resource: Resource, req: falcon.Request, resp: falcon.Response, download: ImageDownload) -> bool:
    """Let nginx send a file itself, the range too; whether it will.

    A request says by a header that it came through such a proxy, which takes that header from clients. One that lies
    gets an empty answer, and nothing it could not have had.
    """
    prefix = resource.service.settings.server.internal_redirect
    file_name = download.file_name
    old_range = download.part is not None and req.get_header("Range") is None
    if prefix is None or file_name is None or old_range or not req.get_header(_PROXY):
        return False
    resp.status = 200
    resp.content_type = _OCTETS
    resp.set_header("X-Accel-Redirect", f"{prefix}/{file_name}")
    _describe(resp, download)
    download.ended(download.reader.length, None)
    return True


def request_source(req: falcon.Request) -> Source:
    """Return the request's body and its announced length. Raises ``UnsupportedContent``, ``Invalid``."""
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if kind != _OCTETS:
        raise UnsupportedContent(f"Image data has the Content-Type {_OCTETS}, not {kind[:64] or 'none'}")
    declared = _declared(req)
    source: Source | None = req.env.get(SOURCE)
    if source is None:
        return FromStream(req.stream, declared)
    source.size = declared
    return source


def _declared(req: falcon.Request) -> int | None:
    """How many bytes the client says there are; in the header for sizes 0 means that it doesn't know."""
    text = req.get_header("X-Openstack-Image-Size")
    length = req.content_length
    if text is None:
        return length
    if not (text.isascii() and text.strip().isdigit() and len(text) < 20):
        raise Invalid(f"x-openstack-image-size is not a number of bytes: {text[:32]}")
    size = int(text)
    if size and length is not None and size != length:
        raise Invalid(f"x-openstack-image-size says {size} bytes, Content-Length {length}")
    return size or length
