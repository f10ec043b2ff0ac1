from __future__ import annotations

from pathlib import Path

import pycdlib
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.image import formats, vhd
from tests.unit.image import hostile

pytestmark = pytest.mark.subprocess


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return hostile.make_harmless(tmp_path_factory.mktemp("harmless"))


@pytest.fixture(scope="module")
def harmful(tmp_path_factory: pytest.TempPathFactory, harmless: dict[str, Path]) -> dict[str, tuple[str, Path, str]]:
    return hostile.make_hostile(tmp_path_factory.mktemp("hostile"), harmless)


def judge(
    path: Path, declared: str | None, cut: int = 1 << 20, limits: formats.FormatLimits | None = None
) -> formats.FormatVerdict:
    tap = formats.FormatTap(limits)
    data = path.read_bytes()
    for start in range(0, len(data), cut):
        tap.feed(data[start : start + cut])
    return tap.finish(declared)


@pytest.mark.parametrize("name", ["qcow2", "vmdk", "vhd", "vhdx", "vdi"])
def test_each_format_is_recognised_with_its_size(harmless: dict[str, Path], name: str) -> None:
    path = harmless[name]
    verdict = judge(path, name)
    assert (verdict.format, verdict.virtual_size, verdict.size) == (name, 16 << 20, path.stat().st_size)
    assert formats.inspect(path, name) == verdict


def test_raw_and_partitioned_disks_are_raw(harmless: dict[str, Path]) -> None:
    assert judge(harmless["raw"], "raw").virtual_size == harmless["raw"].stat().st_size
    partitioned = judge(harmless["gpt"], "raw")
    assert (partitioned.format, partitioned.disk_format, partitioned.virtual_size) == ("gpt", "raw", 16 << 20)
    assert judge(harmless["gpt"], "gpt") == partitioned


def test_hostile_images_are_refused_for_the_right_reason(harmful: dict[str, tuple[str, Path, str]]) -> None:
    verdicts = {}
    for name, (declared, path, _) in harmful.items():
        with pytest.raises(formats.FormatRefused) as refused:
            judge(path, declared)
        with pytest.raises(formats.FormatRefused) as seeking:
            formats.inspect(path, declared)
        assert seeking.value.reason == refused.value.reason, name
        verdicts[name] = refused.value.reason.value
    assert verdicts == {name: reason for name, (_, _, reason) in harmful.items()}


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.data())
def test_the_verdict_does_not_depend_on_how_the_stream_is_cut(
    harmful: dict[str, tuple[str, Path, str]], data: st.DataObject
) -> None:
    small = {name: entry for name, entry in harmful.items() if entry[1].stat().st_size < 400_000}
    declared, path, reason = small[data.draw(st.sampled_from(sorted(small)))]
    content = path.read_bytes()
    cuts = sorted([*data.draw(st.lists(st.integers(1, max(1, len(content) - 1)), max_size=6)), 1, 4])
    tap = formats.FormatTap()
    for start, end in zip([0, *cuts], [*cuts, len(content)], strict=True):
        tap.feed(content[start:end])
    with pytest.raises(formats.FormatRefused) as refused:
        tap.finish(declared)
    assert refused.value.reason == reason


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([b"QFI\xfb\0\0\0\3", b"KDMV\1\0\0\0", b"vhdxfile", b"LUKS\xba\xbe\0\1", b"conectix", b""]),
    st.binary(max_size=3000),
    st.sampled_from(["raw", "qcow2", "vmdk", "vhd", "vhdx", "iso", "ami", None]),
)
def test_arbitrary_bytes_give_a_verdict_or_a_refusal(magic: bytes, rest: bytes, declared: str | None) -> None:
    tap = formats.FormatTap()
    tap.feed(magic + rest)
    try:
        verdict = tap.finish(declared)
    except formats.FormatRefused as refused:
        assert refused.message
    else:
        assert verdict.size == len(magic + rest)


def test_fixed_vhd_is_recognised_by_its_trailer(tmp_path: Path) -> None:
    path = tmp_path / "fixed.vhd"
    hostile.qemu_img("create", "-f", "vpc", "-o", "subformat=fixed,force_size=on", path, "4M")
    assert judge(path, "vhd", cut=700).virtual_size == 4 << 20
    assert formats.inspect(path, "vhd").format == "vhd"
    assert judge(path, "raw").virtual_size == path.stat().st_size
    tail = bytearray(path.read_bytes()[-512:])
    tail[100] ^= 1
    assert vhd.fixed_size(bytes(tail), path.stat().st_size) is None


def test_qcow2_that_ends_like_a_fixed_vhd_is_ambiguous(harmless: dict[str, Path], tmp_path: Path) -> None:
    fixed = tmp_path / "fixed.vhd"
    hostile.qemu_img("create", "-f", "vpc", "-o", "subformat=fixed,force_size=on", fixed, "64K")
    both = tmp_path / "both"
    both.write_bytes(harmless["qcow2"].read_bytes() + fixed.read_bytes()[-512:])
    with pytest.raises(formats.FormatRefused) as refused:
        judge(both, "qcow2")
    assert refused.value.reason is formats.RefusalReason.AMBIGUOUS


