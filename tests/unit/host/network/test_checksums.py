from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.network import checksums

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    "line", [f"{A}  x.img", f"{A} *x.img", f"{A}  ./x.img", f"SHA256 (x.img) = {A}", f"{A.upper()} *x.img"]
)
def test_every_way_of_writing_a_line(line: str) -> None:
    text = f"# x.img: 123 bytes\n{B} *y.img\n{line}\r\n"
    assert checksums.find(text, "x.img", of="LIST") == ("sha256", A)


def test_the_strongest_is_taken() -> None:
    text = f"{A}  x.img\nSHA512 (x.img) = {'c' * 128}\n{'d' * 32}  x.img\n"
    assert checksums.find(text, "x.img", of="LIST") == ("sha512", "c" * 128)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"{A}  other.img\n", "LIST does not name x.img"),
        (f"{A}  x.img.gz\n", "LIST does not name x.img"),
        (f"{'a' * 32}  x.img\n", "no strong checksum"),
        (f"MD5 (x.img) = {'a' * 32}\n", "no strong checksum of x.img, only md5"),
        (f"{A}  x.img\n{B}  x.img\n", "2 different sha256 checksums"),
        (f"SHA512 (x.img) = {A}\n", "does not name"),
    ],
)
def test_what_a_list_cannot_prove(text: str, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        checksums.find(text, "x.img", of="LIST")


@pytest.mark.parametrize("text", [A, f"{A}\n", f"  {A.upper()}\r\n"])
def test_a_bare_digest_is_of_the_file_that_the_lists_name_says(text: str) -> None:
    assert checksums.find(text, "x.img", of="x.img.sha256") == ("sha256", A)
    with pytest.raises(PipelineError, match=r"SHA256SUMS is one digest without a name: it does not say .* of x\.img"):
        checksums.find(text, "x.img", of="SHA256SUMS")


def test_a_bare_weak_digest_proves_nothing() -> None:
    with pytest.raises(PipelineError, match=r"no strong checksum of x\.img, only weak"):
        checksums.find("a" * 32, "x.img", of="x.img.md5")


@given(st.text(max_size=400))
def test_any_text_is_a_list_without_the_file_or_an_error(text: str) -> None:
    with pytest.raises(PipelineError):
        checksums.find(text, "never-named.img", of="LIST")
