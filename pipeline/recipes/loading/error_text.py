"""Turn what pydantic found into lines a person can act on: file, line, path, what is wrong and what is valid."""

from __future__ import annotations

import difflib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from pipeline.recipes.loading.inheritance import Path, RecipeProblem, YamlNode

_PLAIN = {
    "int_type": "this must be a whole number",
    "bool_type": "this must be true or false",
    "string_type": "this must be text",
    "dict_type": "this must be a mapping",
    "tuple_type": "this must be a list",
    "model_type": "this must be a mapping",
    "model_attributes_type": "this must be a mapping",
}


def problems_in(error: ValidationError, model: type[BaseModel], root: YamlNode) -> Iterator[RecipeProblem]:
    """Yield one problem for each error, at the location in ``root`` where it stands."""
    found = [(*_located(_without_key_mark(detail), model, root), detail) for detail in error.errors(include_url=False)]
    for path, owner, detail in found:
        # A list whose items are wrong counts them as missing, too.
        echoes = any(len(other) > len(path) and other[: len(path)] == path for other, _, _ in found)
        if not (detail["type"] == "too_short" and echoes):
            yield RecipeProblem(root.at(path).location, path, _message(detail, path, owner))


def _message(detail: ErrorDetails, path: Path, owner: type[BaseModel] | None) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "extra_forbidden":
        return f"there is no such key{_suggestion(str(path[-1]), _keys(owner))}"
    if kind == "missing":
        described = owner.model_fields[str(path[-1])].description if owner else None
        return f"this is missing{f' ({described.rstrip(chr(46))})' if described else ''}"
    if kind in ("enum", "literal_error"):
        valid = [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")]
        return f"{detail['input']!r} is not valid{_suggestion(str(detail['input']), valid)}"
    if kind == "union_tag_not_found":
        return f"this needs the key {context['discriminator']}"
    if kind == "union_tag_invalid":
        valid = [word.strip("'") for word in str(context["expected_tags"]).split(", ")]
        return f"{context['tag']!r} is not valid{_suggestion(str(context['tag']), valid)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "explained":
        return detail["msg"]
    if kind in ("too_short", "too_long"):
        bound, amount = ("least", "min_length") if kind == "too_short" else ("most", "max_length")
        return f"this needs at {bound} {context[amount]}"
    return _PLAIN.get(kind) or detail["msg"][:1].lower() + detail["msg"][1:]


def _suggestion(word: str, valid: Sequence[str]) -> str:
    if not valid:
        return ""
    close = difflib.get_close_matches(word, valid, 1)
    return f"; {f'did you mean {close[0]!r}? ' if close else ''}valid: {', '.join(valid)}"


def _keys(owner: type[BaseModel] | None) -> list[str]:
    return list(owner.model_fields) if owner else []


def _without_key_mark(detail: ErrorDetails) -> tuple[int | str, ...]:
    """``loc`` without the ``[key]`` that pydantic adds when a mapping's key itself is wrong."""
    loc = detail["loc"]
    marked = len(loc) > 1 and loc[-1] == "[key]" and detail["type"] not in ("extra_forbidden", "missing")
    return loc[:-1] if marked else loc


def _located(loc: tuple[int | str, ...], model: type[BaseModel], root: YamlNode) -> tuple[Path, type[BaseModel] | None]:
    """Return the path in the recipe that pydantic's ``loc`` means, and the model that the path's last key belongs to.

    Besides keys and indices, ``loc`` holds the tag of the chosen member of a union, which is no part of the path.
    """
    path: list[int | str] = []
    owner: type[BaseModel] | None = model
    here: Any = model
    for part in loc:
        members = _models(here)
        chosen = next((member for member in members if part in _methods(member)), None)
        if chosen is not None:
            here = owner = chosen
            continue
        path.append(part)
        if members and isinstance(part, str):
            owner = members[0]
        here = _below(members, here, part)
    return tuple(path), owner


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Return the models an annotation can stand for, itself or as a member of a union."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if typing.get_origin(annotation) is typing.Annotated:
        return _models(typing.get_args(annotation)[0])
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        return [model for member in typing.get_args(annotation) for model in _models(member)]
    return []


def _methods(model: type[BaseModel]) -> tuple[Any, ...]:
    """Return the tags of a member of a union that is told apart by ``method``."""
    field = model.model_fields.get("method")
    return typing.get_args(field.annotation) if field is not None else ()


def _below(members: list[type[BaseModel]], annotation: Any, part: int | str) -> Any:
    if members:
        field = members[0].model_fields.get(str(part))
        return field.annotation if field is not None else None
    arguments = [argument for argument in typing.get_args(annotation) if argument is not Ellipsis]
    return arguments[-1] if arguments else None
