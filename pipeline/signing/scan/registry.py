"""Scan the Windows registry of an image: secrets that stand in it in the clear, and the programs it lists.

The hives are parsed in the appliance (libguestfs's ``hivex_*``), because they are as hostile as the rest of the image.
Which values give something away stands in ``registry.yaml``. What a hive's transaction log holds beyond the hive is not
seen here; the scan of the files' bytes reads it.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipeline.base import yaml_source
from pipeline.host.guestfs.hive import Hive
from pipeline.host.guestfs.hive import opened as opened_hive
from pipeline.host.guestfs.installed_packages import InstalledPackage
from pipeline.signing.scan.findings import ScanFinding, digest

_RULES = Path(__file__).with_suffix(".yaml")
_CONFIG = "/windows/system32/config"
_HIVES = ("software", "system", "security")
_UNINSTALL = (
    r"Microsoft\Windows\CurrentVersion\Uninstall",
    r"WOW6432Node\Microsoft\Windows\CurrentVersion\Uninstall",
)
_MAX_CHILDREN = 10_000
_MAX_TEXT = 4096


@dataclass(frozen=True)
class RegistryRule:
    """A value that should not be there. Without ``values`` the key itself should not."""

    rule: str
    hive: str
    key: str
    when: str
    what: str
    fix: str
    values: tuple[str, ...] = ()

    def is_broken_by(self, data: bytes) -> bool:
        """Return whether a value with these bytes gives something away."""
        return bool(data.strip(b"\0")) if self.when == "content" else _text(data) == self.when


@dataclass
class Registry:
    """What was found in the hives of one file system; ``programs`` are those that can be uninstalled."""

    findings: list[ScanFinding] = field(default_factory=list)
    programs: list[InstalledPackage] = field(default_factory=list)
    not_covered: list[str] = field(default_factory=list)


def read(handle: Any, prefix: str) -> Registry:
    """Read the registry of the Windows that is mounted, if one is. ``prefix`` goes before paths in findings."""
    found = Registry()
    for name, path in _hives(handle):
        try:
            with opened_hive(handle, path) as hive:
                for rule in rules():
                    if rule.hive == name:
                        found.findings += _check(hive, rule, f"{prefix}{path}")
                if name == "software":
                    found.programs += _programs(hive)
            if hive.odd:
                found.not_covered.append(f"{prefix}{path}: {hive.odd} names in this hive cannot be read")
        except RuntimeError as error:
            found.not_covered.append(f"{prefix}{path}: this hive cannot be read: {str(error).splitlines()[0]}")
    return found


@functools.cache
def rules() -> Sequence[RegistryRule]:
    """Return all rules, as they stand in the file."""
    entries = yaml_source.loads(_RULES.read_text(encoding="utf-8"), name=_RULES.name).data
    return [RegistryRule(**{**each, "values": tuple(each.get("values", ()))}) for each in entries]


def _hives(handle: Any) -> Iterator[tuple[str, str]]:
    """Yield the hives that are there: what they are called in rules, and their paths as they are spelled here."""
    for name in _HIVES:
        path = _spelled(handle, f"{_CONFIG}/{name}")
        if path:
            yield name, path
    users = _spelled(handle, "/users", handle.is_dir)
    for profile in _names(handle, users)[:_MAX_CHILDREN] if users else ():
        path = _spelled(handle, f"{users}/{profile}/ntuser.dat")
        if path:
            yield "user", path


def _names(handle: Any, folder: str) -> list[str]:
    """Return the names in a folder; one that is no valid Unicode is passed over, as libguestfs takes no such name."""
    with tempfile.NamedTemporaryFile() as file:
        handle.ls0(folder, file.name)
        names = Path(file.name).read_bytes().split(b"\0")
    return [text for name in names if (text := name.decode(errors="ignore")).encode() == name and text]


def _spelled(handle: Any, path: str, exists: Callable[[str], bool] | None = None) -> str | None:
    """Return the path in the case it has; ``None`` when there is no such file (or whatever ``exists`` asks for)."""
    with contextlib.suppress(RuntimeError):
        real = str(handle.case_sensitive_path(path))
        if (exists or handle.is_file)(real):
            return real
    return None


def _nodes(hive: Hive, key: str) -> Iterator[tuple[str, int]]:
    """Yield the keys that a path names, each with its own path; ``*`` stands for any one key."""
    found = [("", hive.root())]
    for part in key.split("\\"):
        found = [
            (f"{path}\\{name}".lstrip("\\"), node)
            for path, parent in found
            for name, node in (hive.children(parent) if part == "*" else _child(hive, parent, part))
        ]
    yield from found


def _child(hive: Hive, node: int, name: str) -> Iterator[tuple[str, int]]:
    child = hive.child(node, name)
    if child:
        yield name, child


def _value(hive: Hive, node: int, name: str) -> bytes | None:
    found = hive.value(node, name)
    return hive.data(found) if found else None


def _check(hive: Hive, rule: RegistryRule, file: str) -> Iterator[ScanFinding]:
    for key, node in _nodes(hive, rule.key):
        if not rule.values:
            yield ScanFinding(f"{file}!{key}", rule.rule, rule.what, rule.fix)
        for name, data in _matching(hive, rule, node):
            if rule.is_broken_by(data):
                yield ScanFinding(f"{file}!{key}\\{name}", rule.rule, rule.what, rule.fix, digest(data))


def _matching(hive: Hive, rule: RegistryRule, node: int) -> Iterator[tuple[str, bytes]]:
    if rule.values == ("*",):
        yield from ((name, hive.data(value)) for name, value in hive.values(node))
        return
    for name in rule.values:
        data = _value(hive, node, name)
        if data is not None:
            yield name, data


def _programs(hive: Hive) -> Iterator[InstalledPackage]:
    for location in _UNINSTALL:
        for _, uninstall in _nodes(hive, location):
            for name, node in hive.children(uninstall):
                values = {each: _text(_value(hive, node, each) or b"") for each in _VALUES}
                # Updates and parts of others have no name to show; Windows doesn't list them either.
                if values["DisplayName"]:
                    yield InstalledPackage(
                        "generic",
                        values["DisplayName"],
                        values["DisplayVersion"],
                        source=name,
                        vendor=values["Publisher"],
                    )


_VALUES = ("DisplayName", "DisplayVersion", "Publisher")


def _text(data: bytes) -> str:
    return data.decode("utf-16-le", errors="replace").partition("\0")[0].strip()[:_MAX_TEXT]
