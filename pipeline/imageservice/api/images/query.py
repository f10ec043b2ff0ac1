"""Parse the query of ``GET /v2/images`` into what the catalog is asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, TypeVar

from pipeline.imageservice.access.caller import Caller
from pipeline.imageservice.api.options import ApiOptions
from pipeline.imageservice.api.parameters import Parameters, read_directions, read_integer, read_limit
from pipeline.imageservice.errors import Invalid
from pipeline.imageservice.model.images import ImageVisibility, MemberStatus
from pipeline.imageservice.model.queries import SORT_KEYS, Condition, Operator, Query, Sort
from pipeline.imageservice.schema import times

Choice = TypeVar("Choice", ImageVisibility, MemberStatus)
_SHARED = ("limit", "marker", "sort", "sort_key", "sort_dir")
_OPERATORS = ("eq", "neq", "in", "gt", "gte", "lt", "lte")  # of any filter; here a word of other kinds is no operator
_LISTABLE = ("name", "id", "status", "container_format", "disk_format")
_TIMES = ("created_at", "updated_at")
_INTEGERS = ("size", "virtual_size", "min_ram", "min_disk")
_TEXTS = {"checksum": "checksum", "os_hash_value": "hash_value", "os_hash_algo": "hash_algo"}
_LARGEST = 2**63 - 1
_ITEM = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|([^",]*))\s*(,|$)')


def read_query(parameters: Parameters, caller: Caller, options: ApiOptions) -> Query:
    """Return the list that is asked for; its marker is still to be found. Raises ``Invalid``."""
    builder = _QueryBuilder()
    for name, value in parameters.without(*_SHARED).pairs:
        builder.read(name, value)
    return Query(
        project=caller.project,
        is_admin=caller.is_admin,
        limit=read_limit(parameters, options),
        sort=_read_sort(parameters),
        visibility=builder.visibility,
        member_status=builder.member_status,
        hidden=builder.hidden,
        owner=builder.owner,
        conditions=tuple(builder.conditions.values()),
        properties=tuple(builder.properties.items()),
        tags=tuple(dict.fromkeys(builder.tags)),
        public_only=caller.read_only,
    )


class _QueryBuilder:
    """Takes the filters one by one. A filter given again replaces the one before; tags add up."""

    def __init__(self) -> None:
        self.visibility: ImageVisibility | Literal["all"] | None = None
        self.member_status: MemberStatus | None = MemberStatus.ACCEPTED
        self.hidden = False
        self.owner: str | None = None
        self.conditions: dict[str, Condition] = {}
        self.properties: dict[str, str] = {}
        self.tags: list[str] = []

    def read(self, name: str, value: str) -> None:
        """One filter."""
        if name == "changes-since":
            raise Invalid("changes-since is not supported: use updated_at=gte:…")
        if name == "visibility":
            self.visibility = "all" if value == "all" else _choice(ImageVisibility, name, value)
        elif name == "member_status":
            self.member_status = None if value == "all" else _choice(MemberStatus, name, value)
        elif name == "os_hidden":
            self.hidden = _boolean(name, value.lower())
        elif name == "owner":
            self.owner = value
        elif name == "tag":
            self.tags.append(value.strip())
        elif name == "protected":
            self._condition(name, Condition(name, "eq", _boolean(name, value)))
        elif name in _TIMES:
            self._condition(name, _time_condition(name, value))
        elif name in _LISTABLE:
            self._condition(name, _list_condition(name, value))
        elif name in _INTEGERS:
            self._condition(name, _number_condition(name, value))
        elif name in _TEXTS:
            self._condition(name, Condition(_TEXTS[name], "eq", value))
        elif not self._read_bound(name, value) and name != "deleted":
            self.properties[name] = value

    def _read_bound(self, name: str, value: str) -> bool:
        base, _, kind = name.rpartition("_")
        if kind not in ("min", "max"):
            return False
        operator: Operator = "gte" if kind == "min" else "lte"
        if base in _INTEGERS:
            number = max(-_LARGEST, min(read_integer(value, name), _LARGEST))
            self._condition(name, Condition(base, operator, number))
            return True
        if base in _LISTABLE or base in _TEXTS or base == "owner":
            self._condition(name, Condition(_TEXTS.get(base, base), operator, value))
            return True
        return False

    def _condition(self, name: str, condition: Condition) -> None:
        self.conditions[name] = condition


def _list_condition(name: str, value: str) -> Condition:
    operator, colon, rest = value.partition(":")
    if not colon or (name == "name" and operator not in _OPERATORS):
        return Condition(name, "eq", value)  # names may have colons; no id, status or format has one
    if operator == "eq":
        return Condition(name, "eq", rest)
    if operator == "in":
        return Condition(name, "in", tuple(dict.fromkeys(split_list(rest, name))))
    text = operator[:64]
    raise Invalid(f"{name}: unable to filter by the operator {text!r}; use eq: or in:, eq:{text}:… for that text")


def split_list(text: str, name: str) -> list[str]:
    """Return the items of ``a,"b,c","d\"e"``. Raises ``Invalid`` for unbalanced quotes."""
    items, position = [], 0
    while True:
        match = _ITEM.match(text, position)
        if match is None:
            raise Invalid(f'{name}: the list {text[:64]!r} has a quote (") without its partner')
        quoted, plain, separator = match.groups()
        items.append(re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain.strip())
        position = match.end()
        if not separator:
            return items


def _time_condition(name: str, value: str) -> Condition:
    operator, colon, rest = value.partition(":")
    if not colon or operator[:1].isdigit() or not operator:
        operator, rest = "eq", value
    start, end = times.read(rest, name)
    # What clients see has whole seconds, so a time is as long as its last unit.
    conditions = {
        "eq": Condition(name, "within", (start, end)),
        "neq": Condition(name, "outside", (start, end)),
        "gt": Condition(name, "gte", end),
        "gte": Condition(name, "gte", start),
        "lt": Condition(name, "lt", start),
        "lte": Condition(name, "lt", end),
    }
    if operator not in conditions:
        raise Invalid(f"{name}: unable to filter by the operator {operator[:64]!r}; use {', '.join(conditions)}")
    return conditions[operator]


def _number_condition(name: str, value: str) -> Condition:
    try:
        number = read_integer(value, name)
    except Invalid:
        return Condition("id", "eq", "")  # no number is equal to it: nothing matches
    return Condition(name, "eq", number)


def _read_sort(parameters: Parameters) -> tuple[Sort, ...]:
    keys, directions = parameters.all("sort_key"), read_directions(parameters.all("sort_dir"))
    text = parameters.one("sort")
    if text is not None:
        if keys or directions:
            raise Invalid("Old and new sorting syntax cannot be combined: use sort, or sort_key and sort_dir")
        pairs = [item.strip().partition(":") for item in text.split(",")]
        keys = [key.strip() for key, _, _ in pairs]
        directions = read_directions([direction.strip() or "desc" for _, _, direction in pairs])
    wrong = [key for key in keys if key not in SORT_KEYS]
    if wrong:
        raise Invalid(f"Invalid sort key: {wrong[0][:64]!r}. It must be one of the following: {', '.join(SORT_KEYS)}.")
    return _complete(keys or ["created_at"], directions)


def _complete(keys: Sequence[str], directions: Sequence[bool]) -> tuple[Sort, ...]:
    default = directions[0] if len(directions) == 1 else True
    if len(directions) <= 1:
        directions = [default] * len(keys)
    if len(directions) != len(keys):
        raise Invalid("Number of sort dirs does not match the number of sort keys")
    chosen: dict[str, bool] = {}
    for key, direction in zip(keys, directions, strict=True):
        chosen.setdefault(key, direction)
    for key in ("created_at", "id"):
        chosen.setdefault(key, default)
    return tuple(Sort(key, direction) for key, direction in chosen.items())


def _choice(kind: type[Choice], name: str, value: str) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise Invalid(f"Invalid {name} value: {value[:64]!r}; use {', '.join(kind)} or all") from None


def _boolean(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise Invalid(f"Invalid value {value[:64]!r} for {name}: use true or false")
    return value == "true"
