"""Media, a mirror for what they lack, and the shipped recipes made small enough for tests."""

from __future__ import annotations

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.recipes.kickstart import InstallEngine, KickstartInstall, Repository
from pipeline.recipes.load import RecipeFolder
from pipeline.recipes.model import Recipe
from pipeline.recipes.source_file import SourceFile
from tests.standins.enterprise_linux import Media, Release, make_media, make_repository

NEEDED = ("createrepo_c", "rpmbuild", "grub-mkimage", "mkfs.xfs", "dropbear")
GUESTS_VIEW = "10.0.2.2"  # of this machine, in QEMU's user network


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, also to those who take it for a proxy: both sides then use the address the guest sees."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(f"/{path.split('/', 3)[3]}" if path.startswith("http://") else path)

    def log_message(self, format: str, *words: object) -> None:
        pass


@dataclass(frozen=True)
class Stock:
    """Media of one release, and the address of the mirror with what they lack."""

    media: Media
    mirror: str
    port: int

    def recipe(self, name: str, engine: InstallEngine, **changes: Any) -> Recipe:
        """The shipped recipe ``name`` for these media; ``changes`` are made to its ``install``."""
        (shipped,) = RecipeFolder(CHECKOUT / "recipes").load(name)
        assert isinstance(shipped.install, KickstartInstall)
        wanted = {
            "file": SourceFile(self.media.iso.name, self.media.iso),
            "subscription": None,
            "repositories": (Repository(name="extra", url=self.mirror),),
            "engine": engine,
            "memory": 768 << 20,
            "vcpus": 1,
            "timeout": 900,
            **changes,
        }
        install = shipped.install.model_copy(update=wanted)
        disk = shipped.disk.model_copy(update={"size": 768 << 20})
        boot = shipped.boot_test.model_copy(update={"memory": 512 << 20, "timeout": 300})
        return shipped.model_copy(update={"install": install, "disk": disk, "boot_test": boot})


@pytest.fixture(scope="session")
def stock_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Release], Stock]]:
    """Makes media and their mirror, once a release."""
    lacking = [program for program in NEEDED if shutil.which(program, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if lacking:
        pytest.skip(f"the media cannot be made here: no {', '.join(lacking)}")
    servers: list[http.server.ThreadingHTTPServer] = []

    @functools.cache
    def make(release: Release) -> Stock:
        folder = tmp_path_factory.mktemp(f"el{release.major}")
        media = make_media(folder / "built", release)
        serve = functools.partial(Mirror, directory=str(make_repository(folder / "mirror", media)))
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return Stock(media, f"http://{GUESTS_VIEW}:{server.server_port}/", server.server_port)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def seven(stock_of: Callable[[Release], Stock]) -> Stock:
    return stock_of(Release(7, "7.9"))


@pytest.fixture(scope="session")
def six(stock_of: Callable[[Release], Stock]) -> Stock:
    return stock_of(Release(6, "6.10"))


@pytest.fixture
def through_mirror(monkeypatch: pytest.MonkeyPatch) -> Callable[[Stock], None]:
    """Has this machine reach the mirror under the address the guest uses."""

    def use(stock: Stock) -> None:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{stock.port}")

    return use


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what several tests look at."""
    return tmp_path_factory.mktemp("enterprise-linux")
