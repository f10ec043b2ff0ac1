from __future__ import annotations

import datetime
import json

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.host.guestfs.installed_packages import InstalledPackage
from pipeline.signing.sbom import cyclonedx

IMAGE = cyclonedx.SbomImage(
    "debian-12",
    "debian",
    "12",
    {"sha256": "ab" * 32, "sha512": "cd" * 64, "md5": "ef" * 16},
    datetime.datetime(2026, 11, 21, tzinfo=datetime.UTC),
)
PACKAGES = [
    InstalledPackage("deb", "tzdata", "1:2024a-0", "all"),
    InstalledPackage("deb", "bash", "5.2.15-2+b2", "amd64", source="bash", license="GPL-3", vendor="A <a@b>"),
    InstalledPackage("rpm", "hello", "2.10-3", "noarch", epoch="1"),
    InstalledPackage("apk", "musl", "1.2.4-r2", "x86_64"),
    InstalledPackage("generic", "QEMU guest agent", "7.5"),
]


def test_it_is_valid_and_complete() -> None:
    document = cyclonedx.make(IMAGE, PACKAGES, {"kernel": "6.1.0-56"})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode()) is None
    data = json.loads(document)
    assert data["metadata"]["component"]["type"] == "operating-system"
    assert cyclonedx.image_digest(document) == IMAGE.digests
    assert {component["purl"] for component in data["components"]} == {
        "pkg:apk/alpine/musl@1.2.4-r2?arch=x86_64&distro=debian-12",
        "pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64&distro=debian-12",
        "pkg:deb/debian/tzdata@1:2024a-0?arch=all&distro=debian-12",
        "pkg:generic/QEMU%20guest%20agent@7.5",
        "pkg:rpm/debian/hello@2.10-3?arch=noarch&distro=debian-12&epoch=1",
    }
    root = next(each for each in data["dependencies"] if each["ref"] == f"image:{'ab' * 32}")
    assert len(root["dependsOn"]) == len(PACKAGES)


def test_the_same_image_gives_the_same_bytes() -> None:
    assert cyclonedx.make(IMAGE, PACKAGES, {}) == cyclonedx.make(IMAGE, reversed(PACKAGES), {})


def test_what_it_was_made_of_is_listed_with_the_evidence() -> None:
    taken = [
        cyclonedx.BuildMaterial.parse(
            "pkg:deb/debian/busybox-static@1:1.35.0-4?arch=amd64#bin/busybox", {"sha256": "ab" * 32}
        ),
        cyclonedx.BuildMaterial.parse("pkg:deb/debian/linux-image@6.1?arch=amd64#boot/vmlinuz", {"sha256": "cd" * 32}),
        cyclonedx.BuildMaterial.parse(
            "pkg:deb/debian/linux-image@6.1?arch=amd64#lib/modules/a.ko", {"sha256": "ef" * 32}
        ),
        # The guest knows it itself.
        cyclonedx.BuildMaterial.parse("pkg:deb/debian/bash@5.2.15-2%2Bb2?arch=amd64#bin/bash", {"sha256": "ef" * 32}),
    ]
    document = cyclonedx.make(IMAGE, PACKAGES[:2], {}, [each for each in taken if each is not None])
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode()) is None
    components = {each["name"]: each for each in json.loads(document)["components"]}
    assert sorted(components) == ["bash", "busybox-static", "linux-image", "tzdata"]
    kernel = components["linux-image"]
    assert kernel["purl"] == "pkg:deb/debian/linux-image@6.1?arch=amd64" and kernel["version"] == "6.1"
    assert [each["location"] for each in kernel["evidence"]["occurrences"]] == ["/boot/vmlinuz", "/lib/modules/a.ko"]
    assert kernel["evidence"]["occurrences"][0]["additionalContext"] == f"sha256:{'cd' * 32}"
    assert kernel["evidence"]["identity"][0]["methods"][0]["technique"] == "attestation"
    assert components["bash"]["evidence"]["identity"][0]["methods"][0]["value"] == "/var/lib/dpkg"


@pytest.mark.parametrize(
    "uri", ["https://example.org/x.iso", "pkg:deb/debian/bash@5", "pkg:deb/debian/bash#x", "pkg:", ""]
)
def test_other_dependencies_are_no_parts(uri: str) -> None:
    assert cyclonedx.BuildMaterial.parse(uri, {}) is None


TEXT = st.text(max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.builds(
            InstalledPackage,
            st.sampled_from(["deb", "rpm", "apk", "generic"]),
            TEXT,
            TEXT,
            TEXT,
            TEXT,
            TEXT,
            TEXT,
            TEXT,
        ),
        max_size=4,
    )
)
def test_whatever_a_guest_calls_its_packages_the_bill_is_valid(packages: list[InstalledPackage]) -> None:
    document = cyclonedx.make(IMAGE, packages, {})
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(document.decode()) is None


@pytest.mark.parametrize("document", [b"", b"[]", b"{}", b'{"metadata": {"component": {"hashes": 3}}}'])
def test_sboms_that_do_not_say_what_they_are_about(document: bytes) -> None:
    assert cyclonedx.image_digest(document) == {}
