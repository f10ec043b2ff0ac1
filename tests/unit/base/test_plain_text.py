"""Text from outside, made harmless."""

from __future__ import annotations

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from pipeline.base import plain_text

# Any text, with what terminals obey made likely; halves of surrogate pairs too.
HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Cs"]),
        st.sampled_from("\x1b\x9b\x07\x08\r\n\t\x7f\u202e\u2066\u061c"),
    )
)


@given(HOSTILE)
def test_one_line_is_one_line_and_commands_nothing(text: str) -> None:
    shown = plain_text.one_line(text)
    assert len(shown.splitlines()) <= 1
    assert not [each for each in shown if unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp")]
    assert not [each for each in shown if unicodedata.bidirectional(each) in ("LRE", "RLE", "LRO", "RLO", "PDF")]
    assert not [each for each in shown if unicodedata.bidirectional(each) in ("LRI", "RLI", "FSI", "PDI")]
    shown.encode()


@given(HOSTILE)
def test_lines_keep_breaks_and_tabs_only(text: str) -> None:
    shown = plain_text.lines(text)
    assert {each for each in shown if unicodedata.category(each) in ("Cc", "Zl", "Zp")} <= {"\n", "\t"}
    shown.encode()


@given(HOSTILE)
def test_cleaning_twice_changes_nothing_more(text: str) -> None:
    assert plain_text.one_line(plain_text.one_line(text)) == plain_text.one_line(text)
    assert plain_text.lines(plain_text.lines(text)) == plain_text.lines(text)


def test_nothing_is_invisible_but_what_joins_letters() -> None:
    for code in (0x180E, 0x200B, *range(0x2060, 0x2065), 0xFEFF, 0xE0041):
        assert (
            plain_text.one_line(f"a{chr(code)}b") == plain_text.lines(f"a{chr(code)}b") == "a\N{REPLACEMENT CHARACTER}b"
        )


def test_what_people_write_stays() -> None:
    text = "Grüße, 日本語, עברית, العربية, 👩‍💻 – “x” ‰"
    assert plain_text.one_line(text) == text


def test_everywhere_reaches_keys_and_lists() -> None:
    hostile = "a\x1b[2Jb\nc"
    clean = plain_text.one_line(hostile)
    assert plain_text.everywhere({hostile: [hostile, 1, None, (hostile,)]}) == {clean: [clean, 1, None, [clean]]}
