"""Upload an image's bytes to one store or several, in the way that the plan chose.

An upload goes to one store. To get to further ones, the service copies it (for administrators only, by the usual
policy), or the bytes are staged once and imported to all stores at once.
"""

from __future__ import annotations

from pipeline.base.progress import Progress
from pipeline.publishing.cloud.errors import CloudError, CloudForbidden
from pipeline.publishing.cloud.file_server import serve_file
from pipeline.publishing.cloud.images import ImageApi
from pipeline.publishing.cloud.record import ImageRecord
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.plan.plan import GLANCE_DIRECT
from pipeline.publishing.plan.steps import Act, PlannedAct


class CopyNotAllowed(CloudError):
    """This user may not have images copied to further stores, but may import them there."""


def carry_out(
    step: PlannedAct, api: ImageApi, record: ImageRecord, desired: DesiredImage, progress: Progress
) -> ImageRecord:
    """Return the record once its bytes are where ``step`` says. Raises ``CopyNotAllowed`` when an import is left."""
    match step.act:
        case Act.UPLOAD:
            first = step.stores[0] if step.stores else None
            progress.say(f"uploading to {api.cloud}" + (f", store {first}" if first else ""))
            return api.upload(record.id, desired.path, desired.size, store=first, progress=progress)
        case Act.COPY:
            return _copy(step, api, record, progress)
        case _:
            return _import(step, api, record, desired, progress)


def _copy(step: PlannedAct, api: ImageApi, record: ImageRecord, progress: Progress) -> ImageRecord:
    missing = [store for store in step.stores if store not in record.stores]
    if not missing:
        return record
    progress.say(f"copying to {', '.join(missing)}")
    try:
        return api.copy(record.id, missing, progress=progress)
    except CloudForbidden:
        if step.method:
            raise CopyNotAllowed(f"cloud {api.cloud} does not let this user copy images") from None
        raise


def _import(
    step: PlannedAct, api: ImageApi, record: ImageRecord, desired: DesiredImage, progress: Progress
) -> ImageRecord:
    stores = f", for the stores {', '.join(step.stores)}" if step.stores else ""
    if step.method == GLANCE_DIRECT:
        progress.say(f"uploading to {api.cloud}{stores}")
        return api.upload_to_all(record.id, desired.path, desired.size, step.stores, progress=progress)
    progress.say(f"offered to {api.cloud}{stores}")
    with serve_file(desired.path, desired.sha512, api.url) as uri:
        return api.fetch_to_all(record.id, uri, desired.size, step.stores, progress=progress)
