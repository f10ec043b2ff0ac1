"""Every trick with a header is refused, whatever the image is said to be; what it is made from is taken."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.image import formats
from tests.unit.image import hostile, hostile_headers

pytestmark = pytest.mark.subprocess


def test_no_trick_with_a_header_is_taken(tmp_path: Path) -> None:
    harmless = hostile.make_harmless(tmp_path)
    for disk_format in ("qcow2", "vhd", "vhdx", "vdi"):
        assert formats.inspect(harmless[disk_format], disk_format).format == disk_format
    count = 0
    for trick, disk_format, data in hostile_headers.all_of_them(harmless):
        path = tmp_path / "image"
        path.write_bytes(data)
        for declared in (disk_format, "raw"):
            with pytest.raises(formats.FormatRefused):
                formats.inspect(path, declared)
                pytest.fail(f"{trick} as {declared} is taken")
        count += 1
    assert count > 60


def test_a_log_of_an_older_header_is_history(tmp_path: Path) -> None:
    """Writers leave the log's name in the header that they write anew next time; only the newer one counts."""
    vhdx = hostile.make_harmless(tmp_path)["vhdx"].read_bytes()
    newer = max((64 << 10, 128 << 10), key=lambda at: vhdx[at + 8 : at + 16][::-1])
    older = (192 << 10) - newer
    for at, taken in ((older, True), (newer, False)):
        path = tmp_path / "image"
        path.write_bytes(hostile_headers.with_vhdx_headers(vhdx, 48, b"\1" * 16, where=(at,)))
        if taken:
            assert formats.inspect(path, "vhdx").format == "vhdx"
            continue
        with pytest.raises(formats.FormatRefused, match="its log holds changes"):
            formats.inspect(path, "vhdx")
