"""What is shown, with other people's text in it."""

from __future__ import annotations

import contextlib
import io
import sys
from typing import cast

import pytest
from rich.live import Live
from rich.progress import Progress
from rich.text import Text

from pipeline.base import terminal
from pipeline.base.terminal import SafeConsole, SafeTable

PAINT = "x\x1b[1A\x1b[2K\x9b1A\u202e\x07\r[bold green]verified[/]"
COMMANDS = "\x1b\x9b\u202e\x07\r"


def shown(*what: object, **options: object) -> str:
    stream = io.StringIO()
    SafeConsole(file=stream, width=200, **options).print(*what, soft_wrap=True)
    return stream.getvalue()


@pytest.mark.parametrize("made", [PAINT, Text(PAINT), Text.assemble("  ", (PAINT, "red"))])
def test_text_commands_nothing_and_is_no_markup(made: str | Text) -> None:
    said = shown(made)
    assert not set(said) & set(COMMANDS)
    assert "[bold green]verified[/]" in said


def test_our_own_colours_get_through() -> None:
    said = shown(Text("NOT verified", "bold red"), force_terminal=True, color_system="standard")
    assert said.startswith("\x1b[1;31mNOT verified")


@pytest.mark.parametrize("cell", ["a\nverified", Text("a\nverified", "red"), "a\u2028verified", "a\rverified"])
def test_a_cell_is_one_line(cell: str | Text) -> None:
    table = SafeTable(box=None, show_header=False)
    table.add_column()
    table.add_row(cell)
    assert shown(table).strip() == "a verified"


def test_print_is_guarded(monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    terminal.guard()
    terminal.guard()
    print(PAINT)
    print(PAINT, file=sys.stderr)
    sys.stdout.writelines([PAINT])
    assert not set(out.getvalue() + err.getvalue()) & set(COMMANDS)
    assert not sys.stdout.isatty()


def test_a_console_writes_below_the_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    out = io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    terminal.guard()
    SafeConsole(force_terminal=True, color_system="standard").print(Text("red", "red"))
    assert "\x1b[31mred" in out.getvalue()


@pytest.mark.parametrize("kind", ["live", "bars", "status"])
def test_so_is_print_while_something_moves(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    terminal.guard()
    before = sys.stdout, sys.stderr
    drawn = io.StringIO()
    console = SafeConsole(file=drawn, force_terminal=True, color_system="standard", width=200)
    kinds = {"live": Live("x", console=console), "bars": Progress(console=console), "status": console.status("x")}
    with cast(contextlib.AbstractContextManager[object], kinds[kind]):
        print("\x1b]8;;http://evil\x1b\\a link\x1b]8;;\x1b\\ \x1b[31mverified")
        print("\x1b[31mverified", file=sys.stderr)
    said = drawn.getvalue()
    assert said.count("�[31mverified") == 2 and "�]8;;http://evil�\\a link" in said
    assert "\x1b]8" not in said and "\x1b[31m" not in said
    assert (sys.stdout, sys.stderr) == before
