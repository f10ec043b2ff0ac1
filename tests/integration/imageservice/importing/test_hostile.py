"""Every hostile image by every way in is refused, and leaves nothing; harmless ones are taken by each way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.environments.daemon import scratch
from tests.environments.imageservice import image_service
from tests.integration.imageservice.importing.conftest import settings
from tests.integration.imageservice.importing.ways import WAYS, Place
from tests.integration.imageservice.importing.web import Web
from tests.unit.image import corpus, vmdk_files
from tests.unit.image.corpus import Hostile
from tests.unit.image.hostile import make_harmless

pytestmark = pytest.mark.server
# These ways are not offered: they take no image at all.
CLOSED = ("v1 copy_from", "v1 location")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> list[Hostile]:
    # A format that no image may have is refused with the record already.
    return [one for one in corpus.make(tmp_path_factory.mktemp("hostile")) if one.declared not in ("qed", "luks")]


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> list[Hostile]:
    folder = tmp_path_factory.mktemp("harmless")
    made = make_harmless(folder)
    for name, data in {"vmdk-vmware": vmdk_files.sparse(), "vmdk-stream": vmdk_files.stream()}.items():
        made[name] = folder / name
        made[name].write_bytes(data)
    made["raw"].write_bytes(bytes(1 << 20) + b"data" * 1024)
    formats = {name: "raw" if name == "gpt" else name.partition("-")[0] for name in made}
    return [Hostile("harmless", name, formats[name], path) for name, path in made.items()]


@pytest.fixture(scope="module")
def place(origin: Web, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with scratch("hostile") as plain, scratch("converting") as converting:
        opened = settings(plain)
        stores = [*opened["stores"], {"id": "web", "type": "http"}]
        opened |= {"stores": stores, "api": {"show_locations": True, "version_1": True}}
        plugins = settings(converting, plugins=["image_decompression", "image_conversion"])
        with image_service(plain, **opened) as service, image_service(converting, **plugins) as other:
            yield Place(service, other, origin, tmp_path_factory.mktemp("work"))
            for one in (service, other):
                assert "Traceback" not in one.log.read_text()


def refuse(way: str, place: Place, images: list[Hostile]) -> None:
    """Try each image, print what became of it, and fail with all that were taken."""
    answers = WAYS[way](place, images)
    place.origin.files.clear()
    for image, answer in zip(images, answers, strict=True):
        print(f"{way} | {image.kind} | {image.trick} | {answer or 'TAKEN'}")
    assert not [image for image, answer in zip(images, answers, strict=True) if answer is None]
    # Not for another reason, as that a server was away.
    about = ("location is not offered", "copy_from is not offered") if way in CLOSED else ("image", "disk")
    assert all(any(word in (answer or "").lower() for word in about) for answer in answers)


@pytest.mark.parametrize("way", WAYS)
def test_some_of_each_kind(way: str, place: Place, hostile: list[Hostile]) -> None:
    refuse(way, place, corpus.sample(hostile, seed=way, each=3))


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("way", WAYS)
def test_hostile_images_are_refused(way: str, place: Place, hostile: list[Hostile]) -> None:
    refuse(way, place, hostile)


@pytest.mark.parametrize("way", [way for way in WAYS if way not in CLOSED])
def test_harmless_images_are_taken(way: str, place: Place, harmless: list[Hostile]) -> None:
    answers = WAYS[way](place, harmless)
    refused = [(image.trick, answer) for image, answer in zip(harmless, answers, strict=True) if answer is not None]
    assert refused == []
