"""Read and write image metadata in headers: ``x-image-meta-name``, ``x-image-meta-property-os_distro`` and so on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import falcon

from pipeline.imageservice.api.parameters import read_integer
from pipeline.imageservice.errors import Forbidden, Invalid
from pipeline.imageservice.lifecycle.records.view import ImageView
from pipeline.imageservice.model.images import Image, ImageStatus, ImageVisibility
from pipeline.imageservice.schema import times

_PREFIX = "HTTP_X_IMAGE_META_"
_PROPERTY = "PROPERTY_"
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_BREAKS = re.compile(r"[\x00-\x1f\x7f]+")
_AMAZON = ("aki", "ari", "ami")
_TEXTS = ("name", "disk_format", "container_format", "owner", "id")
_INTEGERS = ("min_disk", "min_ram")
_BOOLEANS = ("is_public", "protected")
_CHECKED = ("size", "checksum")
_IGNORED = ("store", "created_at", "updated_at", "deleted", "deleted_at", "virtual_size", "uri")
_TRUE, _FALSE = ("true", "1", "on", "yes", "y", "t"), ("false", "0", "off", "no", "n", "f", "")


@dataclass(frozen=True)
class Sent:
    """What a request's headers say. ``fields`` are named as in the second version's document.

    ``size`` and ``checksum`` are what the data is to be; ``location`` is where it lies instead of in the body.
    """

    fields: Mapping[str, Any]
    properties: Mapping[str, str | None]
    size: int | None = None
    checksum: str | None = None
    status: str | None = None
    location: str | None = None
    store: str | None = field(default=None)


def read(req: falcon.Request) -> Sent:
    """Return the metadata a request carries. Raises ``Invalid`` for names and values that are none."""
    if (req.get_header("Content-Transfer-Encoding") or "").lower() not in ("", "binary", "8bit", "identity"):
        raise Invalid(
            "Content-Transfer-Encoding is not understood here: the bytes would be stored as they are sent. Send the "
            "image itself, not base64 of it"
        )
    if req.get_header("X-Glance-Api-Copy-From"):
        raise Invalid("copy_from is not offered: import by web-download with the second version of the API instead")
    plain: dict[str, str] = {}
    properties: dict[str, str | None] = {}
    for key, raw in req.env.items():
        if not key.startswith(_PREFIX):
            continue
        name, value = key.removeprefix(_PREFIX), _decoded(raw)
        if name.startswith(_PROPERTY):
            properties[name.removeprefix(_PROPERTY).lower()] = value or None
        else:
            plain[name.lower()] = value
    return _sent(plain, properties)


def _sent(plain: Mapping[str, str], properties: Mapping[str, str | None]) -> Sent:
    known = {*_TEXTS, *_INTEGERS, *_BOOLEANS, *_CHECKED, *_IGNORED, "status", "location"}
    unknown = sorted(set(plain) - known)
    if unknown:
        raise Invalid(f"There is no such header: x-image-meta-{unknown[0][:64]}")
    fields: dict[str, Any] = {name: plain[name] or None for name in _TEXTS if name in plain}
    if fields.get("id", "") is None:
        del fields["id"]
    fields |= {name: read_integer(plain[name] or "0", name) for name in _INTEGERS if name in plain}
    flags = {name: _boolean(name, plain[name]) for name in _BOOLEANS if name in plain}
    if "protected" in flags:
        fields["protected"] = flags["protected"]
    if "is_public" in flags:
        fields["visibility"] = "public" if flags["is_public"] else "shared"
    _check_amazon(fields.get("disk_format"), fields.get("container_format"))
    return Sent(
        fields=fields,
        properties=properties,
        size=read_integer(plain["size"], "size") if plain.get("size") else None,
        checksum=plain.get("checksum", "").lower() or None,
        status=plain.get("status") or None,
        location=plain.get("location") or None,
        store=plain.get("store") or None,
    )


def check_status(sent: Sent, image: Image | None) -> None:
    """Raise ``Forbidden`` when the headers try to set what only the service sets."""
    now = image.status if image is not None else ImageStatus.QUEUED
    if sent.status is not None and sent.status != now:
        raise Forbidden("x-image-meta-status cannot be set: an image's status is the service's to say")


def render(view: ImageView) -> dict[str, str]:
    """Return the headers that tell of an image; where its data lies is in none of them."""
    values: dict[str, Any] = {**document(view), "properties": None}
    headers = {f"x-image-meta-{name}": _written(value) for name, value in values.items() if value is not None}
    for name, value in view.properties.items():
        # Names that no header can have are for the second version of the API.
        if value is not None and _HEADER_NAME.fullmatch(name):
            headers[f"x-image-meta-property-{name}"] = _written(value)
    return headers


def document(view: ImageView) -> dict[str, Any]:
    """Return the image as the first version's JSON shows it."""
    image = view.image
    return {
        "id": image.id,
        "name": image.name,
        "disk_format": image.disk_format,
        "container_format": image.container_format,
        "size": image.size if image.size is not None else 0,
        "virtual_size": image.virtual_size,
        "checksum": image.checksum,
        "status": str(image.status),
        "is_public": image.visibility is ImageVisibility.PUBLIC,
        "protected": image.protected,
        "min_disk": image.min_disk,
        "min_ram": image.min_ram,
        "owner": image.owner,
        "created_at": _moment(image.created_at),
        "updated_at": _moment(image.updated_at),
        "deleted": False,
        "deleted_at": None,
        "properties": dict(view.properties),
    }


def _moment(moment: int) -> str:
    return times.written(moment).rstrip("Z") + ".000000"


def _written(value: Any) -> str:
    """Return a header's value: UTF-8 bytes, and nothing that could begin another header."""
    return _BREAKS.sub(" ", str(value)).encode().decode("latin-1")


def _decoded(raw: str) -> str:
    try:
        return raw.encode("latin-1").decode()
    except UnicodeError:
        raise Invalid("A header with image metadata is not UTF-8") from None


def _boolean(name: str, text: str) -> bool:
    if text.lower() not in (*_TRUE, *_FALSE):
        raise Invalid(f"x-image-meta-{name}: {text[:32]!r} is neither true nor false")
    return text.lower() in _TRUE


def _check_amazon(disk: str | None, container: str | None) -> None:
    amazon = [one for one in (disk, container) if one in _AMAZON]
    if amazon and disk and container and disk != container:
        raise Invalid(f"Invalid mix of disk and container formats: {disk} and {container}; those of Amazon go in pairs")