def test_iso_and_its_polyglot(tmp_path: Path, harmful: dict[str, tuple[str, Path, str]]) -> None:
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="T")
    iso.write(str(tmp_path / "ok.iso"))
    plain = (tmp_path / "ok.iso").read_bytes()
    assert judge(tmp_path / "ok.iso", "iso").format == "iso"
    poly = tmp_path / "poly.iso"
    poly.write_bytes(harmful["backing-abs"][1].read_bytes()[: 32 << 10].ljust(32 << 10, b"\0") + plain[32 << 10 :])
    for declared in ("iso", "qcow2", "raw", None):
        with pytest.raises(formats.FormatRefused) as refused:
            judge(poly, declared)
        assert refused.value.reason is formats.RefusalReason.AMBIGUOUS


def test_a_kernel_is_no_disk_with_bad_partitions(tmp_path: Path) -> None:
    # As x86 kernels begin: code, a boot sector's signature, the boot protocol's header.
    kernel = bytearray(b"\xff" * 0x1FE + b"\x55\xaa" + b"\xeb\x66HdrS" + b"\x0f\x02" + b"\0" * (2 << 20))
    path = tmp_path / "vmlinuz"
    path.write_bytes(kernel)
    assert judge(path, "aki").virtual_size is None
    assert judge(path, "aki", cut=100) == formats.inspect(path, "aki") == judge(path, "aki")
    for declared in ("raw", "ari", None):
        with pytest.raises(formats.FormatRefused, match=r"gpt\.mbr"):
            judge(path, declared)
    kernel[0x202:0x206] = bytes(4)
    path.write_bytes(kernel)
    with pytest.raises(formats.FormatRefused, match=r"gpt\.mbr"):
        judge(path, "aki")


def test_limits_are_settings(harmless: dict[str, Path], harmful: dict[str, tuple[str, Path, str]]) -> None:
    with pytest.raises(formats.FormatRefused) as refused:
        judge(harmless["qcow2"], "qcow2", limits=formats.FormatLimits(max_virtual_size=1 << 20))
    assert refused.value.reason is formats.RefusalReason.TOO_LARGE
    with pytest.raises(formats.FormatRefused) as refused:
        judge(harmless["qcow2"], "qcow2", limits=formats.FormatLimits(max_ratio=2, ratio_from=1 << 20))
    assert "more than 2 to 1" in str(refused.value)
    declared, path, _ = harmful["encrypted"]
    assert judge(path, declared, limits=formats.FormatLimits(allow_encrypted=True)).format == "qcow2"
    declared, path, _ = harmful["hybrid-mbr"]
    assert judge(path, declared, limits=formats.FormatLimits(tolerated=frozenset({"gpt.mbr"}))).format == "gpt"


def test_what_may_differ_from_the_declaration(harmless: dict[str, Path]) -> None:
    as_raw = judge(harmless["vdi"], "raw")
    assert (as_raw.format, as_raw.virtual_size) == ("vdi", harmless["vdi"].stat().st_size)
    assert judge(harmless["raw"], "ami").virtual_size is None
    tap = formats.FormatTap()
    tap.feed(harmless["vdi"].read_bytes())
    assert not tap.finish("qcow2", require_match=False).matches


def test_raw_is_really_raw_where_that_is_demanded(harmless: dict[str, Path], tmp_path: Path) -> None:
    strict = formats.FormatLimits(raw_must_be_raw=True)
    for name in ("qcow2", "vmdk", "vhd", "vhdx", "vdi"):
        with pytest.raises(formats.FormatRefused, match=f"declared raw, its content is {name}") as refused:
            judge(harmless[name], "raw", limits=strict)
        assert refused.value.reason is formats.RefusalReason.MISMATCH
    fixed = tmp_path / "fixed.vhd"
    hostile.qemu_img("create", "-f", "vpc", "-o", "subformat=fixed,force_size=on", fixed, "4M")
    with pytest.raises(formats.FormatRefused, match="its content is vhd"):
        judge(fixed, "raw", limits=strict)
    luks = tmp_path / "luks"
    luks.write_bytes((b"LUKS\xba\xbe\0\1" + b"aes".ljust(32, b"\0")).ljust(4096, b"\0") + bytes(1 << 20))
    plain = tmp_path / "plain.iso"
    iso = pycdlib.PyCdlib()
    iso.new(vol_ident="T")
    iso.write(str(plain))
    with pytest.raises(formats.FormatRefused, match="its content is iso"):
        judge(plain, "raw", limits=strict)
    hybrid = tmp_path / "hybrid.iso"
    sector = bytearray(512)
    sector[446:462] = bytes([0x80, 0, 2, 0, 0x17, 0, 0x20, 0, 0, 0, 0, 0, 100, 0, 0, 0])
    sector[510:] = b"\x55\xaa"
    hybrid.write_bytes(bytes(sector) + plain.read_bytes()[512:])
    for disk in (harmless["raw"], harmless["gpt"], luks, hybrid):
        assert judge(disk, "raw", limits=strict).is_raw


def test_a_resized_vhd_has_its_present_size(harmless: dict[str, Path], tmp_path: Path) -> None:
    resized = hostile.patched(harmless["vhd"], tmp_path / "resized.vhd", 40, (8 << 20).to_bytes(8))
    assert judge(resized, "vhd").virtual_size == 16 << 20


def test_memory_stays_small_and_the_file_is_not_read_whole(harmless: dict[str, Path], tmp_path: Path) -> None:
    big = tmp_path / "big.raw"
    big.touch()
    with big.open("r+b") as file:
        file.truncate(1 << 40)  # reading it whole would take minutes
    assert formats.inspect(big, "raw").virtual_size == 1 << 40
