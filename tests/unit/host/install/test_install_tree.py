"""Installation media, told apart by their .treeinfo."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.install import install_tree
from pipeline.host.media import iso

SEVEN = b"""[general]
family = Red Hat Enterprise Linux
version = 7.9
arch = x86_64
[images-x86_64]
kernel = images/pxeboot/vmlinuz
initrd = images/pxeboot/initrd.img
[variant-Server]
repository = .
[variant-Server-HighAvailability]
repository = addons/HighAvailability
"""
SIX = (
    SEVEN.replace(b"7.9", b"6.10")
    .replace(b"repository = .", b"repository = Server/repodata")
    .partition(b"[variant-Server-")[0]
)


def test_release_seven() -> None:
    found = install_tree.parse(SEVEN)
    assert found.release == "Red Hat Enterprise Linux 7.9"
    assert (found.kernel, found.initrd) == ("images/pxeboot/vmlinuz", "images/pxeboot/initrd.img")
    assert found.repositories == ("", "addons/HighAvailability")


def test_release_six_names_the_metadata_itself() -> None:
    assert install_tree.parse(SIX).repositories == ("Server",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "says nothing of arch in [general]"),
        (b"nothing", "cannot be read"),
        (SEVEN.replace(b"version", b"edition"), "says nothing of version"),
        (SEVEN.replace(b"x86_64\n[", b"ppc64\n["), "says nothing of kernel in [images-ppc64]"),
        (SEVEN.replace(b"images/pxeboot/vmlinuz", b"../../boot/vmlinuz"), "leads out of the media"),
        (SEVEN.replace(b"images/pxeboot/vmlinuz", b"/boot/vmlinuz"), "leads out of the media"),
    ],
)
def test_what_is_wrong_is_told(text: bytes, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        install_tree.parse(text)
    assert said in caught.value.message


@given(st.binary())
def test_nothing_from_outside_breaks_it(data: bytes) -> None:
    try:
        install_tree.parse(data)
    except PipelineError:
        pass


def test_media(tmp_path: Path) -> None:
    media = tmp_path / "dvd.iso"
    iso.write(media, "RHEL-7.9 Server.x86_64", {".treeinfo": SEVEN, "images/pxeboot/vmlinuz": b"kernel"})
    with install_tree.opened(media) as tree:
        assert tree.label == "RHEL-7.9 Server.x86_64"
        with pytest.raises(PipelineError, match=r"have no such file"):
            tree.extract_installer(tmp_path)
        assert (tmp_path / "vmlinuz").read_bytes() == b"kernel"
        with pytest.raises(PipelineError, match="no repository of packages"):
            _ = tree.repodata


def test_another_iso_is_no_medium(tmp_path: Path) -> None:
    media = tmp_path / "seed.iso"
    iso.write(media, "cidata", {"meta-data": b"{}"})
    with pytest.raises(PipelineError, match=r"seed\.iso is no installation medium"), install_tree.opened(media):
        pass
