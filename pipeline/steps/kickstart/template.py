"""Render a recipe's template where it can do no harm.

A template is code of whoever wrote the recipe. It runs in a process of its own that has no environment, no network, no
file but the interpreter and Jinja2, two seconds and 256 MiB; what comes back is text.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Any

import jinja2
import markupsafe

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.host.system import process, sandbox
from pipeline.steps.kickstart import isolated, renderer

LONGEST = 1 << 20  # bytes of a template
_BOUNDS = sandbox.SandboxLimits(memory=256 << 20, seconds=2)
# What editors write before the text; of UTF-32 first, whose mark begins as that of UTF-16 does.
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def render(name: str, data: bytes, variables: Mapping[str, Any]) -> str:
    """Return the text that the template ``data`` makes of ``variables`` (plain values, as JSON knows them).

    ``name`` is what messages call it. Raises ``PipelineError`` with the line that is wrong, and when the template asks
    for more than it may have.
    """
    text = _text(name, data)
    finished = isolated.run(renderer, (jinja2, markupsafe), {"text": text, "variables": dict(variables)}, _BOUNDS)
    try:
        answer = json_text.loads(finished.stdout)
    except ValueError:
        raise _stopped(name, finished) from None
    if "text" not in answer:
        raise _wrong(name, text, answer["error"], answer["line"], variables)
    return str(answer["text"])


def _text(name: str, data: bytes) -> str:
    if len(data) > LONGEST:
        raise PipelineError(f"{name} is larger than {LONGEST >> 20} MiB: that is no template")
    try:
        text = data.decode(next((each for mark, each in _MARKS.items() if data.startswith(mark)), "utf-8"))
    except UnicodeDecodeError:
        raise PipelineError(f"{name} is not UTF-8 text") from None
    if "\0" in text:
        raise PipelineError(f"{name}:{text[: text.index(chr(0))].count(chr(10)) + 1}: a NUL is no text")
    return text


def _wrong(name: str, text: str, error: str, line: int | None, variables: Mapping[str, Any]) -> PipelineError:
    location = name if line is None else f"{name}:{line}"
    lines = text.splitlines()
    wrong = lines[line - 1] if line is not None and line <= len(lines) else ""
    hints = [f"a kickstart knows: {', '.join(sorted(variables))}"] if "is undefined" in error else []
    if re.search(r"\{\{|\{%|\}\}|%\}", wrong):
        hints.append("braces that are meant for the shell stand between {% raw %} and {% endraw %}")
    return PipelineError(
        f"{location}: {error}", hint="; ".join(hints) or None, details=[wrong.strip()] if wrong else []
    )


def _stopped(name: str, finished: process.Finished) -> PipelineError:
    """Return what to say of a renderer that ended without an answer."""
    reason = (finished.stderr.strip().splitlines() or [f"status {finished.status}"])[-1]
    if finished.status in (137, 152, -9, -24):  # SIGKILL and SIGXCPU, as bubblewrap and we ourselves see them
        reason = f"it takes more than {_BOUNDS.seconds} s of processor time"
    elif "MemoryError" in finished.stderr:
        reason = f"it takes more than {_BOUNDS.memory >> 20} MiB of memory"
    return PipelineError(f"{name} cannot be rendered: {reason}")
