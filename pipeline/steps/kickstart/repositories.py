"""Repositories on the network, asked before an installation starts: a dead mirror is found now, not in an hour."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urljoin

from pipeline.base.errors import PipelineError
from pipeline.host.repodata import LARGEST, Repodata
from pipeline.recipes.kickstart import KickstartInstall

_CONNECT, _SILENCE = 10, 30  # seconds


def offers(install: KickstartInstall, *, offline: bool) -> Mapping[str, Repodata]:
    """What each repository of the recipe has. Raises ``PipelineError`` that names all that are of no use."""
    if install.repositories and offline:
        raise PipelineError(
            "the installation takes packages from repositories, and the network is not to be used",
            hint="leave out --offline",
        )
    found, problems = {}, []
    for each in install.repositories:
        try:
            found[each.name] = Repodata.read(_Server(each.url))
        except PipelineError as error:
            problems.append(f"{each.name} ({each.url}): {error.message}")
    if problems:
        raise PipelineError(
            "a repository of the recipe cannot be used",
            details=problems,
            hint="check the mirror in install.repositories; old releases move to vault.centos.org and archives",
        )
    return found


class _Server:
    """A repository's folder on a server."""

    def __init__(self, url: str) -> None:
        self._url = url if url.endswith("/") else f"{url}/"

    def read(self, path: str) -> bytes | None:
        import requests

        try:
            with requests.get(urljoin(self._url, path), stream=True, timeout=(_CONNECT, _SILENCE)) as answer:
                if answer.status_code == 404:
                    return None
                if answer.status_code != 200:
                    raise PipelineError(f"the server answered {answer.status_code} {answer.reason}")
                data = bytearray()
                for block in answer.iter_content(1 << 16):
                    data += block
                    if len(data) > LARGEST:
                        raise PipelineError(f"{path} is longer than {LARGEST >> 20} MiB")
                return bytes(data)
        except requests.Timeout:
            raise PipelineError(f"no answer within {_SILENCE} s") from None
        except requests.RequestException:
            raise PipelineError("no connection") from None
