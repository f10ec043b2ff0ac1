"""Which file system of a guest is blamed when something could not be written."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import guest_space
from pipeline.host.guestfs.guest_space import FileSystemSpace

LISTING = b"4096 25600 10 6400 6000 /sysroot\n1024 65536 60000 0 0 /sysroot/boot\\040efi\n"
ROOT = FileSystemSpace("/", 25600 * 4096, 40960, 6400, 6000)
BOOT = FileSystemSpace("/boot efi", 64 << 20, 60000 << 10, 0, 0)


class Appliance:
    def debug(self, name: str, words: list[str]) -> str:
        return f"0 {len(LISTING)} 0\n\n{base64.b64encode(LISTING).decode()}"


def test_what_the_kernel_tells_is_read() -> None:
    assert guest_space.parsed(LISTING) == [ROOT, BOOT]
    assert ROOT.is_full and not BOOT.is_full
    assert FileSystemSpace("/", 1 << 30, 1 << 29, 100, 0).is_full


@given(st.binary(max_size=200))
def test_any_bytes_may_be_told(data: bytes) -> None:
    assert all(space.size >= 0 for space in guest_space.parsed(data))


def test_the_fullest_is_blamed_where_one_is_full_or_said_to_be() -> None:
    assert guest_space.blamed(["it failed"], [BOOT, ROOT]) == ROOT
    assert guest_space.blamed(["it failed"], [BOOT]) is None
    assert guest_space.blamed(["dpkg: No space left on device"], [BOOT]) == BOOT
    assert guest_space.blamed(["No space left on device"], []) is None


@pytest.mark.parametrize(
    "error",
    [RuntimeError("write: /x: No space left on device\nmore"), PipelineError("installing failed", details=["y"])],
)
def test_the_error_names_it(error: Exception) -> None:
    told = guest_space.explained(Appliance(), error)
    assert told is not None and "the guest's file system at / is full: 40 KiB of 100 MiB are free" in told.message
    assert "more" not in told.message and told.hint
    assert told.details == (("y",) if isinstance(error, PipelineError) else ())
