"""Spell out words behind a task's name: ``./inv plan tiny`` for ``./inv plan --recipes tiny``.

invoke takes words for arguments without a default only. Here a task's positional arguments may also have one, and a
list takes every word up to the next option. Options have no short forms, but for the one that everybody's fingers know.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from invoke.parser.argument import Argument
from invoke.tasks import Task

from pipeline.cli import task

_SHORT = {"-f": "--follow"}  # as tail(1) and journalctl(1) have it; invoke's own -f is of no use behind a task


def spelled_out(argv: Sequence[str]) -> list[str]:
    """Return ``argv`` with each such word behind the option that it stands for."""
    made = {name: each for _, name, each in task.chapters()}
    if len(argv) > 2 and argv[1] in made and "--help" in argv[2:]:
        # invoke would take it for the argument that the task waits for.
        return [argv[0], "--help", argv[1]]
    result = list(argv[:1])
    arguments: list[Argument] = []
    waiting: list[Argument] = []
    takes_next = False
    for word in argv[1:]:
        if takes_next:
            takes_next = False
        elif word.startswith("-"):
            word = _long(word, arguments)
            takes_next = _takes_next(word, arguments)
            waiting = [each for each in waiting if word.partition("=")[0] != _flag(each)]
        elif waiting:
            if not _is_native(waiting[0]):
                result.append(_flag(waiting[0]))
            if waiting[0].kind is not list:
                waiting.pop(0)
        elif word in made:
            arguments = _arguments(made[word])
            waiting = [each for each in arguments if each.positional]
        result.append(word)
    return result


def _arguments(made: Task[Any]) -> list[Argument]:
    # invoke takes the help texts out as it goes; it will want them once more.
    texts = dict(made.help)
    found = made.get_arguments()
    made.help = texts
    return found


def _flag(argument: Argument) -> str:
    # As invoke does: `import_` is a word of Python's, the option is `--import`.
    return f"--{str(argument.name).strip('_').replace('_', '-')}"


def _long(word: str, arguments: Sequence[Argument]) -> str:
    long = _SHORT.get(word)
    return long if long is not None and any(_flag(each) == long for each in arguments) else word


def _is_native(argument: Argument) -> bool:
    return argument.default is None and argument.kind is not list


def _takes_next(word: str, arguments: Sequence[Argument]) -> bool:
    """Whether the word behind an option is the option's value."""
    return "=" not in word and any(_flag(each) == word and each.takes_value for each in arguments)
