"""List the system packages this product needs (``requirements/system.txt``), and what of it is installed here."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.home import CHECKOUT
from pipeline.host.system import process

TABLE = CHECKOUT / "requirements" / "system.txt"
_SAME, _NONE = "=", "-"


@dataclass(frozen=True)
class RequiredPackage:
    """One row of the table, with the name each distribution gives it (``None``: not needed there)."""

    group: str
    debian: str
    ubuntu: str | None
    dnf: str | None
    why: str

    def name_for(self, distribution: str) -> str | None:
        """Return its name on ``debian``, ``ubuntu`` or ``dnf``."""
        return {"debian": self.debian, "ubuntu": self.ubuntu, "dnf": self.dnf}[distribution]


def table(text: str | None = None) -> list[RequiredPackage]:
    """Return every row. Raises ``PipelineError`` for one that has too few columns."""
    rows = []
    for number, line in enumerate((TABLE.read_text() if text is None else text).splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        columns = line.split(maxsplit=4)
        if len(columns) != 5:
            raise PipelineError(f"{TABLE.name}:{number}: five columns are needed: group, three names, a reason")
        group, debian, *others, why = columns
        ubuntu, dnf = ({_SAME: debian, _NONE: None}.get(name, name) for name in others)
        rows.append(RequiredPackage(group, debian, ubuntu, dnf, why))
    return rows


def distribution() -> str | None:
    """Return the column of the table that holds here: ``debian``, ``ubuntu``, ``dnf``; ``None`` on any other system."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return None
    names = {release["ID"], *release.get("ID_LIKE", "").split()}
    if "ubuntu" in names:
        return "ubuntu"
    if "debian" in names:
        return "debian"
    return "dnf" if names & {"fedora", "rhel", "centos"} else None


def missing(groups: Collection[str], column: str) -> list[RequiredPackage]:
    """Return the packages of ``groups`` that are not installed."""
    required = {name: row for row in table() if row.group in groups and (name := row.name_for(column))}
    installed = _installed_rpm(required) if column == "dnf" else _installed_deb(required)
    return [row for name, row in required.items() if name not in installed]


def install_command(names: Collection[str], column: str) -> str:
    """Return what a person types to install them."""
    tool = "dnf install" if column == "dnf" else "apt-get install --no-install-recommends"
    return f"sudo {tool} {' '.join(names)}"


def _installed_deb(names: Collection[str]) -> set[str]:
    listed = process.run(["dpkg-query", "-W", "-f=${db:Status-Status} ${Package}\n", *names], check=False).stdout
    return {name for status, _, name in (line.partition(" ") for line in listed.splitlines()) if status == "installed"}


def _installed_rpm(names: Collection[str]) -> set[str]:
    ask = [shutil.which("rpm") or "rpm", "-q", "--quiet", "--whatprovides"]
    return {name for name in names if process.run([*ask, name], check=False).status == 0}


def of_program(program: str) -> Path | None:
    """Return where an installed program is, also when it stands where only root looks."""
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/sbin:/usr/libexec")
    return Path(found) if found else None
