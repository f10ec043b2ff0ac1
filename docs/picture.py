"""Makes a picture of a terminal session: the output of a program, as it stood there in the end.

script -qec 'stty cols 110; ./inv nightly' session && .venv/bin/python docs/picture.py session docs/nightly.svg
"""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

WIDTH = 110
# A control sequence (ECMA-48), a carriage return, a line feed, or plain text.
_PIECES = re.compile(r"\x1b\[(?P<arguments>[?\d;]*)(?P<command>[A-Za-z])|(?P<control>[\r\n])|(?P<text>[^\x1b\r\n]+)")


def final_lines(session: str) -> list[str]:
    """Return the lines on the screen at the end. Programs that redraw (rich's live display) clear whole lines."""
    lines, row = [""], 0
    for piece in _PIECES.finditer(session):
        command, count = piece["command"], int(re.sub(r"\D", "", piece["arguments"] or "") or 1)
        if piece["text"] is not None:
            lines[row] += piece["text"]
        elif piece["control"] == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif command == "m":
            lines[row] += piece[0]
        elif command == "K":
            lines[row] = ""
        elif command == "A":
            row = max(0, row - count)
    return lines


def main(session: str, picture: str) -> None:
    """Read the session, leave out what script(1) adds, write the picture."""
    lines = final_lines(Path(session).read_bytes().decode())
    shown = [line for line in lines if not line.startswith(("Script started", "Script done"))]
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi("$ ./inv nightly\n" + "\n".join(shown).strip()), soft_wrap=True)
    # Without rich's web fonts: a picture loads nothing from elsewhere.
    format_ = re.sub(r"@font-face \{\{.*?\}\}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    console.save_svg(picture, title="Golden images", code_format=format_)


if __name__ == "__main__":
    main(*sys.argv[1:])
