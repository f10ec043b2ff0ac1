"""Parse a kickstart file into commands, packages and scripts, as far as an installation needs it.

Whether it is valid is pykickstart's to say (``lint``); this keeps what can be held against the media and the hardware.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_SCRIPTS = frozenset({"%pre", "%post", "%traceback", "%pre-install", "%onerror", "%addon", "%anaconda"})
_SECTIONS = _SCRIPTS | {"%packages"}
_NO_SECTIONS = frozenset({"%include", "%ksappend"})
_SHELLS = frozenset({"sh", "bash", "dash", "ksh", "zsh"})


@dataclass(frozen=True)
class Command:
    """A command and its words; ``line`` counts from 1."""

    name: str
    words: tuple[str, ...]
    line: int

    def option(self, name: str) -> str | None:
        """Return the value of ``--name=value`` or ``--name value``; the last one counts."""
        return _option(self.words, name)


@dataclass(frozen=True)
class Script:
    """A section that is run: ``%post`` and its like."""

    name: str
    words: tuple[str, ...]
    text: str
    line: int

    @property
    def interpreter(self) -> str:
        """What runs it: ``--interpreter``, or a shell."""
        return _option(self.words, "interpreter") or "/bin/sh"

    @property
    def is_shell(self) -> bool:
        """Whether a shell runs it."""
        return self.interpreter.rpartition("/")[2] in _SHELLS


@dataclass(frozen=True)
class Kickstart:
    """What a kickstart file says. ``packages`` and ``groups`` are those asked for, with their lines.

    ``ignores_missing``: the installer goes on without packages that nobody has.
    """

    commands: tuple[Command, ...]
    packages: tuple[tuple[str, int], ...]
    groups: tuple[tuple[str, int], ...]
    scripts: tuple[Script, ...]
    ignores_missing: bool = False

    def named(self, *names: str) -> Iterator[Command]:
        """Return the commands of these names."""
        return (command for command in self.commands if command.name in names)


def parse(text: str) -> Kickstart:
    """Read a kickstart file. What it does not understand it leaves out: pykickstart says what is wrong."""
    commands: list[Command] = []
    packages: list[tuple[str, int]] = []
    groups: list[tuple[str, int]] = []
    scripts: list[Script] = []
    ignores_missing = False
    section: tuple[str, tuple[str, ...], int] | None = None
    body: list[str] = []

    def close() -> None:
        if section is not None and section[0] in _SCRIPTS:
            scripts.append(Script(section[0], section[1], "\n".join(body), section[2]))

    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line)
        first = words[0] if words else ""
        if section is not None and first == "%end":
            close()
            section = None
        # Release 6 lets the next section end one that is open.
        elif first in _SECTIONS or (section is None and first.startswith("%") and first not in _NO_SECTIONS):
            close()
            section, body = (first, tuple(words[1:]), number), []
            ignores_missing = ignores_missing or (first == "%packages" and "--ignoremissing" in words)
        elif section is not None and section[0] == "%packages":
            _package(line, number, packages, groups)
        elif section is not None:
            body.append(line)
        elif first and first not in _NO_SECTIONS:
            commands.append(Command(first, tuple(words[1:]), number))
    close()
    return Kickstart(tuple(commands), tuple(packages), tuple(groups), tuple(scripts), ignores_missing)


def _option(words: Sequence[str], name: str) -> str | None:
    found = None
    for index, word in enumerate(words):
        if word.startswith(f"--{name}="):
            found = word.partition("=")[2]
        elif word == f"--{name}":
            following = words[index + 1 : index + 2]
            found = following[0] if following and not following[0].startswith("--") else ""
    return found


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line, comments=True)
    except ValueError:  # a quotation that is never closed
        return line.split()


def _package(line: str, number: int, packages: list[tuple[str, int]], groups: list[tuple[str, int]]) -> None:
    name = line.partition("#")[0].strip()
    if name.startswith("@"):
        # "@^name" is an environment; "@name --nodefaults" a group with less of it.
        groups.append((name.lstrip("@").lstrip("^").partition("--")[0].strip(), number))
    elif name and not name.startswith("-"):
        packages.append((name, number))
