"""Take images that were made elsewhere: a disk, alone or with the kernel and ramdisk it starts with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pipeline.base import atomic, json_text
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.image import convert, formats, properties
from pipeline.image.digests import digest_file
from pipeline.image.integrity.raw import SECTOR
from pipeline.image.packing.unpack import packing_of_file
from pipeline.publishing.cloud import ownership_marker
from pipeline.publishing.cloud.ownership_marker import Chain, ImagePart
from pipeline.publishing.cloud.stores import CloudStore
from pipeline.publishing.plan.desired import DesiredImage
from pipeline.publishing.sources.build import BOOT_PARTS, PublishSource, of_every_part, without_reserved
from pipeline.recipes.nightly import Target
from pipeline.signing import image_signature
from pipeline.signing.keys.signer import Signer
from pipeline.signing.trust.certificates import LocalCertificates

_ORDER = (ImagePart.KERNEL, ImagePart.RAMDISK, ImagePart.DISK)


# What a disk's file is called says what it has to be.
_SAID = {f".{name}": name for name in ("qcow2", "raw", "vmdk", "vhd", "vhdx", "vdi", "iso")}
_LIMITS = formats.FormatLimits(raw_must_be_raw=True)


@dataclass(frozen=True)
class ReadyFiles:
    """What to publish as ``name``. With ``signer``, every file is signed; ``home`` remembers the signatures."""

    home: Home
    name: str
    files: Mapping[ImagePart, Path]
    properties: Mapping[str, str] = field(default_factory=dict)
    visibility: str = "private"
    tags: frozenset[str] = frozenset()
    signer: Signer | None = None

    def source(self, publisher: str, now: datetime, progress: Progress = nothing) -> PublishSource:
        """Read and check each file; return what to publish. Raises ``PipelineError`` for what must not be published."""
        if ImagePart.DISK not in self.files:
            raise PipelineError("there is no disk among the files", hint="give it with --disk")
        without_reserved(self.properties, self.name)
        properties.require_valid(self.properties, of=self.name)
        desired = [self._desired(part, publisher, now, progress) for part in _ORDER if part in self.files]

        def parts(target: Target, stores: Sequence[CloudStore]) -> list[DesiredImage]:
            return desired

        return PublishSource(self.name, parts)

    def _desired(self, part: ImagePart, publisher: str, now: datetime, progress: Progress) -> DesiredImage:
        path = self.files[part]
        if not path.is_file():
            raise PipelineError(f"{path}: there is no such file")
        progress.say(f"reading {path.name}")
        verdict = _judged_disk(path, progress) if part is ImagePart.DISK else formats.inspect(path, BOOT_PARTS[part])
        disk_format = BOOT_PARTS.get(part) or verdict.disk_format
        smallest = properties.min_disk(verdict.virtual_size) if part is ImagePart.DISK and verdict.virtual_size else 0
        digests = digest_file(path, progress=progress)
        described = self.properties if part is ImagePart.DISK else of_every_part(self.properties)
        return DesiredImage(
            chain=Chain(publisher, self.name, part),
            name=f"{self.name}{part.suffix}",
            version=ownership_marker.version_stamp(now),
            path=path,
            size=digests.size,
            sha512=digests.sha512,
            disk_format=disk_format,
            container_format="bare",
            visibility=self.visibility,
            tags=self.tags,
            min_disk=smallest,
            properties={**described, **self._signature(path, digests.sha512, progress)},
        )

    def _signature(self, path: Path, sha512: str, progress: Progress) -> dict[str, str]:
        """Return the signature's properties. Signing anew would give others, and change the image for nothing."""
        if self.signer is None:
            return {}
        known = self.home.root / "publishing" / "signatures" / f"{sha512[:64]}-{self.signer.certificate}.json"
        if known.is_file():
            found: dict[str, str] = json_text.loads(known.read_text())
            image_signature.verify_file(path, found, LocalCertificates(self.home.certificates))
            return found
        made = dict(image_signature.sign(path, self.signer, progress=progress).properties)
        atomic.write_text(known, json.dumps(made))
        return made


def _judged_disk(path: Path, progress: Progress) -> formats.FormatVerdict:
    """Return what a disk is. Raises ``PipelineError`` for what no cloud could start, or is not what it says."""
    packing = packing_of_file(path)
    if packing is not None:
        raise PipelineError(
            f"{path.name} is no disk image: it is packed with {packing}",
            hint=f"{packing.command.replace('FILE', path.name)}; or let ./inv upload do it: --unpack",
        )
    try:
        verdict = formats.inspect(path, _SAID.get(path.suffix.lower()), limits=_LIMITS)
        remark = convert.check(path, verdict.format)
    except formats.FormatRefused as refused:
        raise PipelineError(f"{path.name}: {refused.message}", hint=refused.hint) from None
    if remark:
        progress.say(remark)
    if verdict.disk_format == "raw" and verdict.size % SECTOR:
        raise PipelineError(
            f"{path.name} is no whole disk: {verdict.size} bytes are no multiple of {SECTOR}",
            hint="it was cut off, or is no disk image; if it is one, fill it up: truncate --size=%512 FILE",
        )
    return verdict
