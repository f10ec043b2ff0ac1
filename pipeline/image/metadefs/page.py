"""Write the table of all properties that images are known to have as Markdown; ``docs/metadefs.md`` carries it between
two marks.
"""

from __future__ import annotations

from pipeline.base.errors import PipelineError
from pipeline.image import vocabulary
from pipeline.image.metadefs import catalogue
from pipeline.image.vocabulary import PropertyDefinition, PropertyKind

BEGIN = "<!-- properties: made by ./inv schema, do not edit below -->"
END = "<!-- end of properties -->"
_HEAD = "| property | values | meaning |\n|---|---|---|\n"
_KINDS = {PropertyKind.CPUS: "processors, as `0-3,6`", PropertyKind.UUID: "UUID", PropertyKind.WORD: "one word"}


def refreshed(page: str) -> str:
    """Return ``page`` with its table brought up to date. Raises ``PipelineError`` when the marks are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise PipelineError(f"docs/metadefs.md lacks the line {BEGIN if not begin else END}")
    return f"{before}{BEGIN}\n\n{_tables()}\n{END}{after}"


def _tables() -> str:
    """One table a namespace with properties of images; a property that several have stands in the first."""
    parts, listed = [], set()
    for document in catalogue.described():
        prefix = next(
            (one.get("prefix", "") for one in document["resource_type_associations"] if one["name"] == catalogue.IMAGE),
            None,
        )
        if prefix is None:
            continue
        contents = [document.get("properties", {}), *(one["properties"] for one in document.get("objects", ()))]
        names = [prefix + name for part in contents for name in part if prefix + name not in listed]
        listed.update(names)
        entries = [(name, entry) for name in names if (entry := vocabulary.find(name))]
        if entries:
            rows = "\n".join(_row(name, entry) for name, entry in entries)
            parts.append(f"### {document['namespace']}\n\n{document['description']}\n\n{_HEAD}{rows}\n")
    return "\n".join(parts)


def _row(name: str, entry: PropertyDefinition) -> str:
    return f"| `{name}` | {_values(entry)} | {_cell(entry.what)} |"


def _values(entry: PropertyDefinition) -> str:
    if entry.values:
        return ", ".join(f"`{_cell(value)}`" for value in entry.values)
    if entry.kind is PropertyKind.FORM:
        return ", ".join(f"`{form}`" for form in entry.forms)
    if entry.kind is PropertyKind.BOOLEAN:
        return "`yes`, `no`, `true`, `false`"
    low = f" from {entry.minimum}" if entry.minimum is not None else ""
    high = f" to {entry.maximum}" if entry.maximum is not None else ""
    return f"{_KINDS.get(entry.kind, entry.kind)}{low}{high}"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;") if "`" not in text else text
