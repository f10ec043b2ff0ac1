"""Parse a kickstart file into commands, packages and scripts, as far as an installation needs it.

Whether it is valid is pykickstart's to say (``lint``); this keeps what can be held against the media and the hardware.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

_SCRIPTS = frozenset({"%pre", "%post", "%traceback", "%pre-install", "%onerror", "%addon", "%anaconda"})


@dataclass(frozen=True)
class Command:
    """A command and its words; ``line`` counts from 1."""

    name: str
    words: tuple[str, ...]
    line: int

    def option(self, name: str) -> str | None:
        """Return the value of ``--name=value`` or ``--name value``; the last one counts."""
        found = None
        for index, word in enumerate(self.words):
            if word.startswith(f"--{name}="):
                found = word.partition("=")[2]
            elif word == f"--{name}":
                following = self.words[index + 1 : index + 2]
                found = following[0] if following and not following[0].startswith("--") else ""
        return found


@dataclass(frozen=True)
class Script:
    """A section that is run: ``%post`` and its like."""

    name: str
    words: tuple[str, ...]
    text: str
    line: int


@dataclass(frozen=True)
class Kickstart:
    """What a kickstart file says. ``packages`` and ``groups`` are those asked for, with their lines."""

    commands: tuple[Command, ...]
    packages: tuple[tuple[str, int], ...]
    groups: tuple[tuple[str, int], ...]
    scripts: tuple[Script, ...]

    def named(self, *names: str) -> Iterator[Command]:
        """Return the commands of these names."""
        return (command for command in self.commands if command.name in names)


def parse(text: str) -> Kickstart:
    """Read a kickstart file. What it does not understand it leaves out: pykickstart says what is wrong."""
    commands: list[Command] = []
    packages: list[tuple[str, int]] = []
    groups: list[tuple[str, int]] = []
    scripts: list[Script] = []
    section: tuple[str, tuple[str, ...], int] | None = None
    body: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        words = _words(line)
        first = words[0] if words else ""
        if section is not None and first == "%end":
            name, options, begun = section
            if name in _SCRIPTS:
                scripts.append(Script(name, options, "\n".join(body), begun))
            section = None
        elif section is not None and section[0] == "%packages":
            _package(line, number, packages, groups)
        elif section is not None:
            body.append(line)
        elif first.startswith("%"):
            section, body = (first, tuple(words[1:]), number), []
        elif first:
            commands.append(Command(first, tuple(words[1:]), number))
    return Kickstart(tuple(commands), tuple(packages), tuple(groups), tuple(scripts))


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
