"""A build from a downloaded image, as cirros is built: fetched, checked, inspected, scrubbed, converted, booted."""

from __future__ import annotations

import functools
import hashlib
import http.server
import shutil
import threading
from pathlib import Path

import pytest

from pipeline.base.home import CHECKOUT
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.steps.boot_test.step import BootTestStep
from pipeline.steps.image import InstallImage
from pipeline.steps.offline.step import OfflineStep
from pipeline.steps.products import ProductsStep
from tests.guest.conftest import context_for

pytestmark = [pytest.mark.guest, pytest.mark.server]

RECIPE = """
extends: parts/cirros
os:
  version: "0.6"
install:
  method: image
  download:
    urls: ["http://127.0.0.1:1/dead", "{url}/cirros.img"]
    sha256: {sha256}
    md5: {md5}
sysprep:
  scrub: true
boot_test:
  timeout: 10m
"""


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *words: object) -> None:
        pass


def test_from_the_network_to_a_booted_product(tiny_disk: Path, tmp_path: Path) -> None:
    web, recipes, layers = tmp_path / "web", tmp_path / "recipes", tmp_path / "layers"
    for folder in (web, recipes, layers / "install", layers / "offline"):
        folder.mkdir(parents=True)
    shutil.copy(tiny_disk, web / "cirros.img")
    shutil.copytree(CHECKOUT / "recipes" / "parts", recipes / "parts")
    data = tiny_disk.read_bytes()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(web))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        text = RECIPE.format(
            url=f"http://127.0.0.1:{server.server_port}",
            sha256=hashlib.sha256(data).hexdigest(),
            md5=hashlib.md5(data).hexdigest(),
        )
        (recipes / "mine.yaml").write_text(text)
        (recipe,) = RecipeFolder(recipes).load("mine")
        installed = layers / "install" / "disk.qcow2"
        InstallImage().run(context_for(recipe, tmp_path / "install", installed))
        server.shutdown()

    changed = layers / "offline" / "disk.qcow2"
    names = ["-F", "qcow2", "-b", "../install/disk.qcow2", "disk.qcow2"]
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", *names], cwd=changed.parent)
    facts = OfflineStep().run(context_for(recipe, tmp_path / "offline", changed))
    assert facts["sealed"] is False
    assert "free extents" in facts["scrub"]["/dev/sda1"]
    assert set(facts["scrub"]) == {"/dev/sda1", "/dev/sda2"}
    assert facts["inspection"]["distro"] == "cirros"
    assert "sysprep" not in facts

    products = {"qcow2": tmp_path / "image.qcow2", "raw": tmp_path / "image.raw"}
    context = context_for(recipe, layers, changed, products=products)
    ProductsStep().run(context)
    result = BootTestStep().run(context_for(recipe, tmp_path / "boot", products=products))
    assert result["firmware"]["bios"]["powered_off"] is True
