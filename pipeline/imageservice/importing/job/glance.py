"""Import by glance-download: an image of the same cloud's image service in another region.

It is fetched with the caller's rights: by a trust, where the caller's token may give one, so that any worker can do it
and do it again; else by the process that took the request, which alone has the token. The service's address comes from
the identity service's catalog; a redirect elsewhere passes the filter as any other, and goes without the token.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from pipeline.base import json_text
from pipeline.imageservice.access import trusts
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.options import KeystoneIdentity
from pipeline.imageservice.catalog.images import records as image_records
from pipeline.imageservice.errors import Invalid, StoreFailed
from pipeline.imageservice.fetching.attempts import Attempts
from pipeline.imageservice.fetching.errors import FetchRefused
from pipeline.imageservice.importing.job.job import Job
from pipeline.imageservice.importing.job.request import DIGITS, ImportRequest
from pipeline.imageservice.importing.sources.web import WebSource
from pipeline.imageservice.lifecycle.guards.properties import check_changed
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.service import Service

log = logging.getLogger("imageservice.import")

WHAT = "glance-download"
_LONGEST_DOCUMENT = 4 << 20
_DAY = 24 * 3600.0


def source_state(service: Service, caller: Caller, request: ImportRequest) -> dict[str, Any]:
    """Return where the source is and by which leave it is read, for the task to keep. Raises ``Invalid``,
    ``Unavailable``.
    """
    identity = service.settings.identity
    if not isinstance(identity, KeystoneIdentity):
        raise Invalid("glance-download needs the catalog of an identity service, and this service has none")
    endpoint = caller.endpoint("image", request.interface, request.region)
    if endpoint is None:
        return {"endpoint": None, "trust": None}  # for the task to fail on, as clients know it
    waiting = service.settings.imports.download.total_seconds + _DAY
    return {"endpoint": endpoint, "trust": trusts.create(identity, caller, waiting)}


def forget(service: Service, source: Mapping[str, Any]) -> None:
    """Give back the leave to read a source."""
    identity = service.settings.identity
    if source.get("trust") and isinstance(identity, KeystoneIdentity):
        trusts.delete(identity, source["trust"])


@contextlib.contextmanager
def opened(job: Job, attempts: Attempts) -> Iterator[tuple[WebSource, str]]:
    """Open the source's data, with the digest it must have; the image has taken over formats and properties by then.

    Raises ``StoreFailed`` where nobody has leave to read it any more, ``FetchRefused``, ``FetchBroken``.
    """
    endpoint = job.state["source"]["endpoint"]
    if endpoint is None:
        location = f"region {job.request.region!r} with interface {job.request.interface!r}"
        raise Invalid(f"The catalog of the identity service has no image service in {location}")
    url = f"{re.sub(r'/v2([.][0-9]+)?/*$|/+$', '', endpoint)}/v2/images/{job.request.source_id}"
    headers = {"X-Auth-Token": _token(job)}
    document = _document(job, url, headers, attempts)
    _take_over(job, document)
    with contextlib.closing(_source(job, f"{url}/file", headers, attempts)) as source:
        if source.size not in (None, document["size"]):
            raise FetchRefused(f"The source sends {source.size} bytes of an image of {document['size']}")
        source.size = document["size"]
        yield source, _digest(document)


def _token(job: Job) -> str:
    identity, trust = job.service.settings.identity, job.state["source"]["trust"]
    if job.token is not None:
        return job.token
    if trust is None or not isinstance(identity, KeystoneIdentity):
        raise StoreFailed(
            "The process that fetched the data has ended, and with it the token it had; ask for the import again"
        )
    return trusts.token(identity, trust)


def _source(job: Job, url: str, headers: Mapping[str, str], attempts: Attempts) -> WebSource:
    # The token is for the cloud's own service, not for a proxy.
    options = job.service.settings.imports.download.model_copy(update={"proxy": None})
    return WebSource(url, job.service.ssrf_filter, options, attempts, what=WHAT, secrets=headers, endpoint=True)


def _document(job: Job, url: str, headers: Mapping[str, str], attempts: Attempts) -> dict[str, Any]:
    """Return the source's description, as far as it is needed. Raises ``FetchRefused`` when it can't be imported."""
    where = f"Image {job.request.source_id} in region {job.request.region}"
    try:
        with contextlib.closing(_source(job, url, {**headers, "Accept": "application/json"}, attempts)) as source:
            data = bytearray()
            room = memoryview(bytearray(64 << 10))
            while not source.ended and (count := source.readinto(room, job.cancel_token)):
                data += room[:count]
                if len(data) > _LONGEST_DOCUMENT:
                    raise FetchRefused("its description is too long")
        document = json_text.loads(data)
    except FetchRefused as refused:
        raise FetchRefused(f"{where} cannot be read: {refused.message}") from None
    except (ValueError, RecursionError):
        raise FetchRefused(f"{where} cannot be read: what answers there is no image service") from None
    size = document.get("size") if isinstance(document, dict) else None
    if not isinstance(size, int) or document.get("status") != "active":
        status = str(document.get("status"))[:30] if isinstance(document, dict) else "unknown"
        raise FetchRefused(f"{where} has no data to import: it is {status}, not active")
    if size <= 0:
        raise FetchRefused(f"{where} has no data to import: it is empty (0 bytes)")
    return dict(document)


def _digest(document: Mapping[str, Any]) -> str:
    """Return what the data has to be, as a demand for a checksum; empty where the source does not tell."""
    known = [(document.get("os_hash_algo"), document.get("os_hash_value")), ("md5", document.get("checksum"))]
    for algorithm, value in known:
        if isinstance(value, str) and algorithm in DIGITS and len(value) == DIGITS[algorithm]:
            return f"{algorithm}:{value.lower()}"
    return ""


def _take_over(job: Job, document: Mapping[str, Any]) -> None:
    """Give the image the source's formats and chosen properties; what was there before is kept for the case of failure.

    Raises ``FetchRefused`` when the source has formats that this service does not take.
    """
    formats = {name: document.get(name) for name in ("disk_format", "container_format")}
    allowed = job.service.settings.api
    known = {"disk_format": allowed.disk_formats, "container_format": allowed.container_formats}
    for name, value in formats.items():
        if value not in known[name]:
            raise FetchRefused(f"The source's {name} is {str(value)[:30]!r}, which is not taken here")
    properties = _properties(job, document)
    image = job.image()
    if "before" not in job.state:
        before = {name: getattr(image, name) for name in formats}
        kept = {name: image.properties[name] for name in properties if name in image.properties}
        job.remember(before={**before, "taken": sorted(properties), "properties": kept})

    def change(connection: Connection, before: Image) -> None:
        after = dataclasses.replace(before, properties={**before.properties, **properties})
        try:
            check_changed(job.service, connection, _caller(job), before, after)
        except Invalid as error:
            raise FetchRefused(f"The source's properties are not taken here: {error.message}") from None
        image_records.change(connection, before, **formats, properties=after.properties)

    job.write(change)


def _caller(job: Job) -> Caller:
    """Whoever asked for the import, as far as the job remembers."""
    return Caller(project=job.state.get("project"), roles=frozenset(job.state.get("roles", ())))


def _properties(job: Job, document: Mapping[str, Any]) -> dict[str, str]:
    beginnings = tuple(job.service.settings.imports.glance_download_properties)
    schema, most = job.service.image_schema, job.service.settings.quotas.image_properties
    found = {
        name: value
        for name, value in document.items()
        if isinstance(value, str) and name.startswith(beginnings) and not name.startswith("os_glance")
        if name not in schema.base and len(name) <= 255 and "\0" not in name + value
    }
    if 0 <= most < len({*job.image().properties, *found}):
        raise FetchRefused(f"With the source's properties the image would have more than {most}")
    return found
