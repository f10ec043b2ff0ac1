"""Repository metadata, as createrepo_c writes it and as nobody should."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import itertools
import lzma
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.install import repodata
from pipeline.host.install.repodata import Repodata

PRIMARY = b"""<?xml version="1.0"?>
<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" packages="2">
<package type="rpm"><name>bash</name><arch>x86_64</arch><location href="Packages/bash.rpm"/>
<format><rpm:provides><rpm:entry name="config(bash)"/></rpm:provides><file>/bin/sh</file></format></package>
<package type="rpm"><name>kernel</name></package>
</metadata>"""
COMPS = b"""<comps><group><id>core</id><name>Core</name><name xml:lang="de">Kern</name>
<packagelist><packagereq>bash</packagereq></packagelist></group>
<environment><id>minimal</id><name>Minimal Install</name></environment></comps>"""


class Place:
    def __init__(self, files: Mapping[str, bytes]) -> None:
        self.files = files

    def read(self, path: str) -> bytes | None:
        return self.files.get(path)


def location(
    primary: bytes = PRIMARY,
    pack: Callable[[bytes], bytes] = gzip.compress,
    *,
    digest: str | None = None,
    href: str = "",
) -> Place:
    packed = pack(primary)
    known = digest or hashlib.sha256(packed).hexdigest()
    href = href or "repodata/primary.xml.gz"
    index = f"""<repomd xmlns="http://linux.duke.edu/metadata/repo">
    <data type="primary"><checksum type="sha256">{known}</checksum><location href="{href}"/></data>
    <data type="group"><checksum type="sha1">{hashlib.sha1(COMPS).hexdigest()}</checksum>
    <location href="repodata/comps.xml"/></data></repomd>"""
    files = {"repodata/repomd.xml": index.encode(), "repodata/primary.xml.gz": packed, "repodata/comps.xml": COMPS}
    return Place(files)


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_packages_and_groups(pack: Callable[[bytes], bytes]) -> None:
    found = Repodata.read(location(pack=pack))
    assert found.packages == {"bash", "kernel"}
    assert {"config(bash)", "/bin/sh"} <= found.provides
    assert all(found.has_group(name) for name in ("core", "Core", "kern", "minimal", "Minimal Install"))
    assert not found.has_group("gnome")


def test_several_together() -> None:
    both = Repodata.together([Repodata.read(location()), Repodata(frozenset({"cloud-init"}))])
    assert both.packages == {"bash", "kernel", "cloud-init"}
    assert both.has_group("core")


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (Place({}), "this is no repository of packages"),
        (Place({"repodata/repomd.xml": b"<html>404"}), "cannot be read"),
        (Place({"repodata/repomd.xml": b"<repomd/>"}), "names no list of packages"),
        (location(digest="0" * 64), "is damaged"),
        (location(b"<metadata><package>"), "cannot be read"),
        (location(b"x", pack=lambda data: b"\x1f\x8b" + data), "cannot be read"),
        (location(href="repodata/other.xml.gz"), "there is no such file"),
        (location(href="../../etc/passwd"), "names no list of packages"),
    ],
)
def test_what_is_no_repository_is_said_so(bad: Place, said: str) -> None:
    with pytest.raises(PipelineError) as caught:
        Repodata.read(bad)
    assert said in caught.value.message


def test_a_bomb_is_not_unpacked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repodata, "LARGEST", 1 << 16)
    with pytest.raises(PipelineError, match="when unpacked"):
        Repodata.read(location(b"<metadata>" + bytes(1 << 20).replace(b"\0", b" ")))


def test_entities_do_not_grow() -> None:
    bomb = b'<!DOCTYPE x [<!ENTITY a "' + b"a" * 1000 + b'">'
    names = "abcdefgh"
    for one, two in itertools.pairwise(names):
        bomb += f'<!ENTITY {two} "{f"&{one};" * 100}">'.encode()
    with pytest.raises(PipelineError, match="cannot be read"):
        Repodata.read(location(bomb + b"]><metadata><package><name>&h;</name></package></metadata>"))


@given(st.binary())
def test_nothing_from_outside_breaks_it(data: bytes) -> None:
    for bad in (Place({"repodata/repomd.xml": data}), location(data, pack=bytes)):
        try:
            Repodata.read(bad)
        except PipelineError:
            pass
