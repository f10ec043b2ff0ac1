"""Images that their maker replaces: lists of checksums from a real server, signed by a key made here."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.errors import PipelineError
from pipeline.base.home import Home
from pipeline.engine.keys import freshness
from pipeline.host.system import process
from pipeline.recipes.loading.load import RecipeFolder
from pipeline.recipes.model.overrides import with_source
from pipeline.recipes.model.recipe import Recipe
from pipeline.recipes.model.release import Release
from pipeline.steps.image import InstallImage
from tests.environments import openpgp
from tests.environments.openpgp import Signer
from tests.guest.conftest import context_for, tiny_recipe

pytestmark = pytest.mark.server

IMAGE, LIST, SIGNATURE = "latest.qcow2", "SHA256SUMS", "SHA256SUMS.gpg"


@pytest.fixture(scope="module")
def signers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Signer, Signer]]:
    # Short: an agent's socket lies in there.
    folder = tmp_path_factory.mktemp("gpg")
    made = Signer(folder / "a"), Signer(folder / "b")
    with openpgp.signers(*made):
        for each in made:
            each.make()
        yield made


@dataclass
class Maker:
    """A folder on a web server with an image, a list and its signature."""

    folder: Path
    url: str
    signer: Signer

    def publish(self, size: str = "8M", *, sign: bool = True) -> str:
        image = self.folder / IMAGE
        image.unlink(missing_ok=True)
        process.run(["qemu-img", "create", "-q", "-f", "qcow2", image, size])
        digest = hashlib.sha256(image.read_bytes()).hexdigest()
        (self.folder / LIST).write_text(f"{'0' * 64} *other.qcow2\n{digest} *{IMAGE}\n")
        (self.folder / "key.asc").write_bytes(self.signer.public())
        if sign:
            self.signer.sign(self.folder / LIST, self.folder / SIGNATURE)
        return digest


@pytest.fixture
def maker(tmp_path: Path, signers: tuple[Signer, Signer]) -> Iterator[Maker]:
    folder = tmp_path / "web"
    folder.mkdir()
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Maker(folder, f"http://127.0.0.1:{server.server_port}", signers[0])
        server.shutdown()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *words: object) -> None:
        pass


@pytest.fixture(autouse=True)
def home_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIPELINE_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PIPELINE_CACHE", raising=False)


def recipe_for(maker: Maker, *folders: str, **signature: Any) -> Recipe:
    release = {
        "folders": [*folders, maker.url],
        "file": IMAGE,
        "checksums": LIST,
        "signature": {
            "file": SIGNATURE,
            "fingerprint": maker.signer.fingerprint,
            "key_urls": [f"{maker.url}/key.asc"],
            **signature,
        },
    }
    return tiny_recipe(disk={"size": "16MiB"}, install={"method": "image", "release": release})


def lock(recipe: Recipe) -> dict[str, Any]:
    return {
        name: asdict(found) for name, found in freshness.resolve(InstallImage().external_inputs(recipe), {}).items()
    }


def install(recipe: Recipe, folder: Path, locked: Mapping[str, Any] | None = None, **parts: Any) -> Mapping[str, Any]:
    folder.mkdir(exist_ok=True)
    context = context_for(recipe, folder, locked=lock(recipe) if locked is None else locked, **parts)
    return InstallImage().run(context)


def test_the_newest_image_is_fetched_and_proven(maker: Maker, tmp_path: Path) -> None:
    digest = maker.publish()
    facts = install(recipe_for(maker, "http://127.0.0.1:9/gone/"), tmp_path / "run")
    assert facts["verified"] is True
    assert facts["signed_by"] == maker.signer.fingerprint
    assert facts["sha256"] == digest
    (origin,) = facts["dependencies"]
    assert origin["uri"] == f"{maker.url}/{IMAGE}", "the server that answered, not the first one"
    info = process.run(["qemu-img", "info", tmp_path / "run" / "disk.qcow2"]).stdout
    assert "virtual size: 16 MiB" in info


def test_a_newer_release_changes_the_lock_and_nothing_else_does(maker: Maker) -> None:
    maker.publish()
    recipe = recipe_for(maker)
    before = {name: found["sha256"] for name, found in lock(recipe).items()}
    assert {name: found["sha256"] for name, found in lock(recipe).items()} == before
    maker.publish("9M")
    assert lock(recipe)[f"{LIST} for {IMAGE}"]["sha256"] != before[f"{LIST} for {IMAGE}"]


def test_what_was_locked_is_built_or_nothing(maker: Maker, tmp_path: Path) -> None:
    maker.publish()
    recipe = recipe_for(maker)
    locked = lock(recipe)
    install(recipe, tmp_path / "first", locked)
    maker.publish("9M")
    # Everything is in the cache: the server is not even asked.
    assert install(recipe, tmp_path / "again", locked, offline=True)["verified"] is True
    (Home.default().cache / "downloads" / locked[f"{LIST} for {IMAGE}"]["sha256"]).unlink()
    with pytest.raises(PipelineError, match="its maker has replaced it") as caught:
        install(recipe, tmp_path / "late", locked)
    assert caught.value.hint == "./inv lock tiny takes what is there now"


def test_a_list_signed_by_somebody_else_is_refused(
    maker: Maker, signers: tuple[Signer, Signer], tmp_path: Path
) -> None:
    maker.publish(sign=False)
    signers[1].sign(maker.folder / LIST, maker.folder / SIGNATURE)
    with pytest.raises(PipelineError, match="not good: it was made by another key"):
        install(recipe_for(maker), tmp_path / "run")
    # Not even when the server brings that key along.
    (maker.folder / "key.asc").write_bytes(signers[1].public())
    with pytest.raises(PipelineError, match="not good: it was made by another key") as caught:
        install(recipe_for(maker), tmp_path / "again")
    assert f"made by: {signers[1].fingerprint}" in caught.value.details
    assert not list((Home.default().cache / "downloads").glob("keys/*"))


def test_a_list_that_was_changed_is_refused(maker: Maker, tmp_path: Path) -> None:
    maker.publish()
    with (maker.folder / LIST).open("a") as file:
        file.write(f"{'1' * 64} *more.qcow2\n")
    with pytest.raises(PipelineError, match="the content was changed after it was signed"):
        install(recipe_for(maker), tmp_path / "run")


def test_a_key_that_has_expired_signs_nothing_any_more(maker: Maker, tmp_path: Path) -> None:
    old = Signer(tmp_path / "old", at="20240101T000000")
    with openpgp.signers(old):
        old.make(expires="1d")
        maker.signer = old
        maker.publish()
        with pytest.raises(PipelineError, match="the signature of SHA256SUMS is not good: its key has expired"):
            install(recipe_for(maker), tmp_path / "run")


def test_a_truncated_image_is_refused(maker: Maker, tmp_path: Path) -> None:
    maker.publish()
    whole = (maker.folder / IMAGE).read_bytes()
    (maker.folder / IMAGE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(PipelineError, match=r"latest\.qcow2 is not there any more as it was") as caught:
        install(recipe_for(maker), tmp_path / "run")
    assert any(" instead of " in line for line in caught.value.details)
    assert not list((Home.default().cache / "downloads").glob("*.part"))


def test_a_list_of_other_files_is_refused(maker: Maker, tmp_path: Path) -> None:
    digest = maker.publish(sign=False)
    (maker.folder / LIST).write_text(f"{digest} *other.qcow2\n")
    maker.signer.sign(maker.folder / LIST, maker.folder / SIGNATURE)
    with pytest.raises(PipelineError, match=r"SHA256SUMS does not name latest\.qcow2"):
        install(recipe_for(maker), tmp_path / "run")


def test_no_signature_in_the_file(maker: Maker, tmp_path: Path) -> None:
    maker.publish()
    (maker.folder / SIGNATURE).write_text("it has moved\n")
    with pytest.raises(PipelineError, match="there is no signature in the file"):
        install(recipe_for(maker), tmp_path / "run")


def test_an_image_that_the_list_does_not_mean_is_refused(maker: Maker, tmp_path: Path) -> None:
    maker.publish()
    (maker.folder / IMAGE).write_bytes(b"QFI\xfbanother")
    with pytest.raises(PipelineError, match=r"latest\.qcow2 is not there any more as it was"):
        install(recipe_for(maker), tmp_path / "run")


def test_a_file_from_a_person_is_judged_by_the_list_beside_it(maker: Maker, tmp_path: Path) -> None:
    maker.publish()
    recipe = recipe_for(maker, key=None)
    given = with_source(recipe, maker.folder / IMAGE)
    assert InstallImage().external_inputs(given) == []
    assert install(given, tmp_path / "run", {})["signed_by"] == maker.signer.fingerprint
    alone = tmp_path / "alone.qcow2"
    alone.write_bytes((maker.folder / IMAGE).read_bytes())
    assert install(with_source(recipe, alone), tmp_path / "vouched", {})["verified"] is False
    process.run(["qemu-img", "create", "-q", "-f", "qcow2", maker.folder / IMAGE, "9M"])
    with pytest.raises(PipelineError, match=r"is not the latest\.qcow2 of the list beside it: it has sha256"):
        install(given, tmp_path / "other", {})
    (maker.folder / SIGNATURE).unlink()
    with pytest.raises(PipelineError, match="but not its signature"):
        install(given, tmp_path / "unsigned", {})


def test_an_unsigned_list_needs_https() -> None:
    release = {"folders": ["http://example.org/"], "file": IMAGE, "checksums": LIST, "unsigned": "they have none"}
    with pytest.raises(ValueError, match="a list without a signature is read over HTTPS only"):
        tiny_recipe(install={"method": "image", "release": release})
    release["folders"] = ["https://example.org/"]
    tiny_recipe(install={"method": "image", "release": release})


@pytest.mark.parametrize(
    "name", ["almalinux-9", "centos-stream-9", "debian-12-cloud", "rocky-9", "ubuntu-22.04", "ubuntu-24.04"]
)
def test_the_recipes_of_distributions_say_whom_they_trust(name: str) -> None:
    from pipeline.base.home import CHECKOUT

    (recipe,) = RecipeFolder(CHECKOUT / "recipes").load(name)
    release = recipe.install.release  # type: ignore[union-attr]
    assert isinstance(release, Release)
    assert all(url.startswith("https://") for source in InstallImage().external_inputs(recipe) for url in source.urls)
    assert (release.signature is None) == (name in ("centos-stream-9", "debian-12-cloud", "rocky-9"))
    assert recipe.os.admin_user and recipe.image_properties["hw_firmware_type"] == "uefi"
