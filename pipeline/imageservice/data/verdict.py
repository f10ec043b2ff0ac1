"""Inspect image data in the one pass over it, and give the verdict: digests, format, signature."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.image.formats import FormatLimits, FormatRefused, FormatVerdict
from pipeline.imageservice.data.options import DataOptions
from pipeline.imageservice.data.taps import DigestTap, InspectionTap
from pipeline.imageservice.data.transfer import Tap
from pipeline.imageservice.errors import Invalid, UnsupportedContent
from pipeline.imageservice.model.images import Image
from pipeline.signing.image_signature import SignatureRefused, Verifier
from pipeline.signing.trust import chain
from pipeline.signing.trust.certificates import CertificateSource
from pipeline.signing.trust.chain import ChainRefused


@dataclass(frozen=True)
class DataFacts:
    """What was found out. ``virtual_size``: bytes of the disk, where there is one. ``format``: as detected."""

    checksum: str
    hash_algo: str
    hash_value: str
    virtual_size: int | None = None
    format: str | None = None

    @property
    def of_image(self) -> Mapping[str, object]:
        """The image's fields that follow from it."""
        return {
            "checksum": self.checksum,
            "hash_algo": self.hash_algo,
            "hash_value": self.hash_value,
            "virtual_size": self.virtual_size,
        }


class DataInspector:
    """Watches the data of one image go by.

    ``verifier`` checks its signature, if it has one. With ``inspect`` the format is looked at too, where the
    container format says that the data is a disk as it is.
    """

    def __init__(
        self,
        image: Image,
        options: DataOptions,
        hash_algorithm: str,
        verifier: Verifier | None,
        *,
        inspect: bool = True,
        limits: FormatLimits | None = None,
    ) -> None:
        self._options, self._algorithm, self._verifier = options, hash_algorithm, verifier
        algorithms = ["md5", hash_algorithm, *([verifier.algorithm] if verifier else [])]
        self._digests = {name: DigestTap(name) for name in dict.fromkeys(algorithms)}
        looked_at = inspect and image.container_format == "bare"
        self._inspection = InspectionTap(limits or format_limits(options)) if looked_at else None
        self._disk_format = image.disk_format
        self.verdict: FormatVerdict | None = None  # once the facts are known, where the format was looked at

    @property
    def taps(self) -> list[Tap]:
        """What the transfer has to feed."""
        return [*self._digests.values(), *([self._inspection] if self._inspection else [])]

    @property
    def digests(self) -> dict[str, str]:
        """Every digest so far, by algorithm."""
        return {name: digest.hexdigest() for name, digest in self._digests.items()}

    def facts(self) -> DataFacts:
        """Return the verdict after the last byte. Raises ``UnsupportedContent`` or ``Invalid`` when the data is
        refused.
        """
        found = self.verdict = self._verdict(self._inspection) if self._inspection is not None else None
        digests = self.digests
        if self._verifier is not None:
            check_signature(self._verifier, digests[self._verifier.algorithm])
        return DataFacts(
            checksum=digests["md5"],
            hash_algo=self._algorithm,
            hash_value=digests[self._algorithm],
            virtual_size=found.virtual_size if found else None,
            format=found.format if found else None,
        )

    def _verdict(self, inspection: InspectionTap) -> FormatVerdict:
        try:
            return inspection.verdict(self._disk_format, require_match=self._options.require_format_match)
        except FormatRefused as refused:
            raise unsupported(refused) from None


def verifier_for(
    image: Image, certificates: CertificateSource, trusted: Iterable[str] | None = None
) -> Verifier | None:
    """Return what checks the image's signature; ``None`` when it has none.

    ``trusted`` are the ids of the certificates that have to vouch for the one that signed; with ``None`` any counts.
    Raises ``Invalid`` when the signature can't be checked or its certificate is not trusted.
    """
    try:
        verifier = Verifier.create(image.properties, certificates)
    except SignatureRefused as refused:
        raise _unsigned(refused) from None
    if verifier is not None and trusted is not None:
        try:
            chain.validate_by_ids(verifier.certificate, trusted, certificates)
        except ChainRefused as refused:
            raise Invalid(f"Certificate validation failed: {refused.message}", hint=refused.hint) from None
    return verifier


def check_signature(verifier: Verifier, digest: str) -> None:
    """Raise ``Invalid`` unless ``digest`` (hex, of the verifier's algorithm) was signed."""
    try:
        verifier.verify(bytes.fromhex(digest))
    except SignatureRefused as refused:
        raise _unsigned(refused) from None


def unsupported(refused: FormatRefused) -> UnsupportedContent:
    """Return a refusal of an image's content as the service's error."""
    return UnsupportedContent(f"Image refused: {refused.message}", hint=refused.hint)


def format_limits(
    options: DataOptions, disk_formats: Iterable[str] | None = None, *, raw_must_be_raw: bool = False
) -> FormatLimits:
    """Return what an image may claim. ``disk_formats``: those that images may have here."""
    return FormatLimits(
        raw_must_be_raw=options.raw_must_be_raw or raw_must_be_raw,
        disk_formats=None if disk_formats is None else frozenset(disk_formats),
        max_virtual_size=options.max_virtual_size,
        allow_encrypted=options.allow_encrypted,
        tolerated=frozenset(options.tolerated_checks),
    )


def _unsigned(refused: SignatureRefused) -> Invalid:
    return Invalid(f"Signature verification failed: {refused.message}", hint=refused.hint)
