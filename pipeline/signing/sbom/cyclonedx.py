"""Write and read the bill of materials of an image: CycloneDX 1.6, byte for byte the same for the same image.

The image itself is the root component, named by its digests; every package hangs below it with its package URL
(https://github.com/package-url/purl-spec) and the evidence for it: the guest's own package database, or the files that
the build took from packages of the machine it ran on.
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.component_evidence import (
    AnalysisTechnique,
    ComponentEvidence,
    Identity,
    IdentityField,
    Method,
    Occurrence,
)
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from pipeline.base import json_text
from pipeline.host.guestfs.installed_packages import InstalledPackage

_NAMESPACE = uuid.UUID("0b9f5f0e-6c1c-5b0a-8f4e-2f6f0a6b7d21")
_HASHES = {
    "md5": HashAlgorithm.MD5,
    "sha256": HashAlgorithm.SHA_256,
    "sha384": HashAlgorithm.SHA_384,
    "sha512": HashAlgorithm.SHA_512,
}
# Where each kind of package is registered in a guest.
_REGISTERED = {
    "deb": "/var/lib/dpkg",
    "rpm": "the RPM database",
    "apk": "/lib/apk/db/installed",
    # Windows has the only other list.
    "generic": r"HKLM\SOFTWARE\Microsoft\Windows\CurrentVersion\Uninstall",
}
_PURL_TYPES = {"deb", "rpm", "apk"}
# XML and JSON readers alike stumble over control characters in what a guest calls its packages.
_CLEAN = dict.fromkeys([*range(32), 127])


@dataclass(frozen=True)
class SbomImage:
    """The image an SBOM is about. ``distro`` and ``version`` as in ``os_distro`` and ``os_version``; times in UTC."""

    name: str
    distro: str
    version: str
    digests: Mapping[str, str]
    made: datetime.datetime


@dataclass(frozen=True)
class BuildMaterial:
    """A file that the build took from a package of its own machine: the package's URL, the file's path and SHA-256."""

    package: PackageURL
    path: str
    sha256: str

    @classmethod
    def parse(cls, uri: str, digest: Mapping[str, str]) -> BuildMaterial | None:
        """Parse the ``uri`` and ``digest`` of a build's dependency; ``None`` when that is no file of a package."""
        try:
            found = PackageURL.from_string(uri)
        except ValueError:
            return None
        if not found.subpath or not found.version:
            return None
        return cls(found._replace(subpath=None), f"/{found.subpath}", digest.get("sha256", ""))


def make(
    image: SbomImage,
    packages: Iterable[InstalledPackage],
    facts: Mapping[str, str],
    taken: Iterable[BuildMaterial] = (),
) -> bytes:
    """Return the SBOM as JSON.

    ``facts`` are further properties of the image (kernel, firmware, boot loader). ``taken`` are the files it was made
    of; their packages are listed unless the guest's own database has them.
    """
    root = Component(
        name=_text(image.name),
        version=_text(image.version),
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"image:{image.digests['sha256']}",
        hashes=[HashType(alg=_HASHES[name], content=value) for name, value in image.digests.items() if name in _HASHES],
        properties=[Property(name=f"image:{name}", value=_text(value)) for name, value in sorted(facts.items())],
    )
    parts = [_component(package, image) for package in sorted(set(packages))]
    parts += _made_of(taken, known={_identity(part.purl) for part in parts if part.purl})
    bom = Bom(
        serial_number=uuid.uuid5(_NAMESPACE, image.digests["sha256"]),
        metadata=BomMetaData(component=root, timestamp=image.made),
        components=parts,
        dependencies=[
            Dependency(ref=root.bom_ref, dependencies=[Dependency(ref=part.bom_ref) for part in parts]),
            *(Dependency(ref=part.bom_ref) for part in parts),
        ],
    )
    # The library names itself and its version among the tools; that would make bills differ for nothing.
    bom.metadata.tools.components.clear()
    bom.metadata.tools.tools.clear()
    return dump(json_text.loads(JsonV1Dot6(bom).output_as_string()))


def dump(document: Mapping[str, Any]) -> bytes:
    """Return an SBOM's data as the one text that we write it as."""
    return (json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def image_digest(document: bytes) -> dict[str, str]:
    """Return the digests of the image an SBOM is about (algorithm → hex). Empty when it doesn't say."""
    names = {str(value.value): name for name, value in _HASHES.items()}
    try:
        hashes = json_text.loads(document)["metadata"]["component"]["hashes"]
        return {names[each["alg"]]: str(each["content"]) for each in hashes if each["alg"] in names}
    except (ValueError, KeyError, TypeError):
        return {}


def purl(package: InstalledPackage, distro: str, version: str) -> PackageURL:
    """Return a package's URL."""
    if package.kind not in _PURL_TYPES:
        return PackageURL("generic", None, _text(package.name), _text(package.version) or None)
    qualifiers = {"arch": package.architecture, "distro": f"{distro}-{version}" if version else distro}
    if package.kind == "rpm":
        qualifiers["epoch"] = package.epoch
    namespace = "alpine" if package.kind == "apk" else distro
    present = {name: _text(value) for name, value in qualifiers.items() if value}
    return PackageURL(package.kind, namespace or None, _text(package.name), _text(package.version), present)


def _component(package: InstalledPackage, image: SbomImage) -> Component:
    name = purl(package, image.distro, image.version)
    return Component(
        name=_text(package.name),
        version=_text(package.version),
        type=ComponentType.LIBRARY,
        bom_ref=name.to_string(),
        purl=name,
        supplier=OrganizationalEntity(name=_text(package.vendor)) if package.vendor else None,
        # What distributions write there is seldom an SPDX expression; as a name it is valid whatever it is.
        licenses=[DisjunctiveLicense(name=_text(package.license))] if package.license else None,
        properties=[Property(name="package:source", value=_text(package.source))] if package.source else None,
        evidence=_evidence(AnalysisTechnique.MANIFEST_ANALYSIS, _REGISTERED.get(package.kind, "the guest")),
    )


def _made_of(taken: Iterable[BuildMaterial], known: Collection[tuple[str, str, str | None]]) -> Iterator[Component]:
    files: dict[PackageURL, dict[str, str]] = {}
    for each in taken:
        if _identity(each.package) not in known:
            files.setdefault(each.package, {})[each.path] = each.sha256
    for package, paths in sorted(files.items(), key=lambda item: item[0].to_string()):
        places = [
            Occurrence(bom_ref=f"{package.to_string()}#{path}", location=path, additional_context=f"sha256:{digest}")
            for path, digest in paths.items()
        ]
        yield Component(
            name=package.name,
            version=package.version,
            type=ComponentType.LIBRARY,
            bom_ref=package.to_string(),
            purl=package,
            evidence=_evidence(AnalysisTechnique.ATTESTATION, "the provenance of the image", places),
        )


def _identity(package: PackageURL) -> tuple[str, str, str | None]:
    return package.type, package.name, package.version


def _evidence(technique: AnalysisTechnique, value: str, places: Iterable[Occurrence] = ()) -> ComponentEvidence:
    method = Method(technique=technique, confidence=Decimal(1), value=value)
    identity = Identity(field=IdentityField.PURL, confidence=Decimal(1), methods=[method])
    return ComponentEvidence(identity=[identity], occurrences=places)


def _text(value: str) -> str:
    return value.translate(_CLEAN).strip() or "unknown"
