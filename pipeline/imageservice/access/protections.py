"""Protect properties: which callers may create, read, update and delete which custom properties.

The operator's file is the reference's: an INI file whose sections are regular expressions over names, in order, each
with the four operations; the first section that matches decides, and a name that none matches is closed to everybody.
``@`` means everyone, ``!`` nobody.
"""

from __future__ import annotations

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from pipeline.base.errors import PipelineError
from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.access.policy import AccessPolicy
from pipeline.imageservice.errors import Forbidden

Operation = Literal["create", "read", "update", "delete"]
Value = TypeVar("Value")
_OPERATIONS: tuple[Operation, ...] = ("create", "read", "update", "delete")


@dataclass(frozen=True)
class _Section:
    expression: re.Pattern[str]
    allowed: Mapping[Operation, tuple[str, ...]]


class Protections:
    """The rules in force; without a file everything is open."""

    def __init__(self, policy: AccessPolicy, file: Path | None, kind: Literal["roles", "policies"]) -> None:
        self._policy = policy
        self._by_policy = kind == "policies"
        self._sections = None if file is None else self._read(file)

    def may(self, caller: Caller, operation: Operation, name: str) -> bool:
        """Return whether the caller may do this to properties of that name."""
        if self._sections is None:
            return True
        for section in self._sections:
            if section.expression.search(name):
                return any(self._admits(caller, word) for word in section.allowed[operation])
        return False

    def require(self, caller: Caller, operation: Operation, name: str) -> None:
        """Raise ``Forbidden`` unless ``may``."""
        if not self.may(caller, operation, name):
            raise Forbidden(f"Property '{name}' is protected")

    def readable(self, caller: Caller, properties: dict[str, Value]) -> dict[str, Value]:
        """Return the properties the caller may read."""
        if self._sections is None:
            return properties
        return {name: value for name, value in properties.items() if self.may(caller, "read", name)}

    def _admits(self, caller: Caller, word: str) -> bool:
        if word in "@!":
            return word == "@"
        if self._by_policy:
            return self._policy.evaluate(word, caller, {"project_id": caller.project})
        return word.lower() in caller.roles

    def _read(self, file: Path) -> list[_Section]:
        parser = configparser.RawConfigParser(strict=True)
        try:
            parser.read_string(file.read_text(), str(file))
        except OSError as error:
            raise PipelineError(f"policy.property_protections: {file} cannot be read: {error.strerror}") from None
        except (configparser.Error, UnicodeDecodeError) as error:
            raise PipelineError(f"policy.property_protections: {error}") from None
        mistakes: list[str] = []
        sections = [self._section(parser, name, mistakes) for name in parser.sections()]
        if mistakes:
            raise PipelineError(f"policy.property_protections: {file} has mistakes", details=mistakes)
        return [section for section in sections if section is not None]

    def _section(self, parser: configparser.RawConfigParser, name: str, mistakes: list[str]) -> _Section | None:
        try:
            expression = re.compile(name)
        except re.error as error:
            mistakes.append(f"[{name}] is not a regular expression: {error}")
            return None
        allowed: dict[Operation, tuple[str, ...]] = {}
        for operation in _OPERATIONS:
            words = tuple(word.strip() for word in parser.get(name, operation, fallback="").split(",") if word.strip())
            if {"@", "!"} <= set(words):
                mistakes.append(f"[{name}] {operation}: @ (everyone) and ! (nobody) exclude each other")
            if self._by_policy:
                unknown = [word for word in words if word not in "@!" and not self._policy.knows(word)]
                mistakes += [f"[{name}] {operation}: there is no policy {word!r}" for word in unknown]
                if len(words) > 1:
                    mistakes.append(f"[{name}] {operation}: name one policy, not {len(words)}")
            allowed[operation] = words
        extra = sorted(set(parser.options(name)) - set(_OPERATIONS))
        mistakes += [f"[{name}] {option}: there is no such operation" for option in extra]
        return _Section(expression, allowed)
