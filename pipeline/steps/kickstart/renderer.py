"""Render one Jinja2 template: the program that ``template`` runs in a sandbox.

It reads a JSON object with ``text`` and ``variables`` from standard input and prints one with either ``text`` or
``error`` and ``line``. It imports nothing of ours: only Jinja2 is there where it runs.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import jinja2
from jinja2 import nodes, sandbox

MOST = 1 << 20  # bytes of output
NAME = "template"
# What a template may apply to a value: nothing that repeats, formats or reads.
FILTERS = (
    *(
        "capitalize",
        "count",
        "d",
        "default",
        "first",
        "indent",
        "int",
        "join",
        "last",
        "length",
        "list",
        "lower",
        "map",
    ),
    *(
        "reject",
        "rejectattr",
        "replace",
        "reverse",
        "select",
        "selectattr",
        "sort",
        "string",
        "title",
        "tojson",
        "trim",
    ),
    *("unique", "upper"),
)
# They make much out of little, and configuration needs none of them on anything but numbers.
_REPEATING = frozenset({"*", "**", "%"})


class Refused(jinja2.TemplateRuntimeError):
    """An operation that templates may not use."""


class Environment(sandbox.ImmutableSandboxedEnvironment):
    """Jinja2's sandbox, with less in it."""

    intercepted_binops = _REPEATING

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Compute with numbers; refuse to repeat or to format."""
        if not all(isinstance(each, int | float) for each in (left, right)):
            raise Refused(f"{operator} works on numbers only")
        return super().call_binop(context, operator, left, right)


def environment() -> Environment:
    """Return the environment of a template: strict, without comments, which would take ``${#a[@]}`` from shells."""
    made = Environment(
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
        finalize=_text,
        # No text has these: a template with a NUL is refused before it comes here.
        comment_start_string="\0#",
        comment_end_string="#\0",
    )
    made.filters = {name: made.filters[name] for name in FILTERS}
    made.globals = {name: made.globals[name] for name in ("range", "namespace")}
    return made


def _text(value: Any) -> Any:
    """``value`` if it can stand in a text: a list spelled out, or None, never is what was meant."""
    if isinstance(value, jinja2.Undefined):
        return str(value)  # raises, and says what is undefined
    if isinstance(value, tuple):
        for each in value:
            _text(each)
    if not isinstance(value, str | int | float):
        raise Refused(f"a {type(value).__name__} is no text")
    return value


def render(text: str, variables: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to one request; what is wrong with the template is a part of it, never an exception."""
    made = environment()
    try:
        tree = made.parse(text)
        for concat in tree.find_all(nodes.Concat):
            return {"error": "~ is not allowed; write one {{ }} after the other", "line": concat.lineno}
        template = made.from_string(tree)
        return {"text": "".join(_bounded(template.generate(variables)))}
    except jinja2.TemplateSyntaxError as error:
        return {"error": error.message, "line": error.lineno}
    except (jinja2.TemplateError, ArithmeticError, TypeError, ValueError, LookupError, AttributeError) as error:
        return {"error": str(error) or type(error).__name__, "line": _line(error)}
    except RecursionError:
        return {"error": "it calls itself without end", "line": None}


def _bounded(pieces: Iterator[str]) -> Iterator[str]:
    left = MOST
    for piece in pieces:
        left -= len(piece.encode())
        if left < 0:
            raise Refused(f"it makes more than {MOST >> 20} MiB of text")
        yield piece


def _line(error: BaseException) -> int | None:
    """Return the line of the template where ``error`` arose: Jinja2 puts it into the traceback."""
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == "<template>"]
    return lines[-1] if lines else None


def main() -> None:
    """Answer the one request on standard input."""
    asked = json.load(sys.stdin)
    json.dump(render(asked["text"], asked["variables"]), sys.stdout)


if __name__ == "__main__":
    main()
