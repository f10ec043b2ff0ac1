"""Write the reference of all settings as Markdown, from the models; ``docs/image-service-settings.md`` is this text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from pipeline.base import atomic
from pipeline.imageservice.settings import Settings
from pipeline.imageservice.stores.file.options import Octal

FILE = "image-service-settings.md"

_HEAD = """# The image service's settings

One YAML file, `settings.yaml` in the service's folder (or the file given by `--settings`). Everything has a default;
without a file the service is embedded: SQLite, two folders for data, one token, made on first use. Every mistake is
named at start, all at once, with its line. A path that is not absolute lies in the service's folder.

```yaml
listen: 0.0.0.0:9292
database:
  url: postgresql://image:password@db.example.org/image
identity:
  kind: keystone
  options:
    auth_url: https://identity.example.org/v3
    auth_type: password
    username: glance
    project_name: service
    user_domain_name: Default
    project_domain_name: Default
  password_file: /etc/image-service/password
stores:
  - id: fast
    directories: [/srv/images]
```

This page is made by `./inv schema` from what the service checks; do not edit it.
"""


def reference() -> str:
    """Return the whole page."""
    parts = [_HEAD, _section("The file", Settings)]
    parts += [_section(model.__name__, model) for model in _models(Settings)]
    return "\n".join(parts)


def refresh(docs: Path) -> list[Path]:
    """Bring the page in the folder ``docs`` up to date; what was written."""
    page, text = docs / FILE, reference()
    if page.exists() and page.read_text() == text:
        return []
    atomic.write_text(page, text)
    return [page]


def _models(root: type[BaseModel]) -> list[type[BaseModel]]:
    """Every part of the settings, in the order of first use, depth first."""
    found: list[type[BaseModel]] = []

    def visit(model: type[BaseModel]) -> None:
        for field in model.model_fields.values():
            for inner in _inner(field.annotation):
                if inner not in found and inner is not root:
                    found.append(inner)
                    visit(inner)

    visit(root)
    return found


def _inner(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _inner(part)


def _section(title: str, model: type[BaseModel]) -> str:
    rows = [
        f"| `{field.alias or name}` | {_kind(field)} | {_default(field)} | {_text(field)} |"
        for name, field in model.model_fields.items()
    ]
    table = ["| option | value | default | meaning |", "|---|---|---|---|", *rows]
    says = str(model.__doc__).strip().partition("\n\n")[0].replace("\n    ", " ")
    return "\n".join([f"## {title}", "", says, "", *table, ""])


def _kind(field: FieldInfo) -> str:
    return _spelled(field.annotation).replace("|", "\\|")


def _spelled(annotation: Any) -> str:
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _spelled(parts[0])
    if origin is Literal:
        return " or ".join(f"`{part}`" for part in parts)
    if origin in (Union, UnionType):
        return " or ".join(dict.fromkeys(_spelled(part) for part in parts if part is not NoneType))
    if origin in (list, tuple):
        return f"list of {_spelled(parts[0])}"
    if origin is dict:
        return f"mapping of names to {_spelled(parts[1])}"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return f"[{annotation.__name__}](#{annotation.__name__.lower()})"
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return " or ".join(f"`{member.value}`" for member in annotation)
    names = {str: "text", SecretStr: "text", int: "number", float: "number", bool: "true or false", Path: "path"}
    return names.get(annotation, "any value")


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**needed**"
    if field.default_factory is not None or field.default is None:
        return ""
    value = field.default
    if isinstance(value, BaseModel):
        return ""
    if isinstance(value, Path | Enum):
        value = str(value.value if isinstance(value, Enum) else value)
    if any(isinstance(mark, Octal) for mark in field.metadata):
        return f"`0o{value:o}`"
    return f"`{json.dumps(value)}`".replace("|", "\\|")


def _text(field: FieldInfo) -> str:
    return (field.description or "").replace("|", "\\|").replace("\n", " ")
