from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.image import formats
from pipeline.image.inspection import vmdk
from pipeline.image.inspection.vmdk_descriptor import Descriptor, is_text_descriptor
from tests.unit.image import hostile, hostile_vmdks
from tests.unit.image import vmdk_files as made

GOOD = {
    "vmware-sparse": made.sparse(),
    "vmware-stream": made.stream(),
    "virtualbox-sparse": made.sparse(made.described(made.VIRTUALBOX, "monolithicSparse")),
    "virtualbox-stream": made.stream(made.described(made.VIRTUALBOX, "streamOptimized")),
    "windows-lines": made.sparse(made.described(made.VMWARE, "monolithicSparse").replace(b"\n", b"\r\n")),
}


def judged(data: bytes, declared: str | None, cut: int = 1 << 16) -> formats.FormatVerdict:
    tap = formats.FormatTap()
    for start in range(0, len(data), cut):
        tap.feed(data[start : start + cut])
    return tap.finish(declared)


@pytest.mark.parametrize("name", GOOD)
def test_what_vmware_and_virtualbox_write_is_taken(name: str) -> None:
    assert judged(GOOD[name], "vmdk").virtual_size == made.CAPACITY * 512


@pytest.mark.subprocess
@pytest.mark.parametrize("kind", ["monolithicSparse", "streamOptimized"])
@pytest.mark.parametrize("more", ["", ",compat6=on", ",zeroed_grain=on", ",adapter_type=lsilogic", ",hwversion=10"])
def test_what_qemu_writes_is_taken(tmp_path: Path, kind: str, more: str) -> None:
    path = tmp_path / "disk of mine.vmdk"
    hostile.qemu_img("create", "-f", "vmdk", "-o", f"subformat={kind}{more}", path, "3G")
    assert formats.inspect(path, "vmdk").virtual_size == 3 << 30


TRICKS = dict(hostile_vmdks.all_of_them())


@pytest.mark.parametrize("trick", TRICKS)
def test_no_trick_passes_however_it_is_declared(trick: str) -> None:
    data = TRICKS[trick]
    reasons: set[formats.RefusalReason] = set()
    for declared in ("vmdk", "raw", "qcow2", None):
        for cut in (1 << 20, 700):
            with pytest.raises(formats.FormatRefused) as refused:
                judged(data, declared, cut)
            reasons.add(refused.value.reason)
            assert "\x1b" not in str(refused.value)
    assert reasons <= {formats.RefusalReason.UNSAFE, formats.RefusalReason.UNREADABLE, formats.RefusalReason.TRUNCATED}


def test_tolerating_the_librarys_check_opens_nothing_of_ours() -> None:
    named = made.described(made.VMWARE, "monolithicSparse").replace(b"My disk", "Für mich".encode())
    with pytest.raises(formats.FormatRefused, match=r"vmdk\.descriptor"):
        judged(made.sparse(named), "vmdk")
    limits = formats.FormatLimits(tolerated=frozenset({"vmdk.descriptor", "vmdk.footer"}))
    tolerant = formats.FormatTap(limits)
    tolerant.feed(made.sparse(named))
    assert tolerant.finish("vmdk").virtual_size == made.CAPACITY * 512
    for trick, data in TRICKS.items():
        tap = formats.FormatTap(limits)
        tap.feed(data)
        with pytest.raises(formats.FormatRefused):
            tap.finish("vmdk")
            pytest.fail(trick)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200), st.integers(0, 600))
def test_bytes_strewn_into_a_descriptor_are_judged(strewn: bytes, at: int) -> None:
    good = made.described(made.VMWARE, "monolithicSparse")
    region = (good[:at] + strewn + good[at + len(strewn) :])[: 20 * 512].ljust(20 * 512, b"\0")
    try:
        found = Descriptor.parse(region)
    except formats.FormatRefused as refused:
        assert refused.reason is formats.RefusalReason.UNSAFE
    else:
        assert b"parentfilename" not in region.lower()
        assert found.kind in ("monolithicSparse", "streamOptimized")


def test_disks_and_texts_that_are_no_descriptors() -> None:
    for harmless in (b"", bytes(4096), b"#!/bin/sh\necho version=1\n", b"\xeb\x63\x90" + bytes(500), b"RW is a word\n"):
        assert not is_text_descriptor(harmless)
    assert not vmdk.other_kind(made.sparse())
