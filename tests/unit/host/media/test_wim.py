from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.base.errors import PipelineError
from pipeline.host.media import wim

INDEX = """<WIM><IMAGE INDEX="1"><NAME>Windows Server 2022 SERVERSTANDARD</NAME><WINDOWS><ARCH>9</ARCH>
<LANGUAGES><LANGUAGE>en-US</LANGUAGE><LANGUAGE>de-DE</LANGUAGE><DEFAULT>de-DE</DEFAULT></LANGUAGES>
<VERSION><BUILD>20348</BUILD></VERSION></WINDOWS></IMAGE><IMAGE INDEX="2"><NAME>Data</NAME></IMAGE></WIM>"""


def made(index: str, *, size: int | None = None, flags: int = 0) -> io.BytesIO:
    data = index.encode("utf-16")
    header = b"MSWIM\0\0\0".ljust(72, b"\0") + struct.pack("<QQQ", flags << 56 | len(data), 208, size or len(data))
    return io.BytesIO(header.ljust(208, b"\0") + data)


def test_the_index_tells_names_languages_and_builds() -> None:
    first, second = wim.read(made(INDEX), "x.wim")
    assert first == wim.WimImage(1, "Windows Server 2022 SERVERSTANDARD", "x86_64", 20348, ("de-DE", "en-US"))
    assert second == wim.WimImage(2, "Data", "unknown", 0, ())


@pytest.mark.parametrize(
    ("file", "said"),
    [
        (io.BytesIO(b"PK"), "x.wim is no Windows image file"),
        (made(INDEX, size=10_000), "ends before its index"),
        (made(INDEX, size=1 << 40), "cannot be read"),
        (made(INDEX, flags=4), "cannot be read"),
        (made("<WIM>"), "cannot be read"),
        (made('<!DOCTYPE x [<!ENTITY a "b">]><WIM/>'), "it has a document type"),
    ],
)
def test_what_is_no_index_is_an_error(file: io.BytesIO, said: str) -> None:
    with pytest.raises(PipelineError, match=said):
        wim.read(file, "x.wim")


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=200))
def test_any_text_is_an_index_or_an_error(text: str) -> None:
    try:
        images = wim.read(made(text), "x.wim")
    except PipelineError:
        return
    assert isinstance(images, list)
