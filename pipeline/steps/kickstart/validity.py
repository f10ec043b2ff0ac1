"""Tell what a release's own installer would say of a kickstart: what it refuses, and what it only warns of."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import ModuleType

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.host.install.install_tree import TreeInfo
from pipeline.host.system.sandbox import SandboxLimits
from pipeline.steps.kickstart import isolated
from pipeline.steps.kickstart.syntax import Command, Kickstart

_BOUNDS = SandboxLimits(memory=512 << 20, seconds=20)
_LABELS = ("msdos", "gpt")  # what x86 can boot from


@dataclass(frozen=True)
class Verdict:
    """What the installer would say. It refuses ``errors``; after ``warnings`` it goes on."""

    errors: Sequence[str]
    warnings: Sequence[str]


def release_name(info: TreeInfo) -> str:
    """Return what pykickstart calls the release of these media: ``RHEL7`` for all of its rebuilds, ``F33``."""
    major = info.version.partition(".")[0]
    return f"F{major}" if info.family.startswith("Fedora") else f"RHEL{major}"


def judge(text: str, kickstart: Kickstart, info: TreeInfo) -> Verdict:
    """Ask pykickstart, the installer's own parser, with the classes that the installer puts in place of its own.

    Raises ``PipelineError`` when it does not come to an end.
    """
    release = release_name(info)
    finished = isolated.run(
        _module("validator"), (_module("pykickstart"),), {"text": text, "release": release}, _BOUNDS
    )
    try:
        reply = json_text.loads(finished.stdout)
    except ValueError:
        last = (finished.stderr.strip().splitlines() or [f"status {finished.status}"])[-1]
        raise PipelineError(f"pykickstart did not come to an end with the kickstart: {last}") from None
    refused = [*(_message(*each) for each in reply["errors"]), *_further(kickstart, release)]
    return Verdict(
        [f"not valid for {release}: {each}" for each in refused],
        list(dict.fromkeys(_message(*each) for each in reply["warnings"])),
    )


def _module(name: str) -> ModuleType:
    """Return a module by its place only: it is imported where it runs, not here."""
    full = f"{__package__}.{name}" if name == "validator" else name
    spec = importlib.util.find_spec(full)
    if spec is None or spec.origin is None:
        raise PipelineError(f"the Python package {name} is missing", hint="run ./inv once more: it installs it")
    made = ModuleType(full)
    made.__file__ = spec.origin
    return made


def _message(line: int | None, words: str) -> str:
    plain = " ".join(words.split())
    return plain if line is None or f"line {line}" in plain else f"line {line}: {plain}"


def _further(kickstart: Kickstart, release: str) -> Iterator[str]:
    """Yield what the installer refuses beyond pykickstart: ``parse`` in kickstart.py of anaconda, rhel7-branch."""
    if release == "RHEL6":
        return
    for command in kickstart.commands:
        why = _refusal(command)
        if why is not None:
            yield f"line {command.line}: {why}"


def _refusal(command: Command) -> str | None:
    if command.name == "upgrade":
        return "the upgrade command is no longer supported"
    if command.name == "clearpart":
        label = command.option("disklabel")
        return (
            f"clearpart --disklabel={label} is none of {', '.join(_LABELS)}" if label and label not in _LABELS else None
        )
    if command.name == "bootloader":
        if command.option("location") == "partition":
            return "GRUB2 does not support installation to a partition"
        if command.option("iscrypted") is not None and not (command.option("password") or "").startswith(
            "grub.pbkdf2."
        ):
            return "a GRUB2 encrypted password must be in grub.pbkdf2 format"
    return None
