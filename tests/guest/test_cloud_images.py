"""Each recipe of a distribution's cloud image, whole: an image with its layout on a server, to signed products."""

from __future__ import annotations

import functools
import hashlib
import http.server
import re
import shutil
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.base.home import CHECKOUT, Home
from pipeline.engine.build import build
from pipeline.engine.run.options import BuildOptions
from pipeline.host.guestfs import contents
from pipeline.host.guestfs.appliance import Appliance
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.release import Release
from tests.environments import openpgp, tls
from tests.environments.openpgp import Signer
from tests.standins import cloud_images

pytestmark = [pytest.mark.guest, pytest.mark.long, pytest.mark.timeout(2400)]

SIZE = 2 << 30
# What every Linux recipe may ask for, laid over the distribution's own.
WISHES: dict[str, Any] = {
    "hostname": "golden",
    "files": [{"path": "/etc/motd", "content": "golden\n"}],
    "cloud_init": {"datasources": ["NoCloud", "ConfigDrive", "OpenStack"], "grow_root": True},
    "commands": ["grep -q golden /etc/motd && echo done > /etc/commanded"],
}


@dataclass
class Maker:
    """A server with a distribution's folder. It breaks the first connection halfway through the image."""

    folder: Path
    url: str
    asked: list[tuple[str, str | None]] = field(default_factory=list)


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, maker: Maker, *words: Any) -> None:
        self.maker = maker
        super().__init__(*words)

    def do_GET(self) -> None:
        name, asked = Path(self.path).name, self.headers.get("Range")
        broken = name.endswith((".qcow2", ".img")) and not any(name == each for each, _ in self.maker.asked)
        self.maker.asked.append((name, asked))
        file = self.maker.folder / name
        if not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", asked or "")
        start = int(match[1]) if match else 0
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        self.wfile.write(content[start : len(content) // 2 if broken else len(content)])
        if broken:
            self.close_connection = True

    def log_message(self, format: str, *words: object) -> None:
        pass


@pytest.fixture(scope="module")
def location(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cloud")


@pytest.fixture(scope="module")
def signer(location: Path) -> Iterator[Signer]:
    made = Signer(location / "gpg")
    with openpgp.signers(made):
        made.make()
        yield made


@pytest.fixture(scope="module")
def maker(location: Path) -> Iterator[Maker]:
    """Over HTTPS: what nobody signs is read in no other way."""
    (location / "web").mkdir()
    certificate = tls.for_loopback(location)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    made = Maker(location / "web", "")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Handler, made)) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        made.url = f"https://127.0.0.1:{server.server_port}/"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("REQUESTS_CA_BUNDLE", str(certificate.authority))
            yield made
        server.shutdown()


@pytest.fixture(scope="module")
def stand_in(location: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        with (location / "log").open("ab") as log:
            return cloud_images.make(name, location, SIZE, Appliance("tcg", location / "appliance", location, log))

    return make


def _publish(maker: Maker, release: Release, image: Path, signer: Signer) -> Mapping[str, Any]:
    """Put the image, its list and its signature on the server; what the recipe has to say of where they are."""
    shutil.move(image, maker.folder / release.file)
    hashed = "sha512" if "512" in release.checksums else "sha256"
    digest = hashlib.new(hashed, (maker.folder / release.file).read_bytes()).hexdigest()
    named = f"{digest}  {release.file}" if "SUMS" in release.checksums else f"SHA256 ({release.file}) = {digest}"
    (maker.folder / release.checksums).write_text(f"{named}\n")
    folders = ["https://127.0.0.1:9/a-mirror-that-is-gone/", maker.url]
    if release.signature is None:
        return {"folders": folders}
    signer.sign(maker.folder / release.checksums, maker.folder / release.signature.file)
    (maker.folder / "key.asc").write_bytes(signer.public())
    return {
        "folders": folders,
        "signature": {"fingerprint": signer.fingerprint, "key_urls": [f"{maker.url}key.asc"]},
    }


@pytest.mark.parametrize("name", sorted(cloud_images.IMAGES))
def test_a_recipe_from_the_makers_server_to_signed_products(
    name: str, maker: Maker, signer: Signer, stand_in: Callable[[str], Path], tmp_path: Path
) -> None:
    wanted = cloud_images.IMAGES[name]
    recipes = tmp_path / "recipes"
    shutil.copytree(CHECKOUT / "recipes", recipes, ignore=shutil.ignore_patterns("*.lock.json"))
    release = RecipeFolder(recipes).load(name)[0].install.release  # type: ignore[union-attr]
    assert isinstance(release, Release)
    changes = _publish(maker, release, stand_in(name), signer)
    mine = {"extends": name, "install": {"release": changes}, "customize": WISHES, "boot_test": {"memory": "512MiB"}}
    # Signing reads every byte of the disk, holes too.
    mine["disk"] = {"size": "3GiB"}
    (recipes / "mine.yaml").write_text(yaml.safe_dump(mine))
    home = Home(tmp_path / "home", tmp_path / "home" / "cache")

    (result,) = build(RecipeFolder(recipes).load("mine"), BuildOptions(home=home, locks=recipes, accelerator="tcg"))

    assert result.error is None, result.error
    assert [product.format for product in result.products] == ["qcow2", "raw"]
    assert all(product.signature for product in result.products)
    ranges = [asked for file, asked in maker.asked if file == release.file]
    assert ranges[0] is None and str(ranges[1]).startswith("bytes="), "the broken download went on where it broke"
    assert result.facts["install"]["signed_by"] == (signer.fingerprint if release.signature else None)
    offline = result.facts["offline"]
    found = offline["inspection"]
    # libguestfs does not know every distribution of this family.
    assert found["distro"] in (wanted.distro, "redhat-based")
    assert (found["major"], found["firmware"]) == (int(wanted.version.split(".")[0]), ["bios", "uefi"])
    assert found["guest_agent"] and found["cloud_init"] and found["packages"]
    assert set(found["mounts"]) == {part.mount for part in wanted.parts if part.mount}
    assert offline["relabel"] == (wanted.root == "enterprise")
    systems = {part.number: part.file_system for part in wanted.parts}
    assert {device for device, method in offline["scrub"].items() if method != "not covered"} == {
        f"/dev/sda{number}" for number, system in systems.items() if system
    }
    files = contents.unpack(result.facts["scan"]["files"])
    assert {"/etc/localtime", "/etc/motd", "/etc/commanded", "/etc/cloud/cloud.cfg.d/91-image.cfg"} <= set(files)
    assert not (set(cloud_images.LEFT_OVER) - {"/etc/machine-id"}) & set(files)
    assert result.properties["os_admin_user"] == wanted.user
    for firmware in ("bios", "uefi"):
        said = result.documents[f"boot-{firmware}-serial.log"].read_text(errors="replace")
        assert f"standin: {wanted.name} {wanted.version}, host boot-test, datasource nocloud" in said
    boots = {**result.facts["boot_test"]["firmware"], **result.facts["firmware_test"]["firmware"]}
    assert [boots[firmware]["powered_off"] for firmware in ("bios", "uefi")] == [True, True]
    assert not result.facts["scan"]["report"]["findings"]
