"""Make text from outside harmless to whoever shows it: terminals, mails, pages, logs.

Names of images, lines of guests, answers of clouds, and files that are being verified are other people's words. A
control character in them moves a terminal's cursor, paints over what we said, or turns the direction of writing; a line
break makes a second line that looks like one of ours.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
# C0 but for tab and line feed, DEL, C1 (whose 8-bit forms terminals obey as well), and halves of surrogate pairs: what
# undecodable bytes became.
_CONTROL = r"\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff"
# Marks, embeddings, overrides and isolates of direction (Unicode UAX #9), separators of lines and paragraphs, and the
# deprecated format characters next to them; what has no width and joins no letters, by which two names look alike;
# tags, which hide text in text.
_FORMAT = "\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e007f"
_HARMFUL = re.compile(f"[{_CONTROL}{_FORMAT}]")
_BREAKS = re.compile(r"[\r\n\t\v\f\x85\u2028\u2029]")


def one_line(text: str) -> str:
    """Return ``text`` as one line of the same length: breaks and tabs are blanks, other control characters U+FFFD."""
    return _HARMFUL.sub(REPLACEMENT, _BREAKS.sub(" ", text))


def lines(text: str) -> str:
    """Return ``text`` with line feeds (also for carriage returns) and tabs, but no other control character."""
    return _HARMFUL.sub(REPLACEMENT, text.replace("\r\n", "\n").replace("\r", "\n"))


def everywhere(data: Any) -> Any:
    """Return plain data (mappings, lists, scalars) with ``one_line`` applied to every text in it, keys too."""
    if isinstance(data, str):
        return one_line(data)
    if isinstance(data, Mapping):
        return {everywhere(key): everywhere(value) for key, value in data.items()}
    if isinstance(data, list | tuple):
        return [everywhere(each) for each in data]
    return data
