"""Read what a finished guest holds and is set up to do: files, services, ports, users; without running any of it.

For comparing an image with the one before it. All of it comes from the image: it is data, and any of it may be absurd.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pipeline.base import json_text
from pipeline.base.errors import PipelineError
from pipeline.host.guestfs import manifest
from pipeline.host.guestfs.guest_files import GuestFiles
from pipeline.host.guestfs.guest_system import GuestSystem
from pipeline.host.guestfs.manifest import ManifestEntry

_UNITS = ("/etc/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system")
_MOST = 5000
_LONGEST = 300
# Services whose ports stand in their own settings: where, what tells of one, and the port when nothing does.
_LISTENERS: Mapping[str, tuple[tuple[str, ...], str, int]] = {
    "ssh": (("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf"), r"Port\s+(\d+)", 22),
    "sshd": (("/etc/ssh/sshd_config", "/etc/ssh/sshd_config.d/*.conf"), r"Port\s+(\d+)", 22),
    "dropbear": ((), "", 22),
    "nginx": (("/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*"), r"listen\s+(?:\S*:)?(\d+)\b", 80),
    "apache2": (("/etc/apache2/ports.conf",), r"Listen\s+(?:\S*:)?(\d+)\b", 80),
    "httpd": (("/etc/httpd/conf/httpd.conf", "/etc/httpd/conf.d/*.conf"), r"Listen\s+(?:\S*:)?(\d+)\b", 80),
}


def facts(system: GuestSystem) -> dict[str, Any]:
    """Return what is set up, as JSON data; nothing for systems other than Linux.

    ``services`` (name → enabled, masked), ``ports`` (``tcp 22`` → who listens), ``users`` (name → ids, shell, password,
    groups).
    """
    if system.identity.type != "linux":
        return {}
    services = _services(system)
    return {"services": services, "ports": _ports(system, services), "users": _users(system)}


def files(system: GuestSystem, scratch: Path) -> str | None:
    """Return every file of a Linux system and what identifies it, packed. Reads them all; ``scratch`` is the
    appliance's.

    ``None`` where that cannot be told, and for other systems.
    """
    if system.identity.type != "linux":
        return None
    try:
        nodes = manifest.nodes(system.handle, scratch, attributes=False)
    except (RuntimeError, PipelineError) as error:  # what cannot be read whole is no reason to throw the image away
        system.log.write(f"the files cannot be listed: {error}\n".encode())
        return None
    return pack({node.path: identity(node) for node in nodes if node.kind != "folder"})


def pack(files: Mapping[str, str]) -> str:
    """Return paths and what identifies each, in little text: a system has tens of thousands."""
    return base64.b85encode(
        zlib.compress(json.dumps(files, sort_keys=True, separators=(",", ":")).encode(), 9)
    ).decode()


def unpack(text: str) -> dict[str, str]:
    """Undo ``pack``."""
    found: dict[str, str] = json_text.loads(zlib.decompress(base64.b85decode(text)))
    return found


def identity(node: ManifestEntry) -> str:
    """Return short text that is another one when the content, mode or owner is."""
    return hashlib.sha256(repr((node.kind, node.mode, node.owner, node.group, node.content)).encode()).hexdigest()[:12]


def _services(system: GuestFiles) -> dict[str, str]:
    """Return what starts by itself: systemd's, OpenRC's and SysV's."""
    enabled = [
        *system.glob("/etc/systemd/system/*.wants/*"),
        *system.glob("/etc/systemd/system/*.requires/*"),
        *system.glob("/etc/runlevels/*/*"),
    ]
    found = {_service(PurePosixPath(path).name): "enabled" for path in enabled}
    scripts = [path for folder in ("init.d", "rc.d") for path in system.glob(f"/etc/{folder}/S[0-9][0-9]*")]
    scripts = [path for path in scripts if _is_executable(system, path)]
    for path in [*system.glob("/etc/rc[2345].d/S[0-9][0-9]*"), *scripts]:
        found[_service(PurePosixPath(path).name[3:])] = "enabled"
    for path in system.glob("/etc/systemd/system/*"):
        if system.tree().targets.get(system.tree().real(path) or "") == "/dev/null":
            found[_service(PurePosixPath(path).name)] = "masked"
    return _bounded(found)


