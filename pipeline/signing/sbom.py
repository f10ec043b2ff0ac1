"""The bill of materials of an image: CycloneDX 1.6, byte for byte the same for the same image.

The image itself is the root component, named by its digests; every package hangs below it with its package URL
(https://github.com/package-url/purl-spec).
"""

from __future__ import annotations

import datetime
import json
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.contact import OrganizationalEntity
from cyclonedx.model.dependency import Dependency
from cyclonedx.model.license import DisjunctiveLicense
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from pipeline.host.software import Package

_NAMESPACE = uuid.UUID("0b9f5f0e-6c1c-5b0a-8f4e-2f6f0a6b7d21")
_HASHES = {
    "md5": HashAlgorithm.MD5,
    "sha256": HashAlgorithm.SHA_256,
    "sha384": HashAlgorithm.SHA_384,
    "sha512": HashAlgorithm.SHA_512,
}
_PURL_TYPES = {"deb", "rpm", "apk"}
# XML and JSON readers alike stumble over control characters in what a guest calls its packages.
_CLEAN = dict.fromkeys([*range(32), 127])


@dataclass(frozen=True)
class Image:
    """The image a bill is about. ``distro`` and ``version`` as in ``os_distro`` and ``os_version``; times in UTC."""

    name: str
    distro: str
    version: str
    digests: Mapping[str, str]
    made: datetime.datetime


def make(image: Image, packages: Iterable[Package], facts: Mapping[str, str]) -> bytes:
    """The bill as JSON. ``facts`` are further properties of the image (kernel, firmware, boot loader)."""
    root = Component(
        name=_text(image.name),
        version=_text(image.version),
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"image:{image.digests['sha256']}",
        hashes=[HashType(alg=_HASHES[name], content=value) for name, value in image.digests.items() if name in _HASHES],
        properties=[Property(name=f"image:{name}", value=_text(value)) for name, value in sorted(facts.items())],
    )
    parts = [_component(package, image) for package in sorted(set(packages))]
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
    return dump(json.loads(JsonV1Dot6(bom).output_as_string()))


def dump(bill: Mapping[str, Any]) -> bytes:
    """A bill's data as the one text that we write it as."""
    return (json.dumps(bill, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode()


def image_digest(bill: bytes) -> dict[str, str]:
    """The digests of the image a bill is about (algorithm → hex). Empty when it doesn't say."""
    names = {str(value.value): name for name, value in _HASHES.items()}
    try:
        hashes = json.loads(bill)["metadata"]["component"]["hashes"]
        return {names[each["alg"]]: str(each["content"]) for each in hashes if each["alg"] in names}
    except (ValueError, KeyError, TypeError):
        return {}


def purl(package: Package, distro: str, version: str) -> PackageURL:
    """A package's URL."""
    if package.kind not in _PURL_TYPES:
        return PackageURL("generic", None, _text(package.name), _text(package.version) or None)
    qualifiers = {"arch": package.architecture, "distro": f"{distro}-{version}" if version else distro}
    if package.kind == "rpm":
        qualifiers["epoch"] = package.epoch
    namespace = "alpine" if package.kind == "apk" else distro
    present = {name: _text(value) for name, value in qualifiers.items() if value}
    return PackageURL(package.kind, namespace or None, _text(package.name), _text(package.version), present)


def _component(package: Package, image: Image) -> Component:
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
    )


def _text(value: str) -> str:
    return value.translate(_CLEAN).strip() or "unknown"
