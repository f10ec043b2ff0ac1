"""What image data is, found out in the one pass over it: digests, format, signature."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pipeline.image.formats import FormatRefused, Limits
from pipeline.imageservice.catalog.model import Image
from pipeline.imageservice.data.options import DataOptions
from pipeline.imageservice.data.taps import Digest, Inspection
from pipeline.imageservice.data.transfer import Tap
from pipeline.imageservice.errors import Invalid, UnsupportedContent
from pipeline.signing.certificates import CertificateSource
from pipeline.signing.image_signature import SignatureRefused, Verifier


@dataclass(frozen=True)
class Facts:
    """What was found out. ``virtual_size``: bytes of the disk, where there is one. ``format``: as detected."""

    checksum: str
    hash_algo: str
    hash_value: str
    virtual_size: int | None
    format: str | None

    @property
    def of_image(self) -> Mapping[str, object]:
        """The image's fields that follow from it."""
        return {
            "checksum": self.checksum,
            "hash_algo": self.hash_algo,
            "hash_value": self.hash_value,
            "virtual_size": self.virtual_size,
        }


class Judge:
    """Watches the data of one image go by; made before the first byte, so that what can be refused then is.

    Raises ``Invalid`` when the image's signature cannot be checked at all.
    """

    def __init__(
        self, image: Image, options: DataOptions, hash_algorithm: str, certificates: CertificateSource
    ) -> None:
        self._options, self._algorithm = options, hash_algorithm
        self._verifier = _verifier(image, certificates)
        wanted = ["md5", hash_algorithm, *([self._verifier.algorithm] if self._verifier else [])]
        self._digests = {name: Digest(name) for name in dict.fromkeys(wanted)}
        self._inspection = Inspection(_limits(options)) if image.container_format == "bare" else None
        self._disk_format = image.disk_format

    @property
    def taps(self) -> list[Tap]:
        """What the transfer has to feed."""
        return [*self._digests.values(), *([self._inspection] if self._inspection else [])]

    @property
    def is_signed(self) -> bool:
        """Whether the image has a signature that ``facts`` checks."""
        return self._verifier is not None

    def facts(self) -> Facts:
        """The verdict after the last byte. Raises ``UnsupportedContent`` or ``Invalid`` when the data is refused."""
        found = None
        if self._inspection is not None:
            try:
                found = self._inspection.verdict(self._disk_format, require_match=self._options.require_format_match)
            except FormatRefused as refused:
                raise UnsupportedContent(f"Image refused: {refused.message}", hint=refused.hint) from None
        if self._verifier is not None:
            try:
                self._verifier.verify(bytes.fromhex(self._digests[self._verifier.algorithm].hexdigest()))
            except SignatureRefused as refused:
                raise _unsigned(refused) from None
        return Facts(
            checksum=self._digests["md5"].hexdigest(),
            hash_algo=self._algorithm,
            hash_value=self._digests[self._algorithm].hexdigest(),
            virtual_size=found.virtual_size if found else None,
            format=found.format if found else None,
        )


def _verifier(image: Image, certificates: CertificateSource) -> Verifier | None:
    try:
        return Verifier.create(image.properties, certificates)
    except SignatureRefused as refused:
        raise _unsigned(refused) from None


def _unsigned(refused: SignatureRefused) -> Invalid:
    return Invalid(f"Signature verification failed: {refused.message}", hint=refused.hint)


def _limits(options: DataOptions) -> Limits:
    return Limits(
        max_virtual_size=options.max_virtual_size,
        allow_encrypted=options.allow_encrypted,
        tolerated=frozenset(options.tolerated_checks),
    )
