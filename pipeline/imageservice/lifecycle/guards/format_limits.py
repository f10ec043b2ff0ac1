"""Say what data may be, by the service's settings and the stores that are to have it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from pipeline.image.formats import FormatLimits, FormatVerdict
from pipeline.imageservice.data.verdict import format_limits
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store

log = logging.getLogger(__name__)


def limits_for(service: Service, stores: Iterable[Store] = (), *, raw_must_be_raw: bool = False) -> FormatLimits:
    """Return what an image may be whose data go to ``stores``.

    Ceph starts guests from raw disks only: what is declared raw and goes nowhere else has to be one.
    """
    targets = list(stores)
    only_rbd = bool(targets) and all(store.type == "rbd" for store in targets)
    return format_limits(
        service.settings.data, service.settings.api.disk_formats, raw_must_be_raw=raw_must_be_raw or only_rbd
    )


def other_content(image: Image, verdict: FormatVerdict | None) -> str | None:
    """Return what the data of an image that is declared raw are, if they are no disk; it is logged then."""
    if verdict is None or image.disk_format != "raw" or verdict.is_raw:
        return None
    log.warning("image %s was declared raw, its content is %s", image.id, verdict.content)
    return verdict.content
