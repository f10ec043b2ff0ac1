"""Differences between what is in two images, and where images are looked for."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.plan.explain import ImageDifference, contents, find
from pipeline.host.guestfs.manifest import Manifest, ManifestEntry

FILE = ManifestEntry("/etc/motd", "file", 0o644, 0, 0, "00", (), 1)
LINK = ManifestEntry("/bin/sh", "link", 0o777, 0, 0, "busybox", (), 1)


def _compare(
    one: list[ManifestEntry], other: list[ManifestEntry], disks: tuple[dict[str, str], dict[str, str]] = ({}, {})
) -> ImageDifference:
    manifests = [Manifest(tuple(nodes), disk) for nodes, disk in zip((one, other), disks, strict=True)]
    return contents(*manifests, same_bytes=False, made=None)


def test_the_same_contents() -> None:
    found = _compare([FILE, LINK], [LINK, replace(FILE, time=2)])
    assert found.same_contents
    assert found.only_times == 1


@pytest.mark.parametrize(
    ("after", "line"),
    [
        (replace(FILE, content="11"), "/etc/motd: other bytes"),
        (replace(FILE, mode=0o600), "/etc/motd: mode 0644 → 0600"),
        (replace(FILE, owner=7), "/etc/motd: owner 0:0 → 7:0"),
        (replace(FILE, kind="folder", content=""), "/etc/motd: file → folder"),
        (replace(FILE, xattrs=(("security.selinux", "x"),)), "/etc/motd: attributes security.selinux"),
    ],
)
def test_a_changed_file(after: ManifestEntry, line: str) -> None:
    found = _compare([FILE], [after])
    assert found.changed == (line,)
    assert not found.same_contents


def test_a_changed_link() -> None:
    assert _compare([LINK], [replace(LINK, content="dash")]).changed == ("/bin/sh: busybox → dash",)


def test_added_and_removed() -> None:
    found = _compare([FILE], [LINK])
    assert (found.added, found.removed) == (("/bin/sh",), ("/etc/motd",))


def test_another_disk() -> None:
    found = _compare([], [], ({"UUID of /dev/sda1": "a"}, {"UUID of /dev/sda1": "b", "label of /dev/sda1": "root"}))
    assert found.disk == ("UUID of /dev/sda1: a → b", "label of /dev/sda1: nothing → root")


def test_images_are_found_by_path_or_recipe(home: Home, tmp_path: Path) -> None:
    folder = home.artifacts / "tiny"
    folder.mkdir(parents=True)
    (folder / "tiny.qcow2").write_bytes(b"x")
    (folder / "tiny.serial.log").write_bytes(b"x")
    assert find(home, "tiny").format == "qcow2"
    assert find(home, str(folder / "tiny.qcow2")).sha256 == find(home, "tiny").sha256
    with pytest.raises(PipelineError, match="neither an image file nor a recipe"):
        find(home, "none")
    for nowhere in ("/nowhere", "../tiny", "*", str(folder / "none.qcow2")):
        with pytest.raises(PipelineError, match="neither an image file"):
            find(home, nowhere)
    (tmp_path / "x.bin").write_bytes(b"x")
    with pytest.raises(PipelineError, match="unknown kind of image"):
        find(home, str(tmp_path / "x.bin"))
