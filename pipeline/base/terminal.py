"""Write to a terminal without letting outside text command it.

Everything that is shown goes through ``SafeConsole`` and ``SafeTable``, or through ``print`` on the streams that
``guard`` puts in the place of the process's own. Text is text: rich's markup is off, a cell of a table is one line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

import rich.console
import rich.table
from rich.file_proxy import FileProxy
from rich.segment import Segment
from rich.text import Text

from pipeline.base import plain_text


class SafeConsole(rich.console.Console):
    """A console without markup, with one line for each text, and no control characters but its own."""

    def __init__(self, **options: Any) -> None:
        """Take rich's ``options``."""
        if options.get("file") is None:
            stream = sys.stderr if options.pop("stderr", False) else sys.stdout
            # Our own colours must get through; what is in the text is replaced in ``render``.
            options["file"] = unguarded(stream)
        super().__init__(**{"markup": False, "emoji": False, "highlight": False, **options})

    def print(self, *objects: Any, **options: Any) -> None:
        """Print ``objects``, each text among them in one line; see rich's ``Console.print``."""
        super().print(*(_one_line(each) for each in objects), **options)

    def render(
        self, renderable: rich.console.RenderableType, options: rich.console.ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Replace control characters in text; see rich's ``Console.render``."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(plain_text.lines(segment.text), segment.style)

    def push_render_hook(self, hook: rich.console.RenderHook) -> None:
        """Begin to draw what moves; see rich's ``Console.push_render_hook``.

        Beforehand rich puts streams of its own in the place of the process's, which obey colours and links in what is
        printed meanwhile. It takes them away by itself.
        """
        super().push_render_hook(hook)
        if isinstance(sys.stdout, FileProxy) or isinstance(sys.stderr, FileProxy):
            guard()


class SafeTable(rich.table.Table):
    """A table whose cells are text, one line each."""

    def add_row(self, *cells: rich.console.RenderableType | None, **options: Any) -> None:
        """Add a row; see rich's ``Table.add_row``."""
        super().add_row(*(_one_line(cell) for cell in cells), **options)


def _one_line(shown: Any) -> Any:
    """Return a text with its styles as one line; anything else as it is."""
    if isinstance(shown, str):
        return Text(plain_text.one_line(shown))
    if isinstance(shown, Text):
        clean = shown.copy()
        clean.plain = plain_text.one_line(shown.plain)
        clean.spans = shown.spans
        return clean
    return shown


class Guarded:
    """A text stream that replaces control characters in what is written to it, and is ``raw`` in all else."""

    def __init__(self, raw: TextIO) -> None:
        self.raw = raw

    def write(self, text: str) -> int:
        """Write ``text``; return how many characters were asked for."""
        self.raw.write(plain_text.lines(text))
        return len(text)

    def writelines(self, texts: Iterable[str]) -> None:
        """Write each of ``texts``."""
        for text in texts:
            self.write(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def unguarded(stream: TextIO) -> TextIO:
    """Return the stream below ``stream``, for who writes control characters on purpose and cleans all else."""
    return stream.raw if isinstance(stream, Guarded) else stream


def guard() -> None:
    """Put guarded streams in the place of this process's standard output and standard error."""
    if not isinstance(sys.stdout, Guarded):
        sys.stdout = Guarded(sys.stdout)
    if not isinstance(sys.stderr, Guarded):
        sys.stderr = Guarded(sys.stderr)
