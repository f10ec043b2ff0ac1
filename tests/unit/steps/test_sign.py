from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from pipeline.base.home import Home
from pipeline.base.progress import nothing
from pipeline.recipes.model import Recipe
from pipeline.signing import image_signature
from pipeline.signing.certificates import LocalCertificates
from pipeline.signing.keyring import Keyring
from pipeline.steps.sign.step import Sign
from pipeline.steps.step import Context

pytestmark = pytest.mark.subprocess


def recipe(**signing: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x",
            "os": {"type": "linux", "distro": "debian", "version": "12"},
            "disk": {"size": "64MiB"},
            "install": {"method": "tiny"},
            "products": [{"format": "qcow2"}, {"format": "raw"}],
            "signing": signing,
        }
    )


def context(home: Home, tmp_path: Path, asked: Recipe) -> Context:
    products = {}
    for name in ("qcow2", "raw"):
        products[name] = tmp_path / name
        products[name].write_bytes(name.encode() * 50_000)
    with (tmp_path / "log").open("wb") as log:
        return Context(
            recipe=asked,
            home=home,
            folder=tmp_path,
            disk=tmp_path / "disk",
            products=products,
            evidence=tmp_path,
            log=log,
            progress=nothing,
            accelerator="tcg",
            layers=tmp_path,
            documents=tmp_path,
        )


def test_each_product_is_signed_over_its_own_bytes(home: Home, tmp_path: Path) -> None:
    asked = recipe(hash="SHA-512")
    work = context(home, tmp_path, asked)
    facts = Sign().run(work)["products"]
    for name, path in work.products.items():
        assert facts[name]["size"] == path.stat().st_size
        assert facts[name]["digests"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert facts[name]["signature"]["img_signature_hash_method"] == "SHA-512"
        image_signature.verify_file(path, facts[name]["signature"], LocalCertificates(home.certificates))
    assert facts["raw"]["signature"] != facts["qcow2"]["signature"]


def test_unsigned_recipes_still_get_digests(home: Home, tmp_path: Path) -> None:
    facts = Sign().run(context(home, tmp_path, recipe(enabled=False)))["products"]
    assert facts["raw"]["signature"] == {} and set(facts["raw"]["digests"]) == {"md5", "sha256", "sha512"}
    assert not home.keys.exists()


def test_the_inputs_name_the_key_and_change_only_with_it(home: Home, tmp_path: Path) -> None:
    step, asked = Sign(), recipe()
    step.prepare(recipe(enabled=False), home)
    unmade = step.inputs(asked)
    assert not home.keys.exists()  # planning makes nothing
    step.prepare(asked, home)
    before = step.inputs(asked)
    assert before != unmade and before["generation"] == 1
    step.run(context(home, tmp_path, asked))
    step.prepare(asked, home)
    assert step.inputs(asked) == before
    Keyring(home).rotate("default")
    assert step.inputs(asked)["generation"] == 2
    assert not step.inputs(recipe(enabled=False))["signed"]
