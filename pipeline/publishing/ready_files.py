"""Images that were made elsewhere: a disk, alone or with the kernel and ramdisk it starts with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from pipeline.base import atomic
from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.image import formats, properties
from pipeline.image.digests import digest_file
from pipeline.publishing import marks
from pipeline.publishing.marks import Chain, Part
from pipeline.publishing.release import BOOT_PARTS, Offer, without_reserved
from pipeline.publishing.stores import Store
from pipeline.publishing.wanted import Wanted
from pipeline.recipes.nightly import Target
from pipeline.signing import image_signature
from pipeline.signing.certificates import LocalCertificates
from pipeline.signing.signer import Signer

_ORDER = (Part.KERNEL, Part.RAMDISK, Part.DISK)


@dataclass(frozen=True)
class ReadyFiles:
    """What to publish as ``name``. With ``signer``, every file is signed; ``home`` remembers the signatures."""

    home: Home
    name: str
    files: Mapping[Part, Path]
    properties: Mapping[str, str] = field(default_factory=dict)
    visibility: str = "private"
    tags: frozenset[str] = frozenset()
    signer: Signer | None = None

    def offer(self, publisher: str, now: datetime, progress: Progress = nothing) -> Offer:
        """Read each file, check it, and make the offer. Raises ``PipelineError`` for what must not be published."""
        if Part.DISK not in self.files:
            raise PipelineError("there is no disk among the files", hint="give it with --disk")
        without_reserved(self.properties, self.name)
        properties.require_valid(self.properties, of=self.name)
        wanted = [self._wanted(part, publisher, now, progress) for part in _ORDER if part in self.files]

        def parts(target: Target, stores: Sequence[Store]) -> list[Wanted]:
            return wanted

        return Offer(self.name, parts)

    def _wanted(self, part: Part, publisher: str, now: datetime, progress: Progress) -> Wanted:
        path = self.files[part]
        if not path.is_file():
            raise PipelineError(f"{path}: there is no such file")
        progress.say(f"reading {path.name}")
        verdict = formats.inspect(path, BOOT_PARTS.get(part))
        disk_format = BOOT_PARTS.get(part) or verdict.disk_format
        smallest = properties.min_disk(verdict.virtual_size) if part is Part.DISK and verdict.virtual_size else 0
        digests = digest_file(path, progress=progress)
        described = self.properties if part is Part.DISK else {}
        return Wanted(
            chain=Chain(publisher, self.name, part),
            name=f"{self.name}{part.suffix}",
            version=marks.version_stamp(now),
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
        """The signature's properties. Signing anew would give others, and change the published image for nothing."""
        if self.signer is None:
            return {}
        known = self.home.root / "publishing" / "signatures" / f"{sha512[:64]}-{self.signer.certificate}.json"
        if known.is_file():
            found: dict[str, str] = json.loads(known.read_text())
            image_signature.verify_file(path, found, LocalCertificates(self.home.certificates))
            return found
        made = dict(image_signature.sign(path, self.signer, progress=progress).properties)
        atomic.write_text(known, json.dumps(made))
        return made
