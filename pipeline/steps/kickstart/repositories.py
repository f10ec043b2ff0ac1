"""Ask repositories on the network before an installation starts: a dead mirror is found now, not in an hour.

Those of the recipe, and those that the kickstart names by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from urllib.parse import urljoin

from pipeline.base.errors import PipelineError
from pipeline.base.retry import TRANSIENT, RetryPolicy
from pipeline.base.urls import without_secrets
from pipeline.host.install.repodata import LARGEST, Repodata
from pipeline.host.network import error_text
from pipeline.recipes.model.kickstart import KickstartInstall
from pipeline.steps.kickstart.syntax import Kickstart

_CONNECT, _SILENCE = 10, 30  # seconds
_RETRIES = RetryPolicy(attempts=3, first=1.0, heed=30.0)


def offers(install: KickstartInstall, kickstart: Kickstart, *, offline: bool) -> Mapping[str, Repodata]:
    """Return what each repository has. Raises ``PipelineError`` that names all that are of no use."""
    places = {each.name: each.url for each in install.repositories} | dict(_named(kickstart))
    if places and offline:
        raise PipelineError(
            "the installation takes packages from repositories, and the network is not to be used",
            hint="leave out --offline",
        )
    found, problems = {}, []
    for name, url in places.items():
        try:
            found[name] = Repodata.read(_ServedFolder(url))
        except PipelineError as error:
            problems.append(f"{name} ({without_secrets(url)}): {error.message}")
    if problems:
        raise PipelineError(
            "a repository of the recipe cannot be used",
            details=problems,
            hint="check the mirrors of recipe and kickstart; old releases move to vault.centos.org and archives",
        )
    return found


def all_known(kickstart: Kickstart) -> bool:
    """Return whether all places the kickstart names are asked: it has no list of mirrors, variable,
    or tree elsewhere.
    """
    if any(kickstart.named("url", "nfs", "harddrive", "hmc")):
        return False
    return all(_is_plain(command.option("baseurl") or "") for command in kickstart.named("repo"))


def _named(kickstart: Kickstart) -> Iterator[tuple[str, str]]:
    for command in kickstart.named("repo"):
        url = command.option("baseurl") or ""
        if _is_plain(url):
            yield command.option("name") or "repo", url


def _is_plain(url: str) -> bool:
    return url.startswith(("http://", "https://")) and "$" not in url


class _ServedFolder:
    """A repository's folder on a server."""

    def __init__(self, url: str) -> None:
        self._url = url if url.endswith("/") else f"{url}/"

    def read(self, path: str) -> bytes | None:
        """Return the content of a file, ``None`` when there is none."""
        import requests

        try:
            return _RETRIES.call(lambda: self._asked(path), error_text.may_pass)
        except requests.RequestException as error:
            raise PipelineError(error_text.reason(error, _CONNECT, _SILENCE)) from None

    def _asked(self, path: str) -> bytes | None:
        import requests

        with requests.get(urljoin(self._url, path), stream=True, timeout=(_CONNECT, _SILENCE)) as answer:
            if answer.status_code == 404:
                return None
            if answer.status_code in TRANSIENT:
                answer.raise_for_status()
            if answer.status_code != 200:
                raise PipelineError(f"the server answered {answer.status_code} {answer.reason}")
            data = bytearray()
            for block in answer.iter_content(1 << 16):
                data += block
                if len(data) > LARGEST:
                    raise PipelineError(f"{path} is longer than {LARGEST >> 20} MiB")
            return bytes(data)