def _is_executable(system: GuestFiles, path: str) -> bool:
    try:
        return bool(system.handle.statns(path)["st_mode"] & 0o111)
    except UnicodeEncodeError:  # no service manager of the field starts one of such a name
        return False


def _service(name: str) -> str:
    return name.removesuffix(".service").lstrip("-")


def _ports(system: GuestFiles, services: Mapping[str, str]) -> dict[str, str]:
    """Where what is enabled listens, as far as units and settings tell."""
    found: dict[str, str] = {}
    for name in (each for each, state in services.items() if state == "enabled"):
        if name.endswith(".socket"):
            found.update(dict.fromkeys(_socket_ports(_unit(system, name)), name))
        elif name in _LISTENERS:
            found.update({f"tcp {port}": name for port in _configured(system, *_LISTENERS[name])})
    return _bounded(found)


def _unit(system: GuestFiles, name: str) -> str:
    plain = re.sub(r"@[^.]*", "@", name)
    texts = (_read(system, f"{folder}/{plain}") for folder in _UNITS)
    return next((text for text in texts if text), "")


def _socket_ports(unit: str) -> Iterator[str]:
    """``ListenStream=`` and ``ListenDatagram=`` of a socket unit (systemd.socket(5)), without sockets in files."""
    for kind, value in re.findall(r"^Listen(Stream|Datagram)\s*=\s*(\S+)", unit, re.MULTILINE):
        port = value.rpartition(":")[2]
        if port.isdecimal():
            yield f"{'tcp' if kind == 'Stream' else 'udp'} {port[:5]}"


def _configured(system: GuestFiles, files: Iterable[str], pattern: str, usual: int) -> list[str]:
    texts = (_read(system, path) for name in files for path in (system.glob(name) if "*" in name else [name]))
    ports = [port[:5] for text in texts for port in re.findall(rf"^\s*{pattern}", text, re.MULTILINE | re.IGNORECASE)]
    return ports or [str(usual)]


def _users(system: GuestFiles) -> dict[str, str]:
    """Everybody who has an account, with what they may do; never a password's hash."""
    passwords = {name: fields[0] for name, fields in _table(system, "/etc/shadow", 2)}
    groups: dict[str, list[str]] = {}
    for name, fields in _table(system, "/etc/group", 4):
        for member in fields[2].split(","):
            groups.setdefault(member, []).append(name)
    found = {}
    for name, fields in _table(system, "/etc/passwd", 7):
        described = [f"{fields[1]}:{fields[2]}", fields[5] or "/bin/sh", _password(passwords.get(name, fields[0]))]
        if name in groups:
            described.append(f"in {' '.join(sorted(groups[name]))}")
        found[name] = ", ".join(described)
    return _bounded(found)


def _password(field: str) -> str:
    if not field:
        return "no password needed"
    return "no password" if field.startswith(("!", "*", "x")) else "a password"


def _table(system: GuestFiles, path: str, columns: int) -> Iterator[tuple[str, list[str]]]:
    """Yield the rows of a table such as passwd(5): the name, and the other fields."""
    for line in _read(system, path).splitlines():
        name, *fields = line.split(":")
        if name and len(fields) >= columns - 1:
            yield name, fields


def _read(system: GuestFiles, path: str) -> str:
    try:
        return system.read(path)
    except (RuntimeError, PipelineError):  # larger than any such file is, or a broken link
        return ""


def _bounded(found: Mapping[str, str]) -> dict[str, str]:
    return {_shown(name): _shown(value) for name, value in sorted(found.items())[:_MOST]}


def _shown(text: str) -> str:
    """Text for people and for reports, which are UTF-8, whatever bytes it was."""
    return text.encode(errors="surrogateescape").decode(errors="replace")[:_LONGEST]
