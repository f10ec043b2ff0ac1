"""What tests install from: media, a server with what they lack, and the shipped recipes made small enough."""

from __future__ import annotations

import contextlib
import functools
import http.server
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pipeline.base.home import CHECKOUT
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.kickstart import InstallEngine, KickstartInstall, Repository
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.source_file import SourceFile
from tests.standins.enterprise_linux import Media, Release, make_media, make_repository

GUESTS_VIEW = "10.0.2.2"  # of this machine, in QEMU's user network


class Mirror(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, also to those who take it for a proxy: both sides then use the address the guest sees."""

    def translate_path(self, path: str) -> str:
        return super().translate_path(f"/{path.split('/', 3)[3]}" if path.startswith("http://") else path)

    def log_message(self, format: str, *words: object) -> None:
        pass


@dataclass(frozen=True)
class Stock:
    """Media of one release, and the address of what they lack: a mirror, and the Content Delivery Network."""

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


@contextlib.contextmanager
def stocked(folder: Path, release: Release) -> Iterator[Stock]:
    """Media of ``release``, made in ``folder``; their mirror answers while the block lasts."""
    serve = functools.partial(Mirror, directory=str(folder / "mirror"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        address = f"http://{GUESTS_VIEW}:{server.server_port}/"
        # The media's subscription-manager has to know where its network is.
        media = make_media(folder / "built", replace(release, network=address))
        make_repository(folder / "mirror", media)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield Stock(media, address, server.server_port)
        finally:
            server.shutdown()
