"""Decide what an import's image is converted to: what the operator said; where nobody did, what Ceph needs."""

from __future__ import annotations

from pipeline.image.formats import FormatVerdict
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.importing.job.job import Job
from pipeline.imageservice.importing.options import ImportOptions
from pipeline.imageservice.model.images import Image
from pipeline.imageservice.service import Service
from pipeline.imageservice.stores.base import Store

STEP = "convert"
# What the pipeline marks its own images with (publishing.cloud.ownership_marker), which it reads back by a digest.
MARKS = "pipeline_"
_NEVER = ("iso", "ami", "ari", "aki")


def by_store(service: Service) -> dict[str, str]:
    """Return the format that images get which are imported to such stores only, by store; the others have none."""
    imports = service.settings.imports
    if imports.does("image_conversion"):
        return {store.id: imports.conversion.output_format for store in service.stores.writable}
    return {store.id: "raw" for store in service.stores.writable if _wants_raw(imports, store)}


def _wants_raw(imports: ImportOptions, store: Store) -> bool:
    """Whether Ceph could use nothing else, and nobody has said what is to be done."""
    return imports.plugins is None and store.type == "rbd"


def target_of(job: Job, image: Image, verdict: FormatVerdict | None, *, signed: bool) -> str | None:
    """Return the format to convert to; ``None`` when the image stays as it is. The task says why.

    Raises ``Invalid`` for a signed image where those are refused.
    """
    imports = job.service.settings.imports
    if imports.does("image_conversion"):
        return _as_told(image, verdict, imports, signed=signed)
    targets = [job.service.stores[name] for name in job.stores if name in job.service.stores]
    if not targets or not all(_wants_raw(imports, store) for store in targets) or not _fits(image, verdict, "raw"):
        return None
    kept = _kept_because(job, image, signed=signed)
    if kept is not None:
        job.note(STEP, f"kept as {image.disk_format}, which Ceph starts no guest from: {kept}")
        job.step(STEP, state="done")
        return None
    job.note(STEP, "to raw, as all its stores are RBD and imports.plugins is not set")
    job.step(STEP, state="running")
    return "raw"


def _as_told(image: Image, verdict: FormatVerdict | None, imports: ImportOptions, *, signed: bool) -> str | None:
    target = imports.conversion.output_format
    if verdict is None or not _fits(image, verdict, target):
        return None
    if not signed:
        return target
    if imports.conversion.signed == "refuse":
        raise Invalid(
            f"The image is signed as {verdict.disk_format}, and this service converts images to {target}; "
            f"sign and import it as {target}"
        )
    return None


def _fits(image: Image, verdict: FormatVerdict | None, target: str) -> bool:
    """Whether there is something to convert."""
    if verdict is None or verdict.disk_format in (target, "iso"):
        return False
    return image.disk_format not in (*_NEVER, target)


def _kept_because(job: Job, image: Image, *, signed: bool) -> str | None:
    """Why somebody counts on these very bytes."""
    if signed:
        return "it is signed"
    if job.request.checksum is not None:
        return "its digest was given"
    return "it carries the pipeline's marks" if any(name.startswith(MARKS) for name in image.properties) else None
