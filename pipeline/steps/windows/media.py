"""Write the medium that carries answers, drivers and packages of an installation, and find those files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.base.progress import Progress, nothing
from pipeline.host.media import iso
from pipeline.host.network import download
from pipeline.recipes.model.source_file import SourceFile
from pipeline.recipes.model.windows import Companion, WindowsInstall
from pipeline.steps.windows import plan
from pipeline.steps.windows.lint import driver_folder
from pipeline.steps.windows.unattend import BOOT_DRIVERS

ANSWERS = "autounattend.xml"
# Windows shows labels of 16 characters at the most (Joliet).
_LABEL = "BUILD-ANSWERS"


def identities(companions: Sequence[Companion], home: Home) -> list[str]:
    """Return their digests. Raises ``PipelineError`` with all that nobody has put there and that cannot be fetched."""
    lacking = [each for each in companions if not each.sha256 and not _place(each, home).is_file()]
    if lacking:
        raise _missing(lacking, home)
    return [each.sha256 or SourceFile(each.name, _place(each, home)).sha256 for each in companions]


def companion_file(companion: Companion, home: Home, *, progress: Progress = nothing, offline: bool = False) -> Path:
    """Return the file itself, fetched if it has to be. Raises ``PipelineError``."""
    file = _place(companion, home)
    if file.is_file():
        if companion.sha256 and SourceFile(companion.name, file).sha256 != companion.sha256:
            raise PipelineError(f"{file} is not the {companion.name} that the recipe names: its sha256 is another")
        return file
    if not (companion.urls and companion.sha256):
        raise _missing([companion], home)
    progress.say(f"fetching {companion.name}")
    pin = download.Pin(companion.sha256)
    return download.fetch(companion.urls, pin, home.cache / "downloads", progress=progress, offline=offline)


def write(target: Path, install: WindowsInstall, answers: bytes, drivers: Path, cloudbase: Path, folder: Path) -> None:
    """Write the medium. Windows Setup finds the answers at its root, whatever its letter."""
    files: dict[str, bytes | Path] = {ANSWERS: answers, **plan.files(install)}
    with iso.opened(drivers) as medium:
        for driver in (*BOOT_DRIVERS, *plan.LATER_DRIVERS):
            for path, name in _files(medium, driver_folder(driver, install)):
                files[f"drivers/{driver}/{name}"] = medium.read(path) or b""
        agent = folder / plan.AGENT
        medium.extract(medium.find(f"guest-agent/{plan.AGENT}") or "", agent)
    files[f"{plan.FOLDER}/packages/{plan.AGENT}"] = agent
    files[f"{plan.FOLDER}/packages/{plan.CLOUDBASE}"] = cloudbase
    iso.write(target, _LABEL, files)
    # It holds the password of the build's administrator.
    target.chmod(0o600)


def _files(medium: iso.Medium, folder: str) -> Iterator[tuple[str, str]]:
    found = medium.find(folder) or folder
    for name in medium.names(found) or ():
        if medium.names(f"{found}/{name}") is None:
            yield f"{found}/{name}", name


def _place(companion: Companion, home: Home) -> Path:
    return home.root / "media" / companion.name


def _missing(companions: Sequence[Companion], home: Home) -> PipelineError:
    missing_files = "; ".join(f"{each.name} is missing: {each.where}" for each in companions)
    return PipelineError(
        missing_files, hint=f"put {'it' if len(companions) == 1 else 'them'} into {home.root / 'media'}"
    )
